"""What is offered to the user at the top of the panel: what ended unexpectedly, what was kept, what has moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QWidget

from flowcut_napari.widgets.endings import quietly
from flowcut_napari.widgets.live import Trouble
from flowcut_napari.widgets.notices import Notice


@dataclass(frozen=True, eq=False)
class Offer:
    """A text with what can be done about it.

    Attributes
    ----------
    text : str
        One line.
    actions : dict of str to (str, callable)
        Label and deed of each button, by its object name.
    """

    text: str
    actions: dict[str, tuple[str, Callable[[], None]]]


class OfferList(QObject):
    """What is offered in one viewer, in order.

    Attributes
    ----------
    items : list of Offer
    bars : int
        How many bars show them: without one nobody could answer.

    Signals
    -------
    changed
        The items are others.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.items: list[Offer] = []
        self.bars = 0

    def put(self, offer: Offer) -> None:
        """Offer something."""
        self.items.append(offer)
        self.changed.emit()

    def withdraw(self, offer: Offer) -> None:
        """Offer something no longer; it need not be there."""
        if offer in self.items:
            self.items.remove(offer)
            self.changed.emit()


class OfferBar(Notice):
    """Shows the first of the offers; hidden where there is none. For the top of the panel."""

    def __init__(self, offers: OfferList, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("offers")
        self.setStyleSheet("#offers { border: 1px solid #4d8fbf; border-radius: 4px; }")
        self.text.setObjectName("offer text")
        self._offers = offers
        offers.changed.connect(self.refresh)
        offers.bars += 1
        self.destroyed.connect(_Uncount(offers))
        self.refresh()

    def refresh(self) -> None:
        """Show what is first now."""
        items = self._offers.items
        if not items:
            self.show_trouble(None, {})
            return
        more = f" ({len(items) - 1} more)" if len(items) > 1 else ""
        self.show_trouble(Trouble(items[0].text + more), dict(items[0].actions))


class _Uncount:
    """One bar less; holds nothing of the bar itself."""

    def __init__(self, offers: OfferList) -> None:
        self._offers = offers

    def __call__(self, *_: object) -> None:
        quietly(self._take_one)

    def _take_one(self) -> None:
        self._offers.bars -= 1
