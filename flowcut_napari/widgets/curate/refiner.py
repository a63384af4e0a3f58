"""The CRF of a mask that a person made: asked of the computing process, taken up if the mask is still the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcut_napari.core import editing
from flowcut_napari.core.decisions import Key
from flowcut_napari.core.masks import Rle, decode_rle, mask_iou
from flowcut_napari.live.messages import MaskRefined
from flowcut_napari.widgets.live import LiveLink

if TYPE_CHECKING:
    from flowcut_napari.widgets.curate.desk import CurationDesk


class Refiner:
    """Asks for one mask at a time; of several only the last counts."""

    def __init__(self, desk: CurationDesk, live: LiveLink) -> None:
        self._desk = desk
        self._live = live
        self._asked: tuple[int, Key, Rle] | None = None

    def refine(self) -> None:
        """Ask for the chosen mask."""
        key, masks = self._desk.chosen, self._desk.masks
        if key is None or masks is None:
            return
        segmentation = editing.instance_of(masks, key).segmentation
        number = self._live.refine(key[0], segmentation, masks.parameters)
        self._asked = (number, key, segmentation) if number else None
        self._desk.say(
            "refining …" if number else "the computing process is not there; start it again on the Masks page"
        )

    def take(self, answer: MaskRefined) -> None:
        """Take up an answer."""
        desk, masks = self._desk, self._desk.masks
        if self._asked is None or answer.number != self._asked[0] or masks is None:
            return
        (_, key, before), self._asked = self._asked, None
        known = next((item for item in editing.frame_of(masks, key[0]) if item.id == key[1]), None)
        if known is None or known.segmentation is not before:
            desk.say("the mask was changed meanwhile; it stays as it is")
            return
        if answer.segmentation is None:
            desk.say(answer.reason)
            return
        mask = decode_rle(answer.segmentation)
        for other in editing.seen_in(masks, key[0]):
            if other.id != key[1]:
                mask &= ~other.mask
        if not mask.any():
            desk.say("the CRF moved this mask onto others; it stays as it is")
        elif desk.act(
            f"refine mask {desk.identity(key)} of frame {key[0]}",
            lambda masks, _: masks.with_mask(key[0], mask, key[1]),
        ):
            desk.say(f"refined: IoU {mask_iou(known.mask, mask):.2f} with the mask before")
