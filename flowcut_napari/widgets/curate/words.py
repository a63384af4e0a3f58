"""What the Decide tab says of a pair and of what is chosen in it."""

from __future__ import annotations

from bisect import bisect

from flowcut_napari.core.editing import instance_of
from flowcut_napari.core.pseudo_masks import Instance
from flowcut_napari.core.review import Pair
from flowcut_napari.viewer.pair_view import REASON_WORDS, iou_text, verdict_word
from flowcut_napari.widgets.curate.desk import CurationDesk


def clip_text(desk: CurationDesk) -> str:
    """Say what becomes of the pair that is looked at, and how far all of them are decided."""
    review = desk.review
    if review is None:
        return "Run on all frames first (Masks > Run), or open a .masks.json."
    counts = review.counts
    parts = [f"{counts[kind]} {kind}" for kind in ("accepted", "rejected", "undecided")]
    total = ", ".join([*parts, f"{counts['nothing']} no clip"])
    pair = desk.pair
    if pair is not None:
        return f"{_of_pair(pair, desk.parameters.iou)}\nAll: {total}"
    if review.place_of(desk.frame) is None:
        return f"Frame {desk.frame} has no masks; the next frames that have are {_around(desk)}.\nAll: {total}"
    return f"Frame {desk.frame} has no partner at gap {desk.view.gap}.\nAll: {total}"


def _of_pair(pair: Pair, threshold: float) -> str:
    first, second = pair.frames
    count = len(pair.outcome.tracks)
    if not count:
        return f"Clip {first} → {second}: {verdict_word(pair)}"
    weakest = f", weakest IoU {iou_text(pair.weakest, threshold)}" if pair.weakest is not None else ", linked by hand"
    # Unless only what was accepted is asked for, which the Export tab says.
    kept = " (exported)" if pair.verdict is None else ""
    return f"Clip {first} → {second}: {count} match{'es' if count != 1 else ''}{weakest}, {verdict_word(pair)}{kept}"


def chosen_text(desk: CurationDesk) -> str:
    """Say what the chosen mask and its object are."""
    key, tracklet, masks, review = desk.chosen, desk.tracklet(desk.chosen), desk.masks, desk.review
    if key is None or tracklet is None or masks is None or review is None:
        return "Click an object, or press Down, to choose it."
    verdict = review.curation.tracklet_verdicts.get(tracklet.identity)
    state = {"accept": ", accepted", "reject": ", rejected"}.get(verdict or "", "")
    weakest = f", weakest IoU {tracklet.weakest:.2f}" if tracklet.weakest is not None else ""
    first, last = tracklet.members[0][0], tracklet.members[-1][0]
    count = len(tracklet.members)
    text = (
        f"Object {tracklet.identity}: {count} mask{'s' if count != 1 else ''}, frames {first} to {last}{weakest}{state}"
    )
    item = instance_of(masks, key)
    text += f"\nMask in frame {key[0]}: {_origin(item)}, {item.area:,} px"
    if masks.decisions.instances().get(key) == "reject":
        text += ", rejected: in no clip"
    elif (pair := desk.pair) is not None and (reason := pair.outcome.why.get(key)):
        text += f", left out: {REASON_WORDS.get(reason, reason)}"
    if len(desk.selection) == 2:
        second = desk.selection[1]
        text += f"\nbeside object {desk.identity(second)} in frame {second[0]}"
    return text


def _origin(item: Instance) -> str:
    if item.origin != "cut":
        return f"{item.origin} by hand"
    return f"cut {item.iteration}" if item.iteration is not None else "cut"


def _around(desk: CurationDesk) -> str:
    frames = desk.review.frames if desk.review is not None else []
    place = bisect(frames, desk.frame)
    return " and ".join(map(str, frames[max(0, place - 1) : place + 1])) or "none"
