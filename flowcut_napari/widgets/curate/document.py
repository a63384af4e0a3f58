"""The masks of one video in a person's hands: what they are now, how they came to be so, and where they are saved."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from flowcut_napari.core.clips import Curation
from flowcut_napari.core.editing import keep_numbers
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.history import History
from flowcut_napari.core.masks_file import MasksFile
from flowcut_napari.core.matching import Matcher
from flowcut_napari.core.parameters import CurationParameters
from flowcut_napari.core.review import Review
from flowcut_napari.core.store import VideoMasks

# At most one action is not on disk when the program is killed: the next one waits so long for a quick disk.
_WAIT_SECONDS = 0.015


# 750 frames at four gaps: some 200 ms.
_MANY_PAIRS = 3000
_KEPT_REVIEWS = 6
# What a picture of labels holds.
_HIGHEST_NUMBER = 2**31 - 1


@dataclass(frozen=True)
class Rematched:
    """Masks matched with other parameters."""

    parameters: CurationParameters
    matcher: Matcher
    review: Review


class Document:
    """The masks, their history, their file, and the review of their pairs.

    Parameters
    ----------
    masks : VideoMasks
        As they are in the file.
    file : MasksFile
    parameters : CurationParameters
    author : str, optional
        Who decides; stands in the decisions.

    Raises
    ------
    InputError
        If the decisions in the file contradict each other, or give a number that no layer can show.
    """

    def __init__(self, masks: VideoMasks, file: MasksFile, parameters: CurationParameters, author: str = "") -> None:
        self.file = file
        self._author = author
        self.history = History(masks)
        self._matcher = Matcher()
        # One action asks more than once about the same masks.
        self._last: Curation | None = None
        # Who undoes something comes back to what was there a moment ago.
        self._recent: deque[Review] = deque(maxlen=_KEPT_REVIEWS)
        self.parameters = parameters
        self._parameters = _of_pairs(parameters)
        self.review = Review(self.curate(masks))

    @property
    def masks(self) -> VideoMasks:
        """The masks as they are now."""
        return self.history.masks

    def curate(self, masks: VideoMasks) -> Curation:
        """Match masks of this video with the present parameters."""
        if self._last is None or self._last.masks is not masks or self._last.parameters != self._parameters:
            curation = Curation(masks, self._parameters, self._matcher, self._last)
            _check_numbers(curation)
            self._last = curation
        return self._last

    def set_parameters(self, parameters: CurationParameters) -> None:
        """Match with other parameters; the masks stay as they are.

        Raises
        ------
        InputError
            If decisions contradict each other with these; then nothing has changed.
        """
        before, self._parameters = self._parameters, _of_pairs(parameters)
        try:
            self.review = Review(self.curate(self.masks))
        except Exception:
            self._parameters = before
            raise
        self.parameters = parameters

    @property
    def is_long(self) -> bool:
        """Whether to match all of it anew takes so long that a window does not wait for it."""
        return len(self.review.pairs) > _MANY_PAIRS

    def rematched(self, parameters: CurationParameters) -> Callable[[], Rematched]:
        """Return what matches the masks as they are now with other parameters, on any thread; for `adopt`."""
        masks, matcher = self.masks, self._matcher.copy()

        def match() -> Rematched:
            curation = Curation(masks, _of_pairs(parameters), matcher)
            _check_numbers(curation)
            return Rematched(parameters, matcher, Review(curation))

        return match

    def adopt(self, found: Rematched) -> bool:
        """Take up what was matched elsewhere; return whether it is of the masks as they are now."""
        if found.review.curation.masks is not self.masks:
            return False
        self.parameters, self._matcher, self.review = found.parameters, found.matcher, found.review
        self._parameters, self._last = _of_pairs(found.parameters), found.review.curation
        return True

    def do(self, label: str, masks: VideoMasks) -> bool:
        """Take up the masks after an action and begin to save them; return whether it changed anything.

        Raises
        ------
        InputError
            If decisions would contradict each other; then nothing has changed.
        """
        if masks is self.masks:
            return False
        masks = self._signed(keep_numbers(self.review.curation, masks, self.curate))
        curation = self.curate(masks)
        if not self.history.do(label, masks):
            return False
        self._take(curation)
        return True

    def undo(self) -> str | None:
        """Take the last action back; return what it was.

        Raises
        ------
        InputError
            If decisions contradict each other then, with the present parameters; nothing has changed.
        """
        label = self.history.undo()
        if label is not None:
            self._take_step(self.history.redo)
        return label

    def redo(self) -> str | None:
        """Do what was undone last again; return what it is.

        Raises
        ------
        InputError
            If decisions contradict each other then, with the present parameters; nothing has changed.
        """
        label = self.history.redo()
        if label is not None:
            self._take_step(self.history.undo)
        return label

    def _take_step(self, back: Callable[[], object]) -> None:
        """Take up the masks that a step through the history led to; if they cannot be, go `back`."""
        known = next((review for review in self._recent if self._is_of_now(review)), None)
        if known is not None:
            self.history.masks = known.curation.masks  # the same, as the very object that was reviewed
            self._last = known.curation
            self._show(known)
            return
        try:
            curation = self.curate(self.masks)
        except Exception:
            back()
            raise
        self._take(curation)

    def _is_of_now(self, review: Review) -> bool:
        then, now = review.curation.masks, self.masks
        return (
            review.curation.parameters == self._parameters
            and _are_same(then.frames, now.frames)
            and _are_same(then.decisions.made, now.decisions.made)
        )

    def _signed(self, masks: VideoMasks) -> VideoMasks:
        """Say in what was just decided when that was, and who did it where that is known."""
        known = {id(item) for item in self.masks.decisions.made}
        if all(id(item) in known for item in masks.decisions.made):
            return masks
        now = datetime.now(UTC).isoformat(timespec="seconds")
        made = tuple(item if id(item) in known else item.signed(self._author, now) for item in masks.decisions.made)
        return replace(masks, decisions=replace(masks.decisions, made=made))

    def _take(self, curation: Curation) -> None:
        self._show(Review(curation, self.review))

    def _show(self, review: Review) -> None:
        if self.review not in self._recent:
            self._recent.append(self.review)
        self.review = review
        self.file.wait(_WAIT_SECONDS)
        self.file.save(self.masks)


def _check_numbers(curation: Curation) -> None:
    highest = max((chain.identity for chain in curation.chains), default=0)
    if highest > _HIGHEST_NUMBER:
        name = str(highest) if highest < 10**12 else f"of {len(str(highest))} digits"
        raise InputError(f"the object number {name} cannot be shown: numbers end at {_HIGHEST_NUMBER}")


def _are_same(first: Sequence[object], second: Sequence[object]) -> bool:
    return len(first) == len(second) and all(a is b for a, b in zip(first, second, strict=True))


def _of_pairs(parameters: CurationParameters) -> CurationParameters:
    """Return the parameters for pairs of frames, which is what is looked at, whatever an export makes of them."""
    return parameters.model_copy(update={"clip_length": None, "only_accepted": False})
