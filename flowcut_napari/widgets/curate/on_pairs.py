"""What can be done with pairs: going through them, and verdicts on their clips."""

from __future__ import annotations

from flowcut_napari.core import editing
from flowcut_napari.core.decisions import Verdict
from flowcut_napari.widgets.curate.desk import CurationDesk


def clip_scope(word: str, desk: CurationDesk) -> str | None:
    """Say which clip it would be about."""
    pair = desk.pair
    return f"{word} clip {pair.frames[0]} → {pair.frames[1]}" if pair else None


def accept_scope(desk: CurationDesk) -> str | None:
    """Say which clip would be accepted; none where nothing matches."""
    pair = desk.pair
    # Where nothing matches there is no clip to be accepted.
    return clip_scope("Accept", desk) if pair is not None and pair.outcome.tracks else None


def clear_scope(desk: CurationDesk) -> str | None:
    """Say whose verdict would be taken back."""
    return clip_scope("Clear the verdict on", desk) if desk.pair is not None and desk.pair.verdict else None


def judge_clip(verdict: Verdict | None, desk: CurationDesk) -> None:
    """Accept or reject the clip of the pair, or take the verdict back; go on to the next if that is wanted."""
    pair = desk.pair
    if pair is None:
        return
    frames = pair.outcome.frames
    word = {"accept": "accept", "reject": "reject", None: "take back the verdict on"}[verdict]
    done = desk.act(
        f"{word} clip {frames[0]} → {frames[1]}", lambda masks, _: editing.judge_clip(masks, frames, verdict)
    )
    if done and verdict is not None and desk.goes_on:
        go_open(False, desk)


def go_uncertain(back: bool, desk: CurationDesk) -> None:
    """Go to the next pair by uncertainty."""
    review, here = desk.review, desk.pair
    # Who comes from elsewhere begins with the most uncertain; who goes on goes on, whatever was decided meanwhile.
    walked = here if here is not None and (here.place, here.gap) == desk.walked else None
    if review is not None and (pair := review.next_uncertain(walked, back)) is not None:
        desk.walked = pair.place, pair.gap
        desk.go(pair.frames[0], pair.gap)
        place, count = review.uncertain.index(pair) + 1, len(review.uncertain)
        desk.say(f"{place} of {count} by uncertainty: an IoU {pair.margin:.3f} from the threshold")


def go_open(back: bool, desk: CurationDesk) -> None:
    """Go to the next pair that nobody decided."""
    review = desk.review
    if review is not None and (pair := review.next_open(desk.pair, back)) is not None:
        desk.go(pair.frames[0], pair.gap)


def go_broken(back: bool, desk: CurationDesk) -> None:
    """Go to where the next object is lost."""
    review = desk.review
    if review is not None and (found := review.next_break(desk.frame, back, desk.chosen)) is not None:
        # With the nearest frame as its partner, so that it is seen what became of the object.
        desk.go(found.last[0], desk.parameters.gaps[0])
        desk.select(found.last)
        desk.say(f"{found.describe()}; step on, and H copies it there")


def uncertain_scope(desk: CurationDesk) -> str | None:
    """Say how many pairs are uncertain."""
    review = desk.review
    return f"Uncertain {review.count_uncertain}" if review is not None and review.uncertain else None


def open_scope(desk: CurationDesk) -> str | None:
    """Say how many pairs are undecided."""
    count = desk.review.count_open if desk.review else 0
    return f"Undecided {count}" if count else None


def broken_scope(desk: CurationDesk) -> str | None:
    """Say how often an object is lost."""
    count = len(desk.review.breaks) if desk.review else 0
    return f"Lost {count}" if count else None


def next_gap(back: bool, desk: CurationDesk) -> None:
    """Look at the next gap."""
    gaps = desk.parameters.gaps
    desk.set_gap(gaps[(gaps.index(desk.view.gap) + (-1 if back else 1)) % len(gaps)])


def gap_scope(word: str, desk: CurationDesk) -> str | None:
    """Say that there is another gap."""
    return f"{word} gap" if desk.document is not None and len(desk.parameters.gaps) > 1 else None


def choice_scope(word: str, desk: CurationDesk) -> str | None:
    """Say that there is something to choose."""
    return f"{word} object" if desk.keys_in_sight() else None


def accept_above(desk: CurationDesk, score: float) -> None:
    """Accept all clips without a verdict whose objects all have an IoU of at least `score`."""
    review = desk.review
    if review is not None:
        outcomes = [pair.outcome for pair in review.pairs.values()]
        desk.act(
            f"accept all clips of IoU {score:.2f} and more",
            lambda masks, _: editing.accept_above(masks, outcomes, score),
        )
