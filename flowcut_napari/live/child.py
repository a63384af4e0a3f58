"""A computing process as seen from the window: it is asked, and answers, in records over two pipes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from flowcut_napari.live.owned import OwnedProcess, describe_end
from flowcut_napari.live.pipe import pack_record, read_records


class Child(OwnedProcess):
    """A process ``python -m MODULE`` in a session of its own.

    Parameters
    ----------
    module : str
        That reads questions and sends answers by `ParentPipes`.
    on_answer : callable
        Takes each answer. Called on a thread of this object.
    on_end : callable
        Called once, on that thread, with the reason when the process ended by itself; not after `stop`.
    environment : mapping, optional
        Variables besides those of this process.
    """

    def __init__(
        self,
        module: str,
        on_answer: Callable[[Any], None],
        on_end: Callable[[str], None],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            # -P: a file of the user's in the current folder is not taken for a module of the same name.
            [sys.executable, "-P", "-m", module],
            read_records,
            on_answer,
            lambda code, said: on_end(describe_end(code, said)),
            {**(environment or {}), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def send(self, question: Any) -> None:
        """Send a question; never waits."""
        self.put(pack_record(question))
