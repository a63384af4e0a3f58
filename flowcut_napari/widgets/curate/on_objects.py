"""What can be done with objects, which are tracklets: verdicts on them, and who is who from a frame on."""

from __future__ import annotations

from flowcut_napari.core import editing
from flowcut_napari.core.decisions import Key, Verdict
from flowcut_napari.widgets.curate.desk import CurationDesk


def tracklet_scope(word: str, desk: CurationDesk) -> str | None:
    """Say which object it would be about, and in which frames."""
    tracklet = desk.tracklet(desk.chosen)
    if tracklet is None:
        return None
    first, last = tracklet.members[0][0], tracklet.members[-1][0]
    return f"{word} object {tracklet.identity} ({first} to {last})"


def clear_object_scope(desk: CurationDesk) -> str | None:
    """Say whose verdict would be taken back."""
    tracklet, review = desk.tracklet(desk.chosen), desk.review
    if tracklet is None or review is None or tracklet.identity not in review.curation.tracklet_verdicts:
        return None
    return tracklet_scope("Clear the verdict on", desk)


def judge_tracklet(verdict: Verdict | None, desk: CurationDesk) -> None:
    """Accept or reject the chosen object in all its frames, or take the verdict back."""
    tracklet = desk.tracklet(desk.chosen)
    if tracklet is not None:
        word = {"accept": "accept", "reject": "reject", None: "take back the verdict on"}[verdict]
        desk.act(
            f"{word} object {tracklet.identity}",
            lambda masks, _: editing.judge_tracklet(masks, tracklet, verdict),
        )


def split_scope(desk: CurationDesk) -> str | None:
    """Say what would be split off."""
    key, tracklet = desk.chosen, desk.tracklet(desk.chosen)
    if key is None or tracklet is None or tracklet.members[0] == key:
        return None
    return f"Split {tracklet.identity} from frame {key[0]} on ({_rest(desk, key)})"


def split(desk: CurationDesk) -> None:
    """Make the chosen mask and all that follows another object."""
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
    others = [other for other in desk.view.instances(key[0]) if other != key and not desk.is_rejected(other)]
    return (key, others[0]) if len(others) == 1 else None


def swap_scope(desk: CurationDesk) -> str | None:
    """Say what would be swapped."""
    pair = _swapped(desk)
    if pair is None:
        return None
    first, second = pair
    return f"Swap {desk.identity(first)} and {desk.identity(second)} from frame {first[0]} on ({_rest(desk, *pair)})"


def swap(desk: CurationDesk) -> None:
    """Swap two objects from this frame on."""
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


def join_scope(desk: CurationDesk) -> str | None:
    """Say what would be joined."""
    pair = _joined(desk)
    if pair is None:
        return None
    first, second = pair
    return f"Join {desk.identity(second)} to {desk.identity(first)} from frame {second[0]} on ({_rest(desk, second)})"


def join(desk: CurationDesk) -> None:
    """Make one object of two from a frame on."""
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
