"""All that keys and buttons of the Curate page can do: one registry for keys, buttons and help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from flowcut_napari.widgets.curate import on_masks, on_objects, on_pairs
from flowcut_napari.widgets.curate.desk import NO_MASKS, CurationDesk


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
        partial(on_pairs.go_uncertain, False),
        on_pairs.uncertain_scope,
    ),
    Action(
        "last_uncertain",
        "Shift+N",
        "Go",
        "to the uncertain pair before",
        partial(on_pairs.go_uncertain, True),
        on_pairs.uncertain_scope,
    ),
    Action("next_open", "U", "Go", "to the next undecided pair", partial(on_pairs.go_open, False), on_pairs.open_scope),
    Action(
        "last_open",
        "Shift+U",
        "Go",
        "to the undecided pair before",
        partial(on_pairs.go_open, True),
        on_pairs.open_scope,
    ),
    Action(
        "next_broken",
        "K",
        "Go",
        "to where the next object is lost",
        partial(on_pairs.go_broken, False),
        on_pairs.broken_scope,
    ),
    Action(
        "last_broken",
        "Shift+K",
        "Go",
        "to where the object before was lost",
        partial(on_pairs.go_broken, True),
        on_pairs.broken_scope,
    ),
    Action(
        "next_gap", "G", "Go", "to the next gap", partial(on_pairs.next_gap, False), partial(on_pairs.gap_scope, "Next")
    ),
    Action(
        "last_gap",
        "Shift+G",
        "Go",
        "to the gap before",
        partial(on_pairs.next_gap, True),
        partial(on_pairs.gap_scope, "Last"),
    ),
    Action(
        "accept_clip", "A", "Clip", "accept the clip", partial(on_pairs.judge_clip, "accept"), on_pairs.accept_scope
    ),
    Action(
        "reject_clip",
        "R",
        "Clip",
        "reject the clip",
        partial(on_pairs.judge_clip, "reject"),
        partial(on_pairs.clip_scope, "Reject"),
    ),
    Action(
        "clear_clip",
        "W",
        "Clip",
        "take the verdict back",
        partial(on_pairs.judge_clip, None),
        on_pairs.clear_scope,
    ),
    Action(
        "choose_next",
        "Down",
        "Choose",
        "the next mask of the pair, left and then right",
        lambda desk: desk.select_next(),
        partial(on_pairs.choice_scope, "Next"),
    ),
    Action(
        "choose_last",
        "Up",
        "Choose",
        "the mask before",
        lambda desk: desk.select_next(back=True),
        partial(on_pairs.choice_scope, "Last"),
    ),
    Action(
        "choose_second",
        "Shift+Down",
        "Choose",
        "a second mask beside it, to swap or join them",
        lambda desk: desk.select_next(add=True),
        partial(on_pairs.choice_scope, "Second"),
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
        partial(on_objects.judge_tracklet, "accept"),
        partial(on_objects.tracklet_scope, "Accept"),
    ),
    Action(
        "reject_object",
        "Shift+R",
        "Object",
        "reject the chosen object in all frames",
        partial(on_objects.judge_tracklet, "reject"),
        partial(on_objects.tracklet_scope, "Reject"),
    ),
    Action(
        "clear_object",
        "Shift+W",
        "Object",
        "take the verdict on the object back",
        partial(on_objects.judge_tracklet, None),
        on_objects.clear_object_scope,
    ),
    Action("swap", "S", "Object", "swap two objects from this frame on", on_objects.swap, on_objects.swap_scope),
    Action(
        "split", "T", "Object", "make it another object from this frame on", on_objects.split, on_objects.split_scope
    ),
    Action("join", "J", "Object", "join two masks of two frames to one object", on_objects.join, on_objects.join_scope),
    Action(
        "rename",
        "I",
        "Object",
        "give it another number; that of another object merges both",
        lambda desk: desk.name_wanted.emit(),
        partial(on_objects.tracklet_scope, "Number of"),
    ),
    Action(
        "accept_mask",
        "Shift+D",
        "Mask",
        "accept this one mask",
        on_masks.accept_mask,
        partial(on_masks.mask_scope, "Accept"),
    ),
    Action(
        "delete_mask",
        "D",
        "Mask",
        "reject the chosen mask, or bring it back; one that was drawn is gone",
        on_masks.delete,
        on_masks.delete_scope,
    ),
    Action(
        "new_object", "M", "Mask", "draw a new object with the brush", lambda desk: desk.draw_new(), on_masks.new_scope
    ),
    Action("copy_mask", "H", "Mask", "copy the object from the frame before", on_masks.copy, on_masks.copy_scope),
    Action("refine_mask", "Q", "Mask", "refine the mask by the CRF", lambda desk: desk.refine(), on_masks.refine_scope),
    Action(
        "grow_mask",
        ".",
        "Mask",
        "grow it by a pixel",
        partial(on_masks.reshape, "grow", on_masks.grow),
        partial(on_masks.shape_scope, "Grow"),
    ),
    Action(
        "shrink_mask",
        ",",
        "Mask",
        "shrink it by a pixel",
        partial(on_masks.reshape, "shrink", on_masks.shrink),
        partial(on_masks.shape_scope, "Shrink"),
    ),
    Action("undo", "Ctrl+Z", "History", "undo", lambda desk: desk.undo(), _undo_scope),
    Action("redo", "Ctrl+Shift+Z", "History", "redo", lambda desk: desk.redo(), _redo_scope),
)
BY_NAME = {action.name: action for action in ACTIONS}
