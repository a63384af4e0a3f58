"""A process that a window starts for one job, which ends with it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from flowcut_napari.core.errors import FlowCutError, MissingWeightsError
from flowcut_napari.live.messages import Failed
from flowcut_napari.live.pipe import ParentPipes


def serve_one_job(run: Callable[[ParentPipes, Any], None]) -> None:
    """Do the first job that the window sends; end when it asks for it, or is gone."""
    parent = ParentPipes()
    records = parent.records()
    job = next(records, None)

    def end(*_: object) -> None:
        # Asked once more, it would leave its tidying up half done.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(1)

    signal.signal(signal.SIGTERM, end)

    def end_with_window() -> None:
        for _ in records:
            pass
        os.kill(os.getpid(), signal.SIGTERM)  # to the main thread, whatever it waits for

    if job is not None:
        threading.Thread(target=end_with_window, daemon=True).start()
        run(parent, job)


@contextlib.contextmanager
def failures_told(parent: ParentPipes, *, way_out: str = "") -> Iterator[None]:
    """Tell the window why a job failed, and end it there; `way_out` is what may help where memory is short."""
    try:
        yield
    except MissingWeightsError as error:
        parent.send(Failed(0, str(error), error.names))
    except FlowCutError as error:
        parent.send(Failed(0, str(error)))
    except MemoryError as error:
        parent.send(Failed(0, f"out of memory ({error})" + (f"; {way_out}" if way_out else "")))
