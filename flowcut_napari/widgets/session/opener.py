"""Opens videos again without keeping the window waiting, and asks where those are that have moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget

from flowcut_napari.core.video_file import VIDEO_SUFFIXES
from flowcut_napari.widgets.session.background import Background
from flowcut_napari.widgets.session.offers import Offer, OfferList
from flowcut_napari.widgets.session.opening import Opened, Wanted, open_wanted, show_opened
from flowcut_napari.widgets.workbench import Workbench


class Opener:
    """Finds the videos of a session or a masks file and shows them.

    Parameters
    ----------
    bench : Workbench
    offers : OfferList
        Where the user is asked.
    background : Background
    dialog_parent : callable
        Returns the window that dialogs belong to.
    """

    def __init__(
        self,
        bench: Workbench,
        offers: OfferList,
        background: Background,
        dialog_parent: Callable[[], QWidget | None],
    ) -> None:
        self._bench = bench
        self._offers = offers
        self._background = background
        self._dialog_parent = dialog_parent
        # New places by old ones, as the user has said.
        self._moved: dict[str, str] = {}
        self._waiting: dict[Offer, Opened] = {}

    def open(self, wanted: Sequence[Wanted], then: Callable[[], None] | None = None) -> None:
        """Open videos; what has moved is asked for, what else is wrong is said, and the others are there."""
        notes: list[str] = []
        moved = dict(self._moved)

        def show(opened: list[Opened]) -> None:
            show_opened(self._bench, opened)
            for one in opened:
                if one.moved is not None:
                    self._ask(one)
            self._say(notes)
            if then is not None:
                then()

        self._background.run(lambda: open_wanted(wanted, moved, notes), show)

    def find(self, offer: Offer, address: str) -> None:
        """Look at another place for the video that an offer asks for, and beside it for those that lay beside it."""
        one = self._waiting.get(offer)
        if one is None:  # another answer has found it while this one was given
            return
        moved = {**self._moved, **dict.fromkeys(_places(one), address)}
        notes: list[str] = []
        asked = dict(self._waiting)

        def show(opened: list[Opened]) -> None:
            by_wanted = {id(found.wanted): found for found in opened}
            answer = by_wanted[id(one.wanted)]
            if answer.moved is not None:
                self._bench.remarked.emit(str(answer.moved))
                return
            self._moved = moved
            for waiting, before in asked.items():
                if by_wanted[id(before.wanted)].moved is None:
                    self._leave(waiting)
            show_opened(self._bench, [found for found in opened if found.moved is None])
            self._say(notes or [f"found at {address}"])

        wanted = [waiting.wanted for waiting in asked.values()]
        self._background.run(lambda: open_wanted(wanted, moved, notes), show)

    def _ask(self, one: Opened) -> None:
        for asked, other in self._waiting.items():
            if _key(other) == _key(one) and asked in self._offers.items:
                self._waiting[asked] = one
                return
        name = one.wanted.item.video.name
        is_gone = not any(Path(place.rpartition("::")[0] or place).exists() for place in _places(one))
        was = one.wanted.item.video.path
        why = f"The video {name} is not at {was} any more" if is_gone else str(one.moved)
        offer = Offer(
            f"{why}. Where is it now?",
            {
                "find_video": ("Find video…", lambda: self._ask_for_place(offer)),
                "leave_video": ("Leave it out", lambda: self._leave(offer)),
            },
        )
        self._waiting[offer] = one
        self._offers.put(offer)

    def _ask_for_place(self, offer: Offer) -> None:
        one = self._waiting.get(offer)
        if one is None:
            return
        title = f"Where is {one.wanted.item.video.name}?"
        was_file = any(Path(place).suffix.lower() in {*VIDEO_SUFFIXES, ".json"} for place in _places(one))
        if was_file:
            patterns = " ".join(f"*{suffix}" for suffix in sorted(VIDEO_SUFFIXES))
            kinds = f"Videos ({patterns} *.json);;All files (*)"
            chosen, _ = QFileDialog.getOpenFileName(self._dialog_parent(), title, "", kinds)
        else:
            chosen = QFileDialog.getExistingDirectory(self._dialog_parent(), title)
        if chosen:
            self.find(offer, chosen)

    def _leave(self, offer: Offer) -> None:
        self._waiting.pop(offer, None)
        self._offers.withdraw(offer)

    def _say(self, notes: Sequence[str]) -> None:
        if notes:
            self._bench.remarked.emit("; ".join(notes))


def _key(one: Opened) -> tuple[str, str, str | None]:
    item = one.wanted.item
    return item.video.path, item.video.name, item.masks


def _places(one: Opened) -> set[str]:
    """Return where a video was: a session and its masks file may say different things."""
    places = {one.wanted.item.video.path}
    return places | {one.moved.record.path} if one.moved is not None else places
