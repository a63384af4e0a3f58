"""The line to the computing process: questions out, answers in, and a new process when one dies."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QObject, Signal

from flowcut_napari.core.masks import Rle
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.video import Video
from flowcut_napari.live.messages import (
    CutsMade,
    Devices,
    Failed,
    Look,
    Machine,
    MaskRefined,
    Open,
    Probe,
    Probed,
    Refined,
    RefineMask,
    Remark,
)
from flowcut_napari.widgets.worker_process import WorkerProcess

_MODULE = "flowcut_napari.live.cutter"
# More deaths than this in so many seconds are no accident: then nothing is started again without being asked.
_MOST_DEATHS = 3
_DEATHS_WITHIN = 60.0
_AHEAD = 3


@dataclass(frozen=True)
class Trouble:
    """Why there is no answer: in words, with what could be done about it.

    `missing` are names of weights; `is_dead` says that the process has to be started again by hand.
    """

    text: str
    missing: tuple[str, ...] = ()
    is_dead: bool = False


class LiveLink(QObject):
    """Asks one computing process about one video; its signals come on the thread of the window.

    The process is started with the first question, so that a window without a video costs nothing.
    """

    answered = Signal(object)
    troubled = Signal(object)
    remarked = Signal(str)
    work_changed = Signal(str)
    mask_refined = Signal(object)
    devices_found = Signal(object)

    def __init__(self, environment: Mapping[str, str], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._process = WorkerProcess(_MODULE, environment, self)
        self._process.answered.connect(self._on_arrived)
        self._process.ended.connect(self._on_ended)
        self._opened: Open | None = None
        self._look: Look | None = None
        self._probe: Probe | None = None
        self._number = 0
        # Of the first question about what is open now: earlier ones were about frames of another video.
        self._first = 1
        self._forward = True
        self._deaths: list[float] = []
        self._is_shut = False
        self._is_dead = False
        self.work = ""

    @property
    def pid(self) -> int | None:
        """The process that answers, if there is one."""
        return self._process.pid

    def open(self, video: Video, machine: Machine) -> None:
        """Ask about this video from now on."""
        self._opened = Open(video, machine)
        self._look = self._probe = None
        self._first = self._number + 1
        if self._process.is_there:
            self._process.send(self._opened)
        self._set_work("")

    def look(self, frame: int, parameters: CutParameters, *, is_known: bool, has_flow: bool) -> None:
        """Ask for all about a frame; what was asked before is given up."""
        if self._opened is None or self._is_shut or self._is_dead:
            return
        if self._look is not None and frame != self._look.frame:
            self._forward = frame > self._look.frame
        near = frames_ahead(frame, len(self._opened.video), self._forward)
        self._number += 1
        self._look = Look(self._number, frame, parameters, near, ahead_only=is_known, wants_flow=not has_flow)
        self._set_work("" if is_known else "describing and cutting")
        self._ask(self._look)

    def probe(self, frame: int, patch: tuple[int, int], parameters: CutParameters) -> None:
        """Ask for the affinity of a patch of a frame."""
        if self._opened is None or self._is_shut or self._is_dead:
            return
        self._number += 1
        self._probe = Probe(self._number, frame, patch, parameters)
        self._ask(self._probe)

    def refine(self, frame: int, segmentation: Rle, parameters: CutParameters) -> int:
        """Ask for the CRF of a mask that a person made; return the number of the question, 0 if none can be asked."""
        if self._opened is None or self._is_shut or self._is_dead:
            return 0
        self._number += 1
        self._ask(RefineMask(self._number, frame, segmentation, parameters))
        return self._number

    def restart(self) -> None:
        """Drop the process, whatever state it is in; the next question starts another."""
        self._deaths.clear()
        self._is_dead = False
        self._process.drop()

    def stop(self) -> None:
        """End the process; the next question starts another."""
        self._process.drop()
        self._set_work("")

    def shutdown(self) -> None:
        """End the process for good. May be called again."""
        self._is_shut = True
        self._process.drop()

    def _ask(self, question: Any) -> None:
        if not self._process.is_there:
            self._process.send(self._opened)
        self._process.send(question)

    def _on_arrived(self, answer: Any) -> None:
        if isinstance(answer, Remark):
            self.remarked.emit(answer.text)
        elif isinstance(answer, Devices):
            self.devices_found.emit(answer.found)
        elif answer.number < self._first:
            return
        elif isinstance(answer, MaskRefined):
            self.mask_refined.emit(answer)
        elif isinstance(answer, Failed):
            if self._look is None or answer.number >= self._look.number:
                self._set_work("")
                self.troubled.emit(Trouble(answer.text, answer.missing))
        else:
            if self._look is not None and not isinstance(answer, Probed) and answer.number == self._look.number:
                if isinstance(answer, CutsMade):
                    self._set_work("refining")
                elif isinstance(answer, Refined):
                    self._set_work("")
            if isinstance(answer, Probed):
                self._probe = None
            self.answered.emit(answer)

    def _on_ended(self, reason: str) -> None:
        if self._is_shut:
            return
        self._set_work("")
        now = time.monotonic()
        self._deaths = [death for death in self._deaths if now - death < _DEATHS_WITHIN] + [now]
        if len(self._deaths) > _MOST_DEATHS:
            self._is_dead = True
            text = f"the computing process ended again: {reason}; nothing of yours is lost"
            self.troubled.emit(Trouble(text, is_dead=True))
            return
        self.remarked.emit(f"the computing process ended and was started again: {reason}; nothing of yours is lost")
        if self._look is not None:
            self._ask(self._look)
            self._set_work("" if self._look.ahead_only else "describing and cutting")
        if self._probe is not None:
            self._ask(self._probe)

    def _set_work(self, work: str) -> None:
        if work != self.work:
            self.work = work
            self.work_changed.emit(work)


def frames_ahead(frame: int, length: int, forward: bool) -> tuple[int, ...]:
    """Return the frames to describe ahead: on the way that somebody goes through the video, and one back.

    Examples
    --------
    >>> frames_ahead(5, 10, True), frames_ahead(0, 3, False)
    ((6, 7, 8, 4), (1,))
    """
    step = 1 if forward else -1
    wanted = [frame + step * distance for distance in range(1, _AHEAD + 1)] + [frame - step]
    return tuple(index for index in wanted if 0 <= index < length)
