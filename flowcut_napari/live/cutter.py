"""The process behind the sliders: cuts and refines the one frame that somebody looks at.

A moved slider must show within a blink. So nothing here takes long without looking for a newer question: models run
in a process of their own (`describer`), the CRF is left between two of its iterations, and cosines are kept.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from threadpoolctl import threadpool_limits

from flowcut_napari.core.affinity import Cosines
from flowcut_napari.core.description import FrameDescription, description_key
from flowcut_napari.core.errors import FlowCutError, InputError
from flowcut_napari.core.features import resize_picture
from flowcut_napari.core.masks import decode_rle, encode_rle
from flowcut_napari.core.ncut import IterativeCut, cut_cosines
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.probe import AffinityRow
from flowcut_napari.core.pseudo_masks import refine_by_hand, refine_cuts
from flowcut_napari.core.refine import CRF_INSTALL_HINT, FrameCrf, crf_is_available
from flowcut_napari.core.video import Video
from flowcut_napari.live.describer import (
    Description,
    FlowDrawn,
    FromHelper,
    NotDescribed,
    ShowVideo,
    Wishes,
    serve,
)
from flowcut_napari.live.messages import (
    CutsMade,
    Described,
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
from flowcut_napari.live.owned import describe_end
from flowcut_napari.live.pipe import ParentPipes

# A slider that moves asks more often than this: only when it rests is it worth to begin the CRF.
_REST_SECONDS = 0.08
_KEPT_BYTES = 200_000_000


class _Superseded(Exception):
    """Something newer was asked."""


@dataclass
class _FrameWork:
    """What is kept of a frame between two questions about it."""

    description: FrameDescription
    flow_picture: np.ndarray | None = None
    is_whole: bool = False
    cosines: Cosines | None = None
    crf: FrameCrf | None = None

    def nbytes(self) -> int:
        description = self.description
        arrays = [description.picture, description.rgb, description.motion, self.flow_picture]
        arrays += [self.cosines.rgb, self.cosines.flow] if self.cosines else []
        return sum(array.nbytes for array in arrays if array is not None)


class Cutter:
    """Answers `Look` and `Probe`, always the newest first.

    Parameters
    ----------
    send : callable
        Takes the answers.
    """

    def __init__(self, send: Callable[[Any], None]) -> None:
        self._send = send
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._helper: tuple[Any, Any] | None = None
        self._machine: Machine | None = None
        self._openings = 0
        self._wishes: tuple[Hashable, tuple[int, ...]] | None = None
        self._work: OrderedDict[tuple[int, Hashable], _FrameWork] = OrderedDict()
        self._look: Look | None = None
        self._cut: IterativeCut | None = None
        self._is_refined = False
        self._probe: Probe | None = None
        self._by_hand: RefineMask | None = None
        self._video: Video | None = None
        self._crf_missing_said = False
        self._rest_until = 0.0

    def run(self) -> None:
        """Work until the parent is gone."""
        while True:
            try:
                self._take_messages(wait=self._wait_seconds())
                self._next_step()
            except _Superseded:
                continue
            except FlowCutError as error:
                self._fail(str(error))

    # What comes in.

    def _take_messages(self, wait: float | None) -> None:
        """Read all that came; wait for the first so many seconds, None is for ever."""
        with contextlib.suppress(queue.Empty):
            self._handle(self.inbox.get(timeout=wait) if wait != 0 else self.inbox.get_nowait())
            while True:
                self._handle(self.inbox.get_nowait())

    def _handle(self, message: Any) -> None:
        if isinstance(message, FromHelper):
            # What it says of the machine holds for every video.
            if message.opening != self._openings and not isinstance(message.content, str | Devices):
                return
            message = message.content
        if isinstance(message, Look):
            self._look, self._cut, self._is_refined = message, None, message.ahead_only
            self._rest_until = time.monotonic() + _REST_SECONDS
            self._wish(message)
        elif isinstance(message, Probe):
            self._probe = message
        elif isinstance(message, RefineMask):
            self._by_hand = message
        elif isinstance(message, Description):
            self._keep(message.parameters, message.frame)
        elif isinstance(message, FlowDrawn):
            if work := self._find(message.frame, message.parameters):
                work.flow_picture, work.is_whole = message.picture, True
                self._say_described(message.parameters, work)
        elif isinstance(message, NotDescribed):
            look, self._wishes = self._look, None  # asked once more, it is looked for once more
            # What is wrong with a frame that was described ahead is said when it is looked at.
            if look and _subject(look) == _subject(message):
                self._look = None
                self._send(Failed(look.number, message.text, message.missing))
        elif isinstance(message, str):
            self._send(Remark(message))
        elif isinstance(message, Devices):
            self._send(message)
        elif isinstance(message, Open):
            self._open(message)

    def _open(self, message: Open) -> None:
        self._openings += 1
        self._work.clear()
        self._look, self._cut, self._probe, self._wishes = None, None, None, None
        self._by_hand, self._video = None, message.video
        if self._helper is None or self._machine != message.machine:
            self._start_helper(message.machine)
        self._tell_helper(ShowVideo(self._openings, message.video))

    def _start_helper(self, machine: Machine) -> None:
        if self._helper is not None:
            # The thread that listens closes the pipe: closed here, its number could be that of the next one.
            self._helper[0].kill()
        ours, theirs = multiprocessing.Pipe()
        helper = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, machine), daemon=True)
        helper.start()
        theirs.close()
        self._helper, self._machine = (helper, ours), machine
        threading.Thread(target=self._listen, args=(helper, ours), daemon=True).start()

    def _tell_helper(self, message: ShowVideo | Wishes) -> None:
        if self._helper is not None:
            with contextlib.suppress(OSError):  # it is gone; the thread that listens to it says so
                self._helper[1].send(message)

    def _listen(self, helper: Any, connection: Any) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self.inbox.put(connection.recv())
        helper.join()
        if self._helper is None or self._helper[0] is not helper:  # another one took its place
            connection.close()
            return
        if helper.exitcode < 0:  # else its own last words are in the log
            print(f"the process that holds the models: {describe_end(helper.exitcode, [])}", file=sys.stderr)
            sys.stderr.flush()
        _leave()

    # What is to be done.

    def _wait_seconds(self) -> float | None:
        if self._by_hand is not None:
            return 0
        if self._probe is not None and self._find(self._probe.frame, self._probe.parameters):
            return 0
        look = self._look
        if look is None or self._is_refined or self._find(look.frame, look.parameters) is None:
            return None
        return 0 if self._cut is None else max(0.0, self._rest_until - time.monotonic())

    def _next_step(self) -> None:
        if self._by_hand is not None:
            question, self._by_hand = self._by_hand, None
            self._refine_by_hand(question)
        if self._probe is not None and (work := self._find(self._probe.frame, self._probe.parameters)):
            probe, self._probe = self._probe, None
            self._answer_probe(probe, work)
        look = self._look
        if look is None or self._is_refined or (work := self._find(look.frame, look.parameters)) is None:
            return
        if self._cut is None:
            self._make_cuts(look, work)
        elif time.monotonic() >= self._rest_until:
            self._refine(look, work, self._cut)

    def _make_cuts(self, look: Look, work: _FrameWork) -> None:
        started = time.perf_counter()
        parameters = look.parameters
        result = cut_cosines(self._cosines(work), work.description.grid, parameters)
        self._cut = result
        milliseconds = 1e3 * (time.perf_counter() - started)
        self._send(CutsMade(look.number, look.frame, parameters, result, milliseconds))

    def _refine(self, look: Look, work: _FrameWork, result: IterativeCut) -> None:
        started = time.perf_counter()
        crf = None
        if look.parameters.crf and not crf_is_available() and not self._crf_missing_said:
            self._crf_missing_said = True
            self._send(Remark(f"pydensecrf is not installed, masks stay unrefined; to mend it: {CRF_INSTALL_HINT}"))
        elif look.parameters.crf and crf_is_available():
            # The lattice of a picture is large: only that of the frame that is looked at is kept.
            for other in self._work.values():
                if other is not work:
                    other.crf = None
            work.crf = crf = work.crf or FrameCrf(work.description.picture)
        masks = refine_cuts(work.description, result, look.parameters, crf, self._give_way)
        self._is_refined = True
        milliseconds = 1e3 * (time.perf_counter() - started)
        self._send(Refined(look.number, look.frame, look.parameters, masks, milliseconds))

    def _give_way(self) -> None:
        """End the refinement if anybody asked anything meanwhile."""
        before = self._look, self._probe, self._by_hand
        self._take_messages(wait=0)
        if (self._look, self._probe, self._by_hand) != before:
            raise _Superseded

    def _refine_by_hand(self, question: RefineMask) -> None:
        mask, reason = None, ""
        try:
            if not crf_is_available():
                raise InputError(f"pydensecrf is not installed, no mask is refined; to mend it: {CRF_INSTALL_HINT}")
            if self._video is not None:
                crf = self._crf_of(question.frame, question.parameters, self._video)
                mask = refine_by_hand(decode_rle(question.segmentation), crf)
                reason = "" if mask.any() else "the CRF left nothing of this mask; it stays as it is"
        except FlowCutError as error:
            reason = str(error)
        segmentation = encode_rle(mask) if mask is not None and mask.any() else None
        self._send(MaskRefined(question.number, question.frame, segmentation, reason))

    def _crf_of(self, frame: int, parameters: CutParameters, video: Video) -> FrameCrf:
        work = self._find(frame, parameters)
        if work is None:
            return FrameCrf(resize_picture(video[frame], *parameters.frame_size(video.height, video.width)))
        work.crf = work.crf or FrameCrf(work.description.picture)
        return work.crf

    def _answer_probe(self, probe: Probe, work: _FrameWork) -> None:
        grid, alpha, tau = work.description.grid, probe.parameters.alpha, probe.parameters.tau
        try:
            row = AffinityRow.of(self._cosines(work), grid, probe.patch, alpha=alpha, tau=tau)
        except InputError as error:
            # A patch of another working size; the frame that is looked at has nothing to do with it.
            self._send(Failed(probe.number, str(error)))
            return
        self._send(Probed(probe.number, probe.frame, probe.parameters, row))

    def _cosines(self, work: _FrameWork) -> Cosines:
        if work.cosines is None:
            work.cosines = Cosines.of(work.description.rgb, work.description.motion)
            self._trim()
        return work.cosines

    # What is kept, and what is asked of the helper.

    def _find(self, frame: int, parameters: CutParameters) -> _FrameWork | None:
        key = (frame, description_key(parameters))
        if key in self._work:
            self._work.move_to_end(key)
        return self._work.get(key)

    def _keep(self, parameters: CutParameters, description: FrameDescription) -> None:
        work = self._find(description.index, parameters)
        if work is None:
            work = self._work[description.index, description_key(parameters)] = _FrameWork(
                description, is_whole=description.partner is None
            )
        self._say_described(parameters, work)
        if self._look is not None:
            # A frame described ahead must not push out the one that is looked at.
            self._find(self._look.frame, self._look.parameters)
        self._trim()

    def _trim(self) -> None:
        while len(self._work) > 1 and sum(work.nbytes() for work in self._work.values()) > _KEPT_BYTES:
            self._work.popitem(last=False)

    def _wish(self, look: Look) -> None:
        missing = []
        for frame in (look.frame, *look.near):
            work = self._find(frame, look.parameters)
            if work is None or not work.is_whole:
                missing.append(frame)
        if work := self._find(look.frame, look.parameters):
            self._say_described(look.parameters, work, with_flow=look.wants_flow)
        wishes = Wishes(look.parameters, tuple(missing))
        # A moved slider of alpha or tau wishes for nothing new.
        subject = description_key(wishes.parameters), wishes.frames
        if subject != self._wishes:
            self._wishes = subject
            self._tell_helper(wishes)

    def _say_described(self, parameters: CutParameters, work: _FrameWork, with_flow: bool = True) -> None:
        number = self._look.number if self._look else 0
        picture = work.flow_picture if with_flow else None
        description = work.description
        grid, partner = description.grid, description.partner
        self._send(Described(number, description.index, parameters, grid, partner, picture))

    def _fail(self, text: str) -> None:
        look, self._look = self._look, None
        self._send(Failed(look.number if look else 0, text))


def _subject(about: Look | NotDescribed) -> tuple[int, Hashable]:
    return about.frame, description_key(about.parameters)


def _leave() -> NoReturn:
    # From a thread; the main one may be in the middle of anything.
    os._exit(1)


def main() -> None:
    """Serve the window that started this process."""
    parent = ParentPipes()
    threadpool_limits(1)
    import cv2

    cv2.setNumThreads(1)
    cutter = Cutter(parent.send)

    def listen() -> None:
        for record in parent.records():
            cutter.inbox.put(record)
        _leave()

    threading.Thread(target=listen, daemon=True).start()
    cutter.run()


if __name__ == "__main__":
    main()
