"""The brush of the match view: strokes become actions, and never paint what nobody chose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flowcut_napari.core import editing
from flowcut_napari.core.clips import Curation
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.store import VideoMasks

if TYPE_CHECKING:
    from flowcut_napari.widgets.curate.desk import CurationDesk


class Brush:
    """Takes up what was painted on the layer of objects, one stroke an action."""

    def __init__(self, desk: CurationDesk) -> None:
        self._desk = desk
        # Of the object that was announced, and that nothing was painted of yet.
        self._new_identity: int | None = None

    def take(self, frames: dict[int, np.ndarray]) -> None:
        """Take up a stroke: the labels (height, width) of the frames that it changed."""
        desk, document = self._desk, self._desk.document
        if document is None:
            return
        wanted = {desk.view.followed, self._new_identity}

        def painted(masks: VideoMasks, curation: Curation) -> VideoMasks:
            for frame, labels in frames.items():
                objects = {int(number): labels == number for number in np.unique(labels) if number}
                here = {identity for _, identity, _ in desk.view.objects(frame)}
                if unasked := objects.keys() - here - wanted:
                    raise InputError(
                        f"object {min(unasked)} is not in frame {frame}; choose an object to paint on, or press M for "
                        "a new one"
                    )
                after = editing.repaint(masks, frame, objects, document.curate)
                if after is not masks:
                    # Labels are of the numbers that objects had when the stroke began.
                    masks = editing.keep_numbers(curation, after, document.curate)
                    curation = document.curate(masks)
            return masks

        before = {key for frame in frames for key in desk.view.instances(frame)}
        label = desk.layers.objects.selected_label if desk.layers is not None and desk.layers.objects else 0
        where = f"in frame {', '.join(map(str, frames))}"
        if not desk.act(f"paint on object {label} {where}" if label else f"erase {where}", painted):
            return
        self._new_identity = None
        if made := [key for frame in frames for key in desk.view.instances(frame) if key not in before]:
            desk.select(made[0])
        desk.draw_again()  # a stroke may be of another number than what it became

    def begin_new(self) -> None:
        """Hold an object that is nowhere yet."""
        desk = self._desk
        objects = desk.layers.objects if desk.layers is not None else None
        if desk.review is None or objects is None:
            return
        desk.select(None)
        self._new_identity = max((chain.identity for chain in desk.review.curation.chains), default=0) + 1
        objects.selected_label = self._new_identity
        objects.mode = "paint"
        desk.hold(objects)
        desk.say(f"paint object {self._new_identity} on frame {desk.frame}; brush size by [ and ]")
