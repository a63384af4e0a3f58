"""A computing process as tests talk to it: the real one, with all that it says kept."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

from command_line import in_session

from flowcut_napari.live.child import Child
from flowcut_napari.live.messages import Failed

_Record = TypeVar("_Record")


class Conversation:
    """Starts a module as a `Child`; at the end of the context it and all that it started are gone."""

    def __init__(self, module: str, environment: Mapping[str, str] | None = None) -> None:
        self.said: list[Any] = []
        self._news: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.child = Child(
            module,
            lambda answer: self._news.put(("answer", answer)),
            lambda reason: self._news.put(("end", reason)),
            environment,
        )
        self.send = self.child.send

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.stop()
        # What it started may take a moment to be reaped, not longer.
        end = time.monotonic() + 10
        while left := in_session(self.child.pid):
            assert time.monotonic() < end, left
            time.sleep(0.02)

    def hear(
        self, kind: type[_Record], where: Callable[[_Record], bool] = lambda _: True, seconds: float = 60
    ) -> _Record:
        """Return the next answer of a kind; anything else said before it is kept in `said`."""
        end = time.monotonic() + seconds
        while True:
            what, found = self._news.get(timeout=max(0.01, end - time.monotonic()))
            assert what == "answer", f"it ended: {found}"
            self.said.append(found)
            if isinstance(found, kind) and where(found):
                return found
            assert not isinstance(found, Failed), found.text

    def end(self, seconds: float = 30) -> str:
        """Return why it ended by itself."""
        deadline = time.monotonic() + seconds
        while True:
            what, found = self._news.get(timeout=max(0.01, deadline - time.monotonic()))
            if what == "end":
                return str(found)
            self.said.append(found)

    def overhear(self, seconds: float = 0.5) -> list[Any]:
        """Return all that is still said, until nothing comes for so long."""
        heard: list[Any] = []
        try:
            while True:
                heard.append(self._news.get(timeout=seconds)[1])
        except queue.Empty:
            self.said += heard
            return heard
