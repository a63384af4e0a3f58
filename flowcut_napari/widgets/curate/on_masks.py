"""What can be done with one mask: rejected, mended, copied."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from flowcut_napari.core import editing
from flowcut_napari.core.clips import Curation
from flowcut_napari.core.decisions import Key
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.widgets.curate.desk import CurationDesk

_GROW = ndimage.generate_binary_structure(2, 1)


def mask_scope(word: str, desk: CurationDesk) -> str | None:
    """Say which mask it would be about."""
    key = desk.chosen
    return f"{word} mask {desk.identity(key)} of frame {key[0]}" if key is not None else None


def shape_scope(word: str, desk: CurationDesk) -> str | None:
    """Say which mask would get another shape; none that is rejected."""
    key = desk.chosen
    return None if key is None or desk.is_rejected(key) else mask_scope(word, desk)


def delete_scope(desk: CurationDesk) -> str | None:
    """Say what would become of the chosen mask."""
    key = desk.chosen
    if key is None:
        return None
    return mask_scope("Bring back" if desk.is_rejected(key) else "Reject", desk)


def delete(desk: CurationDesk) -> None:
    """Reject the chosen mask, or bring it back."""
    key = desk.chosen
    if key is None:
        return
    where = f"mask {desk.identity(key)} of frame {key[0]}"
    if desk.is_rejected(key):
        desk.act(f"bring back {where}", lambda masks, _: editing.judge_instance(masks, key, None))
    else:
        desk.act(f"reject {where}", lambda masks, _: editing.remove(masks, key))


def accept_mask(desk: CurationDesk) -> None:
    """Accept the chosen mask."""
    key = desk.chosen
    if key is not None:
        label = f"accept mask {desk.identity(key)} of frame {key[0]}"
        desk.act(label, lambda masks, _: editing.judge_instance(masks, key, "accept"))


def reshape(word: str, change: Callable[[np.ndarray], np.ndarray], desk: CurationDesk) -> None:
    """Change the chosen mask; what it gains is taken from no other mask."""
    key, document = desk.chosen, desk.document
    if key is None or document is None:
        return

    def changed(masks: VideoMasks, curation: Curation) -> VideoMasks:
        others = [item.mask for item in editing.seen_in(masks, key[0]) if item.id != key[1]]
        mask = change(editing.instance_of(masks, key).mask)
        for other in others:
            mask = mask & ~other
        return masks.with_mask(key[0], mask, key[1]) if mask.any() else editing.remove(masks, key)

    desk.act(f"{word} mask {desk.identity(key)} of frame {key[0]}", changed)


def grow(mask: np.ndarray) -> np.ndarray:
    """Return a mask that is a pixel wider on all sides."""
    return ndimage.binary_dilation(mask, _GROW)


def shrink(mask: np.ndarray) -> np.ndarray:
    """Return a mask that is a pixel narrower on all sides."""
    return ndimage.binary_erosion(mask, _GROW)


def _source_of_copy(desk: CurationDesk) -> tuple[Key, int] | None:
    """Return the mask that would be copied into this frame, and its identity: of the nearest frame before with it."""
    review, masks = desk.review, desk.masks
    if review is None or masks is None or review.place_of(desk.frame) is None:
        return None
    here = {desk.identity(key) for key in desk.view.instances(desk.frame) if not desk.is_rejected(key)}
    wanted = desk.wanted_identity
    if wanted is None:
        # Nothing of it is here that could be chosen: whatever was there a frame ago and is missing.
        before = [frame for frame in review.frames if frame < desk.frame]
        known = [key for key in desk.view.instances(before[-1]) if not desk.is_rejected(key)] if before else []
        missing = [key for key in known if desk.identity(key) not in here]
        return (missing[0], desk.identity(missing[0]) or 0) if missing else None
    if wanted in here:
        return None
    members = next((item.members for item in review.curation.chains if item.identity == wanted), ())
    earlier = [key for key in members if key[0] < desk.frame and not desk.is_rejected(key)]
    return (earlier[-1], wanted) if earlier else None


def copy_scope(desk: CurationDesk) -> str | None:
    """Say which object would be copied, and from where."""
    found = _source_of_copy(desk)
    return f"Copy object {found[1]} from frame {found[0][0]}" if found else None


def copy(desk: CurationDesk) -> None:
    """Copy an object that is missing here from a frame before."""
    found, document, frame = _source_of_copy(desk), desk.document, desk.frame
    if found is None or document is None:
        return
    key, identity = found

    def copied(masks: VideoMasks, curation: Curation) -> VideoMasks:
        mask = editing.instance_of(masks, key).mask
        for other in editing.seen_in(masks, frame):
            mask = mask & ~other.mask
        if not mask.any():
            raise InputError(f"where object {identity} was in frame {key[0]} there are other masks now")
        return editing.draw_as(masks, frame, mask, identity, document.curate)

    if desk.act(f"copy object {identity} from frame {key[0]} to frame {frame}", copied):
        desk.select(next((other for other in desk.view.instances(frame) if desk.identity(other) == identity), None))


def refine_scope(desk: CurationDesk) -> str | None:
    """Say which mask would be refined."""
    return shape_scope("Refine", desk)


def new_scope(desk: CurationDesk) -> str | None:
    """Say that an object can be drawn here."""
    review = desk.review
    return "Draw a new object" if review is not None and review.place_of(desk.frame) is not None else None
