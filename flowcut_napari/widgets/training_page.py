"""The Train page: from a dataset to a model, to what it sees, to how good that is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from flowcut_napari.widgets.evaluate.widget import EvaluateTab
from flowcut_napari.widgets.predict.controller import predict_of
from flowcut_napari.widgets.predict.widget import PredictTab
from flowcut_napari.widgets.runs.widget import RunsTab
from flowcut_napari.widgets.scrolled import scrolled
from flowcut_napari.widgets.session.offers import OfferList
from flowcut_napari.widgets.sight import is_page_turned
from flowcut_napari.widgets.train.still_going import StillGoing
from flowcut_napari.widgets.train.widget import TrainTab
from flowcut_napari.widgets.training_desk import training_of
from flowcut_napari.widgets.watch.widget import WatchTab
from flowcut_napari.widgets.workbench import Workbench


class TrainingPage(QWidget):
    """Five tabs, and what one of them hands to another.

    Signals
    -------
    wanted
        Something on this page should be seen.
    """

    wanted = Signal()

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.train = TrainTab(bench)
        self.watch = WatchTab(bench)
        self.runs = RunsTab(bench)
        self.predict = PredictTab(bench)
        self.evaluate = EvaluateTab(bench)
        self.tabs = QTabWidget()
        self.tabs.setObjectName("training tabs")
        for tab, word in (
            (self.train, "Train"),
            (self.watch, "Watch"),
            (self.runs, "Runs"),
            (self.predict, "Predict"),
            (self.evaluate, "Evaluate"),
        ):
            self.tabs.addTab(scrolled(tab), word)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.tabs)
        self._predictions = predict_of(bench)
        self._evaluated: Path | None = None
        # Methods of this object, which Qt lets go of when it goes.
        training_of(bench).tab_wanted.connect(self.show_tab)
        self._predictions.changed.connect(self._on_predictions)
        self.evaluate.look_wanted.connect(self._on_look_wanted)
        self.tabs.currentChanged.connect(self._on_tab)

    def offer_what_goes_on(self, offers: OfferList) -> None:
        """Offer to watch runs that earlier windows left training."""
        controller = self.train.controller
        if controller.desk.findChild(StillGoing) is None:  # not again for another panel of this window
            StillGoing(controller.desk, offers, controller.recent).look()

    def show_tab(self, word: str) -> None:
        """Bring a tab to the front."""
        words = [self.tabs.tabText(place) for place in range(self.tabs.count())]
        if word in words:
            self.tabs.setCurrentIndex(words.index(word))
            self.wanted.emit()

    def _on_predictions(self) -> None:
        """Offer what was predicted last to the evaluation."""
        folder = self._predictions.progress.out if self._predictions.progress.state == "done" else None
        if folder is not None and folder != self._evaluated:
            self._evaluated = folder
            self.evaluate.take_predictions(folder)

    def _on_look_wanted(self, address: str, frame: int, predictions: Path) -> None:
        """Lay predictions over the video that was opened where they are worst; its frame is chosen already."""
        if not self.evaluate.isVisible():  # another panel asked, or the user has gone on
            return
        self._predictions.open(str(predictions if predictions.is_dir() else predictions.parent))
        # Both outlines and predictions are seen, and no colours that only the Predict tab explains.
        self.predict.desk.set_mode("blend")
        self.predict.desk.enter()

    def _on_tab(self, _: int) -> None:
        # What the evaluation laid over a video goes with it; the Predict tab sees to itself.
        if self.tabs.currentIndex() not in (self._place(self.predict), self._place(self.evaluate)):
            self.predict.desk.leave(at_once=True)

    def hideEvent(self, event: Any) -> None:  # Qt's name
        """Leave the canvas as it was, when another page comes."""
        super().hideEvent(event)
        if not event.spontaneous() and self.tabs.currentIndex() == self._place(self.evaluate):
            self.predict.desk.leave(at_once=is_page_turned(self))

    def _place(self, tab: QWidget) -> int:
        areas = [self.tabs.widget(place) for place in range(self.tabs.count())]
        return next(place for place, area in enumerate(areas) if area is not None and area.isAncestorOf(tab))
