"""What is known of the frames of a video: answers of the computing process, and masks that were saved."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flowcut_napari.core.description import description_key
from flowcut_napari.core.ncut import Cut, IterativeCut
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.pseudo_masks import FrameMasks
from flowcut_napari.core.store import VideoMasks

# The grids of the cuts of a frame take some 30 kB (880 patches) to 120 kB (3600), a flow picture 0.7 MB and more.
_FLOW_BYTES = 40_000_000
_FRAMES = 512


@dataclass(frozen=True)
class FrameAnswer:
    """The cuts of a frame with some parameters, and its masks once they are refined."""

    parameters: CutParameters
    result: IterativeCut
    masks: FrameMasks | None = None

    def cut(self, iteration: int) -> Cut | None:
        """Return the cut of an iteration, accepted or refused; None if there was none."""
        cuts = self.result.cuts if self.result.rejected is None else (*self.result.cuts, self.result.rejected)
        return cuts[iteration - 1] if iteration <= len(cuts) else None

    def cuts(self) -> tuple[Cut, ...]:
        """Return all cuts, a refused last one included."""
        return self.result.cuts if self.result.rejected is None else (*self.result.cuts, self.result.rejected)


class FrameResults:
    """The answers about the frames of one video, bounded in number; those asked for longest ago go first.

    Answers made with other parameters than `parameters` are not given out, but for the frame that is looked at: what
    is shown there stays until the new answer comes, so that a moved slider does not make the picture flicker; unless
    `holds` is off, because no answer will come.
    """

    def __init__(self, parameters: CutParameters) -> None:
        self.parameters = parameters
        self.weights: dict[str, Path] = {}
        self.device = "auto"
        self.frame = 0
        self.holds = True
        self.saved: VideoMasks | None = None
        self.saved_path: Path | None = None
        self._saved_frames: dict[int, FrameMasks] = {}
        self._answers: OrderedDict[int, FrameAnswer] = OrderedDict()
        self._flows: OrderedDict[tuple[int, Hashable], np.ndarray] = OrderedDict()

    def use_weights(self, weights: Mapping[str, Path]) -> None:
        """Take up the weights of models; what was made with others is forgotten."""
        if dict(weights) != self.weights:
            self.weights = dict(weights)
            self._answers.clear()
            self._flows.clear()

    def answer(self, frame: int) -> FrameAnswer | None:
        """Return what is known of the cuts of a frame."""
        answer = self._answers.get(frame)
        if answer is None or (answer.parameters != self.parameters and (frame != self.frame or not self.holds)):
            return None
        self._answers.move_to_end(frame)
        return answer

    def is_complete(self, frame: int) -> bool:
        """Whether the cuts and the refined masks of a frame are known for the present parameters."""
        answer = self._answers.get(frame)
        return answer is not None and answer.parameters == self.parameters and answer.masks is not None

    def masks(self, frame: int) -> FrameMasks | None:
        """Return the refined masks of a frame: fresh ones, else those that were saved."""
        answer = self.answer(frame)
        if answer is not None and answer.masks is not None:
            return answer.masks
        return None if answer is not None else self._saved_frames.get(frame)

    def fresh_masks(self) -> dict[int, FrameMasks]:
        """Return the refined masks of all frames that were made with the present parameters."""
        return {
            frame: answer.masks
            for frame, answer in self._answers.items()
            if answer.masks is not None and answer.parameters == self.parameters
        }

    def flow_picture(self, frame: int) -> np.ndarray | None:
        """Return the flow picture of a frame for the present parameters, (h, w, 3) uint8."""
        key = frame, description_key(self.parameters)
        if key in self._flows:
            self._flows.move_to_end(key)
        return self._flows.get(key)

    def put_cuts(self, frame: int, parameters: CutParameters, result: IterativeCut) -> None:
        """Keep the cuts of a frame; its masks are to come."""
        self._put(frame, FrameAnswer(parameters, result))

    def put_masks(self, frame: int, parameters: CutParameters, masks: FrameMasks) -> None:
        """Keep the refined masks of a frame beside the cuts that they come from."""
        answer = self._answers.get(frame)
        if answer is not None and answer.parameters == parameters:
            self._put(frame, replace(answer, masks=replace(masks, cuts=())))

    def put_flow(self, frame: int, parameters: CutParameters, picture: np.ndarray) -> None:
        """Keep the flow picture of a frame."""
        self._flows[frame, description_key(parameters)] = picture
        while len(self._flows) > 1 and sum(kept.nbytes for kept in self._flows.values()) > _FLOW_BYTES:
            self._flows.popitem(last=False)

    def put_saved(self, masks: VideoMasks | None, path: Path | None = None) -> None:
        """Take up masks of the whole video, such as those of a run, and where they are saved."""
        self.saved, self.saved_path = masks, path
        self._saved_frames = {frame.index: frame for frame in masks.frames} if masks else {}

    def put_saved_frame(self, masks: FrameMasks) -> None:
        """Take up the masks of one frame of a run that is still going on."""
        self._saved_frames[masks.index] = masks

    def _put(self, frame: int, answer: FrameAnswer) -> None:
        self._answers[frame] = answer
        self._answers.move_to_end(frame)
        while len(self._answers) > _FRAMES:
            self._answers.popitem(last=False)
