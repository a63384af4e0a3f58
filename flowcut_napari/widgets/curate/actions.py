"""All that keys and buttons of the Curate page can do: one registry for keys, buttons and help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import ndimage

from flowcut_napari.core import editing
from flowcut_napari.core.clips import Curation
from flowcut_napari.core.decisions import Key, Verdict
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.widgets.curate.desk import NO_MASKS, CurationDesk

_GROW = ndimage.generate_binary_structure(2, 1)


@dataclass(frozen=True)
class Action:
    """One thing that a person can do.

    Attributes
    ----------
    name : str
        Unique; of its button, too.
    key : str
        As napari writes keys, ``Shift+N``.
    group : str
        Under which it stands in the help.
    title : str
        What it does, in words.
    act : callable
        Does it.
    scope : callable
        Says what it would do right now, short enough for a button; None where there is nothing to do it to.
    """

    name: str
    key: str
    group: str
    title: str
    act: Callable[[CurationDesk], object]
    scope: Callable[[CurationDesk], str | None]

    def do(self, desk: CurationDesk) -> None:
        """Do it; say what is missing where there is nothing to do it to."""
        if self.scope(desk) is not None:
            self.act(desk)
        elif desk.document is None:
            desk.say(NO_MASKS)
        elif self.group in ("Clip", "Choose", "Mask") and desk.document.review.place_of(desk.frame) is None:
            desk.say(f"frame {desk.frame} has no masks; the pairs are those of frames with masks")
        else:
            desk.say(_MISSING.get(self.name) or _MISSING[self.group])


_MISSING = {
    "Go": "there is none of that",
    "Clip": "this frame has no partner at this gap",
    "Choose": "there is nothing to choose",
    "Object": "choose an object first: click it, or press Down",
    "Mask": "choose a mask first: click it, or press Down",
    "swap": "choose two masks of one frame to swap them: click one, and the other with Shift",
    "split": "choose a mask of an object after its first one, to make another object of it from there on",
    "join": "choose one mask of each frame to join them: click one, and the other with Shift",
    "copy_mask": "no object of a frame before is missing here",
    "undo": "there is nothing to undo",
    "redo": "there is nothing to do again",
}


# Clips.


def _clip_scope(word: str, desk: CurationDesk) -> str | None:
    pair = desk.pair
    return f"{word} clip {pair.frames[0]} → {pair.frames[1]}" if pair else None


def _accept_scope(desk: CurationDesk) -> str | None:
    pair = desk.pair
    # Where nothing matches there is no clip to be accepted.
    return _clip_scope("Accept", desk) if pair is not None and pair.outcome.tracks else None


def _clear_scope(desk: CurationDesk) -> str | None:
    return _clip_scope("Clear the verdict on", desk) if desk.pair is not None and desk.pair.verdict else None


def _judge_clip(verdict: Verdict | None, desk: CurationDesk) -> None:
    pair = desk.pair
    if pair is None:
        return
    frames = pair.outcome.frames
    word = {"accept": "accept", "reject": "reject", None: "take back the verdict on"}[verdict]
    done = desk.act(
        f"{word} clip {frames[0]} → {frames[1]}", lambda masks, _: editing.judge_clip(masks, frames, verdict)
    )
    if done and verdict is not None and desk.goes_on:
        _go_open(False, desk)


# Going through the pairs.


def _go_uncertain(back: bool, desk: CurationDesk) -> None:
    review, here = desk.review, desk.pair
    # Who comes from elsewhere begins with the most uncertain; who goes on goes on, whatever was decided meanwhile.
    walked = here if here is not None and (here.place, here.gap) == desk.walked else None
    if review is not None and (pair := review.next_uncertain(walked, back)) is not None:
        desk.walked = pair.place, pair.gap
        desk.go(pair.frames[0], pair.gap)
        place, count = review.uncertain.index(pair) + 1, len(review.uncertain)
        desk.say(f"{place} of {count} by uncertainty: an IoU {pair.margin:.3f} from the threshold")


def _go_open(back: bool, desk: CurationDesk) -> None:
    review = desk.review
    if review is not None and (pair := review.next_open(desk.pair, back)) is not None:
        desk.go(pair.frames[0], pair.gap)


def _go_broken(back: bool, desk: CurationDesk) -> None:
    review = desk.review
    if review is not None and (found := review.next_break(desk.frame, back, desk.chosen)) is not None:
        # With the nearest frame as its partner, so that it is seen what became of the object.
        desk.go(found.last[0], desk.parameters.gaps[0])
        desk.select(found.last)
        desk.say(f"{found.describe()}; step on, and H copies it there")


def _uncertain_scope(desk: CurationDesk) -> str | None:
    review = desk.review
    return f"Uncertain {review.count_uncertain}" if review is not None and review.uncertain else None


def _open_scope(desk: CurationDesk) -> str | None:
    count = desk.review.count_open if desk.review else 0
    return f"Undecided {count}" if count else None


def _broken_scope(desk: CurationDesk) -> str | None:
    count = len(desk.review.breaks) if desk.review else 0
    return f"Lost {count}" if count else None


def _next_gap(back: bool, desk: CurationDesk) -> None:
    gaps = desk.parameters.gaps
    desk.set_gap(gaps[(gaps.index(desk.view.gap) + (-1 if back else 1)) % len(gaps)])


def _gap_scope(word: str, desk: CurationDesk) -> str | None:
    return f"{word} gap" if desk.document is not None and len(desk.parameters.gaps) > 1 else None


def _choice_scope(word: str, desk: CurationDesk) -> str | None:
    return f"{word} object" if desk.keys_in_sight() else None


# Objects, which are tracklets.


def _tracklet_scope(word: str, desk: CurationDesk) -> str | None:
    tracklet = desk.tracklet(desk.chosen)
    if tracklet is None:
        return None
    first, last = tracklet.members[0][0], tracklet.members[-1][0]
    return f"{word} object {tracklet.identity} ({first} to {last})"


def _clear_object_scope(desk: CurationDesk) -> str | None:
    tracklet, review = desk.tracklet(desk.chosen), desk.review
    if tracklet is None or review is None or tracklet.identity not in review.curation.tracklet_verdicts:
        return None
    return _tracklet_scope("Clear the verdict on", desk)


def _judge_tracklet(verdict: Verdict | None, desk: CurationDesk) -> None:
    tracklet = desk.tracklet(desk.chosen)
    if tracklet is not None:
        word = {"accept": "accept", "reject": "reject", None: "take back the verdict on"}[verdict]
        desk.act(
            f"{word} object {tracklet.identity}",
            lambda masks, _: editing.judge_tracklet(masks, tracklet, verdict),
        )


def _split_scope(desk: CurationDesk) -> str | None:
    key, tracklet = desk.chosen, desk.tracklet(desk.chosen)
    if key is None or tracklet is None or tracklet.members[0] == key:
        return None
    return f"Split {tracklet.identity} from frame {key[0]} on ({_rest(desk, key)})"


def _split(desk: CurationDesk) -> None:
    key, document = desk.chosen, desk.document
    if key is not None and document is not None:
        label = f"split object {desk.identity(key)} from frame {key[0]} on"
        desk.act(label, lambda masks, _: editing.split_from(masks, document.curate, key))


def _swapped(desk: CurationDesk) -> tuple[Key, Key] | None:
    """Return the two masks of one frame that would be swapped: those chosen, or the only two there are."""
    key = desk.chosen
    if key is None:
        return None
    if len(desk.selection) == 2:
        other = desk.selection[1]
        return (key, other) if other[0] == key[0] else None
    others = [other for other in desk.view.instances(key[0]) if other != key and not _is_rejected(desk, other)]
    return (key, others[0]) if len(others) == 1 else None


def _swap_scope(desk: CurationDesk) -> str | None:
    pair = _swapped(desk)
    if pair is None:
        return None
    first, second = pair
    return f"Swap {desk.identity(first)} and {desk.identity(second)} from frame {first[0]} on ({_rest(desk, *pair)})"


def _swap(desk: CurationDesk) -> None:
    pair = _swapped(desk)
    if pair is not None:
        names = " and ".join(str(desk.identity(key)) for key in pair)
        desk.act(
            f"swap objects {names} from frame {pair[0][0]} on",
            lambda masks, curation: editing.swap_from(masks, curation, *pair),
        )


def _joined(desk: CurationDesk) -> tuple[Key, Key] | None:
    if len(desk.selection) != 2 or desk.selection[0][0] == desk.selection[1][0]:
        return None
    first, second = sorted(desk.selection)
    return (first, second) if desk.identity(first) != desk.identity(second) else None


def _join_scope(desk: CurationDesk) -> str | None:
    pair = _joined(desk)
    if pair is None:
        return None
    first, second = pair
    return f"Join {desk.identity(second)} to {desk.identity(first)} from frame {second[0]} on ({_rest(desk, second)})"


def _join(desk: CurationDesk) -> None:
    if (pair := _joined(desk)) is not None:
        label = f"join objects {desk.identity(pair[0])} and {desk.identity(pair[1])} at frame {pair[1][0]}"
        desk.act(label, lambda masks, _: editing.join(masks, *pair))


def _rest(desk: CurationDesk, *keys: Key) -> str:
    """Say how many frames lie from these masks on."""
    tracklets = [desk.tracklet(key) for key in keys]
    frames = {frame for item in tracklets if item for frame, _ in item.members if frame >= keys[0][0]}
    return f"{len(frames)} frame{'s' if len(frames) != 1 else ''}"


def name_object(desk: CurationDesk, identity: int) -> None:
    """Give the chosen object another number, of its own or that of another object, which it then is part of."""
    key = desk.chosen
    if key is not None:
        desk.act(
            f"call object {desk.identity(key)} {identity}",
            lambda masks, curation: editing.name_tracklet(masks, curation, key, identity),
        )


def accept_above(desk: CurationDesk, score: float) -> None:
    """Accept all clips without a verdict whose objects all have an IoU of at least `score`."""
    review = desk.review
    if review is not None:
        outcomes = [pair.outcome for pair in review.pairs.values()]
        desk.act(
            f"accept all clips of IoU {score:.2f} and more",
            lambda masks, _: editing.accept_above(masks, outcomes, score),
        )


# Masks.


def _mask_scope(word: str, desk: CurationDesk) -> str | None:
    key = desk.chosen
    return f"{word} mask {desk.identity(key)} of frame {key[0]}" if key is not None else None


def _shape_scope(word: str, desk: CurationDesk) -> str | None:
    key = desk.chosen
    return None if key is None or _is_rejected(desk, key) else _mask_scope(word, desk)


def _is_rejected(desk: CurationDesk, key: Key) -> bool:
    return desk.masks is not None and desk.masks.decisions.instances().get(key) == "reject"


def _delete_scope(desk: CurationDesk) -> str | None:
    key = desk.chosen
    if key is None:
        return None
    return _mask_scope("Bring back" if _is_rejected(desk, key) else "Reject", desk)


def _delete(desk: CurationDesk) -> None:
    key = desk.chosen
    if key is None:
        return
    where = f"mask {desk.identity(key)} of frame {key[0]}"
    if _is_rejected(desk, key):
        desk.act(f"bring back {where}", lambda masks, _: editing.judge_instance(masks, key, None))
    else:
        desk.act(f"reject {where}", lambda masks, _: editing.remove(masks, key))


def _accept_mask(desk: CurationDesk) -> None:
    key = desk.chosen
    if key is not None:
        label = f"accept mask {desk.identity(key)} of frame {key[0]}"
        desk.act(label, lambda masks, _: editing.judge_instance(masks, key, "accept"))


def _reshape(word: str, change: Callable[[np.ndarray], np.ndarray], desk: CurationDesk) -> None:
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


def _grow(mask: np.ndarray) -> np.ndarray:
    return ndimage.binary_dilation(mask, _GROW)


def _shrink(mask: np.ndarray) -> np.ndarray:
    return ndimage.binary_erosion(mask, _GROW)


def _source_of_copy(desk: CurationDesk) -> tuple[Key, int] | None:
    """Return the mask that would be copied into this frame, and its identity: of the nearest frame before with it."""
    review, masks = desk.review, desk.masks
    if review is None or masks is None or review.place_of(desk.frame) is None:
        return None
    here = {desk.identity(key) for key in desk.view.instances(desk.frame) if not _is_rejected(desk, key)}
    wanted = desk.wanted_identity
    if wanted is None:
        # Nothing of it is here that could be chosen: whatever was there a frame ago and is missing.
        before = [frame for frame in review.frames if frame < desk.frame]
        known = [key for key in desk.view.instances(before[-1]) if not _is_rejected(desk, key)] if before else []
        missing = [key for key in known if desk.identity(key) not in here]
        return (missing[0], desk.identity(missing[0]) or 0) if missing else None
    if wanted in here:
        return None
    members = next((item.members for item in review.curation.chains if item.identity == wanted), ())
    earlier = [key for key in members if key[0] < desk.frame and not _is_rejected(desk, key)]
    return (earlier[-1], wanted) if earlier else None


def _copy_scope(desk: CurationDesk) -> str | None:
    found = _source_of_copy(desk)
    return f"Copy object {found[1]} from frame {found[0][0]}" if found else None


def _copy(desk: CurationDesk) -> None:
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


def _refine_scope(desk: CurationDesk) -> str | None:
    return _shape_scope("Refine", desk)


def _new_scope(desk: CurationDesk) -> str | None:
    review = desk.review
    return "Draw a new object" if review is not None and review.place_of(desk.frame) is not None else None


def _undo_scope(desk: CurationDesk) -> str | None:
    label = desk.document.history.next_undo if desk.document else None
    return f"Undo: {label}" if label else None


def _redo_scope(desk: CurationDesk) -> str | None:
    label = desk.document.history.next_redo if desk.document else None
    return f"Redo: {label}" if label else None


ACTIONS: tuple[Action, ...] = (
    Action(
        "next_uncertain",
        "N",
        "Go",
        "to the next pair, the most uncertain first: an IoU close to the threshold (counted: within 0.10)",
        partial(_go_uncertain, False),
        _uncertain_scope,
    ),
    Action(
        "last_uncertain",
        "Shift+N",
        "Go",
        "to the uncertain pair before",
        partial(_go_uncertain, True),
        _uncertain_scope,
    ),
    Action("next_open", "U", "Go", "to the next undecided pair", partial(_go_open, False), _open_scope),
    Action(
        "last_open",
        "Shift+U",
        "Go",
        "to the undecided pair before",
        partial(_go_open, True),
        _open_scope,
    ),
    Action(
        "next_broken",
        "K",
        "Go",
        "to where the next object is lost",
        partial(_go_broken, False),
        _broken_scope,
    ),
    Action(
        "last_broken",
        "Shift+K",
        "Go",
        "to where the object before was lost",
        partial(_go_broken, True),
        _broken_scope,
    ),
    Action("next_gap", "G", "Go", "to the next gap", partial(_next_gap, False), partial(_gap_scope, "Next")),
    Action("last_gap", "Shift+G", "Go", "to the gap before", partial(_next_gap, True), partial(_gap_scope, "Last")),
    Action("accept_clip", "A", "Clip", "accept the clip", partial(_judge_clip, "accept"), _accept_scope),
    Action(
        "reject_clip", "R", "Clip", "reject the clip", partial(_judge_clip, "reject"), partial(_clip_scope, "Reject")
    ),
    Action(
        "clear_clip",
        "W",
        "Clip",
        "take the verdict back",
        partial(_judge_clip, None),
        _clear_scope,
    ),
    Action(
        "choose_next",
        "Down",
        "Choose",
        "the next mask of the pair, left and then right",
        lambda desk: desk.select_next(),
        partial(_choice_scope, "Next"),
    ),
    Action(
        "choose_last",
        "Up",
        "Choose",
        "the mask before",
        lambda desk: desk.select_next(back=True),
        partial(_choice_scope, "Last"),
    ),
    Action(
        "choose_second",
        "Shift+Down",
        "Choose",
        "a second mask beside it, to swap or join them",
        lambda desk: desk.select_next(add=True),
        partial(_choice_scope, "Second"),
    ),
    Action(
        "choose_nothing",
        "Shift+Up",
        "Choose",
        "nothing",
        lambda desk: desk.select(None),
        lambda desk: "Choose nothing" if desk.selection else None,
    ),
    Action(
        "accept_object",
        "Shift+A",
        "Object",
        "accept the chosen object in all frames",
        partial(_judge_tracklet, "accept"),
        partial(_tracklet_scope, "Accept"),
    ),
    Action(
        "reject_object",
        "Shift+R",
        "Object",
        "reject the chosen object in all frames",
        partial(_judge_tracklet, "reject"),
        partial(_tracklet_scope, "Reject"),
    ),
    Action(
        "clear_object",
        "Shift+W",
        "Object",
        "take the verdict on the object back",
        partial(_judge_tracklet, None),
        _clear_object_scope,
    ),
    Action("swap", "S", "Object", "swap two objects from this frame on", _swap, _swap_scope),
    Action("split", "T", "Object", "make it another object from this frame on", _split, _split_scope),
    Action("join", "J", "Object", "join two masks of two frames to one object", _join, _join_scope),
    Action(
        "rename",
        "I",
        "Object",
        "give it another number; that of another object merges both",
        lambda desk: desk.name_wanted.emit(),
        partial(_tracklet_scope, "Number of"),
    ),
    Action("accept_mask", "Shift+D", "Mask", "accept this one mask", _accept_mask, partial(_mask_scope, "Accept")),
    Action(
        "delete_mask",
        "D",
        "Mask",
        "reject the chosen mask, or bring it back; one that was drawn is gone",
        _delete,
        _delete_scope,
    ),
    Action("new_object", "M", "Mask", "draw a new object with the brush", lambda desk: desk.draw_new(), _new_scope),
    Action("copy_mask", "H", "Mask", "copy the object from the frame before", _copy, _copy_scope),
    Action("refine_mask", "Q", "Mask", "refine the mask by the CRF", lambda desk: desk.refine(), _refine_scope),
    Action(
        "grow_mask", ".", "Mask", "grow it by a pixel", partial(_reshape, "grow", _grow), partial(_shape_scope, "Grow")
    ),
    Action(
        "shrink_mask",
        ",",
        "Mask",
        "shrink it by a pixel",
        partial(_reshape, "shrink", _shrink),
        partial(_shape_scope, "Shrink"),
    ),
    Action("undo", "Ctrl+Z", "History", "undo", lambda desk: desk.undo(), _undo_scope),
    Action("redo", "Ctrl+Shift+Z", "History", "redo", lambda desk: desk.redo(), _redo_scope),
)
BY_NAME = {action.name: action for action in ACTIONS}
