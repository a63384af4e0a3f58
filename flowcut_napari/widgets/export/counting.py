"""What an export would hold, counted as things are now: of the open masks in memory, of a folder in a process."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from flowcut_napari.core.clips import Curation
from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.core.matching import Matcher
from flowcut_napari.core.parameters import CurationParameters
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.live.child import Child
from flowcut_napari.live.export_count import Tally, VideoCount
from flowcut_napari.live.export_messages import Counted, CountJob, Counts
from flowcut_napari.live.messages import Failed

_MODULE = "flowcut_napari.live.export_count"
_REST_MILLISECONDS = 150


class LiveCounts(QObject):
    """Counts whatever it is asked last; answers to what was asked before are dropped.

    Signals
    -------
    changed
        `counts`, `problem` or `is_counting` is another.
    wanted
        A while after `refresh`, so that many changes are counted once: now `count_masks` or `count_files` is expected.
    """

    changed = Signal()
    wanted = Signal()
    _came = Signal(int, object)
    _over = Signal()
    _died = Signal(int, str)

    def __init__(self, environment: dict[str, str], parent: QObject) -> None:
        super().__init__(parent)
        self._environment = environment
        self.counts: Counts | None = None
        self.problem = ""
        self.is_counting = False
        self._number = 0
        self._child: Child | None = None
        self._children = 0
        self._is_shut = False
        # One thread at a time: the matcher is its own.
        self._is_busy = False
        self._next: tuple[VideoMasks, CurationParameters] | None = None
        self._matcher = Matcher()
        self._matched = ""
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REST_MILLISECONDS)
        self._timer.timeout.connect(self.wanted)
        self._came.connect(self._on_came)
        self._over.connect(self._on_over)
        self._died.connect(self._on_died)

    def refresh(self) -> None:
        """Count anew, soon."""
        if not self._timer.isActive() and not self._is_shut:
            self._timer.start()

    def count_nothing(self, why: str) -> None:
        """Show no counts, and why."""
        self._drop()
        self._show(None, why, is_counting=False)

    def count_masks(self, masks: VideoMasks, parameters: CurationParameters) -> None:
        """Count the clips of masks in memory, on a thread."""
        self._drop()
        self._show(self.counts, "", is_counting=True)
        self._next = masks, parameters
        if not self._is_busy:
            self._begin()

    def count_files(self, addresses: tuple[str, ...], parameters: CurationParameters) -> None:
        """Count the clips of masks files, in a process; the totals come while it runs."""
        self._number += 1
        self._next = None
        self._show(self.counts, "", is_counting=True)
        if self._child is None:
            self._child = self._new_child()
        self._child.send(CountJob(self._number, addresses, parameters))

    def stop(self) -> None:
        """Count nothing until asked again; what was counted stays."""
        self._timer.stop()
        self._drop()

    def shutdown(self) -> None:
        """End for good. May be called again."""
        self._is_shut = True
        self.stop()

    def _drop(self) -> None:
        self._number += 1
        self._next = None
        child, self._child = self._child, None
        if child is not None:
            child.stop(wait=False)

    def _begin(self) -> None:
        if self._next is None:
            return
        (masks, parameters), self._next = self._next, None
        self._is_busy = True
        number = self._number
        if masks.video.fingerprint != self._matched:
            self._matcher, self._matched = Matcher(), masks.video.fingerprint
        matcher = self._matcher

        def work() -> None:
            answer: Counted | Failed
            try:
                tally = Tally()
                tally.add(VideoCount.of(Curation(masks, parameters, matcher).curated()))
                answer = Counted(number, tally.counts(1))
            except FlowCutError as error:
                answer = Failed(number, str(error))
            except Exception as error:  # noqa: BLE001  # whatever it is: somebody waits for the counts
                answer = Failed(number, f"that went wrong ({type(error).__name__}: {error})")
            with contextlib.suppress(RuntimeError):  # the window is gone
                self._came.emit(number, answer)
                self._over.emit()

        threading.Thread(target=work, daemon=True).start()

    def _on_over(self) -> None:
        self._is_busy = False
        self._begin()

    def _new_child(self) -> Child:
        self._children += 1
        child = self._children

        def tell(answer: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the window is gone
                self._came.emit(answer.number, answer)

        def tell_end(reason: str) -> None:
            with contextlib.suppress(RuntimeError):
                self._died.emit(child, reason)

        return Child(_MODULE, tell, tell_end, self._environment)

    def _on_died(self, child: int, reason: str) -> None:
        if self._child is not None and child == self._children:
            self._child = None
            self._show(None, f"the counting ended before it was done: {reason}", is_counting=False)

    def _on_came(self, number: int, answer: Counted | Failed) -> None:
        if number != self._number or self._is_shut:
            return
        if isinstance(answer, Failed):
            self._show(None, answer.text, is_counting=False)
        else:
            counts = answer.counts
            self._show(counts, "", is_counting=counts.done < counts.total)

    def _show(self, counts: Counts | None, problem: str, *, is_counting: bool) -> None:
        shown = counts, problem, is_counting
        if shown != (self.counts, self.problem, self.is_counting):
            self.counts, self.problem, self.is_counting = shown
            self.changed.emit()
