"""The FlowCut panel: the video at the top, tabs for what is done with it, and what goes on at the bottom."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from flowcut_napari.core.errors import printable
from flowcut_napari.widgets.browse.widget import BrowseTab
from flowcut_napari.widgets.canvas_context import keep_context
from flowcut_napari.widgets.curate.page import CuratePage
from flowcut_napari.widgets.curate.save_bar import SaveBar
from flowcut_napari.widgets.curate.shortcuts import Keys
from flowcut_napari.widgets.endings import quietly
from flowcut_napari.widgets.export.widget import ExportTab
from flowcut_napari.widgets.fetch import Fetcher
from flowcut_napari.widgets.notices import Notice, plain
from flowcut_napari.widgets.pages import Pages
from flowcut_napari.widgets.probe.mouse import ProbeMouse
from flowcut_napari.widgets.probe.widget import ProbeTab
from flowcut_napari.widgets.run.widget import RunTab
from flowcut_napari.widgets.scrolled import scrolled
from flowcut_napari.widgets.session.keeper import session_of
from flowcut_napari.widgets.session.offers import OfferBar
from flowcut_napari.widgets.session.panel_link import PanelLink
from flowcut_napari.widgets.story.widget import StoryTab
from flowcut_napari.widgets.sweep.widget import SweepTab
from flowcut_napari.widgets.training_page import TrainingPage
from flowcut_napari.widgets.tune.widget import TuneTab
from flowcut_napari.widgets.video_bar import VideoBar
from flowcut_napari.widgets.view_bar import ViewBar
from flowcut_napari.widgets.workbench import workbench_of

if TYPE_CHECKING:
    import napari.viewer


_LEAST_WIDTH, _WIDTH = 390, 414
_PAGE_KEYS = (
    ("Pages", "F1", "this table"),
    ("Pages", "F2, F3, F4, F7", "Masks, Curate, Dataset, Train"),
    ("Pages", "F5", "make the masks of all frames, as the Run tab says"),
    ("Pages", "F6", "make the dataset, as the Export tab says"),
    ("Pages", "F8", "start training, as the Train tab says"),
    ("Pages", "Page Down, Page Up", "the next clip of the dataset, the one before (Browse)"),
)


class FlowCutPanel(QWidget):
    """The dock of the plugin.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Each has a workbench of its own; closing the panel and opening it again changes nothing there.
    """

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("flowcut panel")
        self.setMinimumWidth(_LEAST_WIDTH)
        bench = self.bench = workbench_of(viewer)
        self.video_bar = VideoBar(bench)
        self.view_bar = ViewBar(bench)
        self.tune = TuneTab(bench)
        self.story = StoryTab(bench, self.view_bar.show_role)
        self.probe = ProbeTab(bench)
        self.sweep = SweepTab(bench)
        self.run = RunTab(bench)
        self.export = ExportTab(bench)
        self.browse = BrowseTab(bench)
        self.tabs = _tabs(
            "tabs",
            (
                (self.tune, "Tune"),
                (self.story, "Story"),
                (self.probe, "Probe"),
                (self.sweep, "Sweep"),
                (self.run, "Run"),
            ),
        )
        self.dataset_tabs = _tabs("dataset tabs", ((self.export, "Export"), (self.browse, "Browse")))
        self.export.browse_wanted.connect(self.show_dataset)
        self.curate = CuratePage(bench, _PAGE_KEYS)
        self.training = TrainingPage(bench)
        self.training.wanted.connect(self._show_training)
        self.pages = Pages(
            (
                ("Masks", self.tabs),
                ("Curate", self.curate),
                ("Dataset", self.dataset_tabs),
                ("Train", self.training),
            )
        )
        self.pages.changed.connect(self._on_page)
        self._keys = Keys(bench.viewer, self._page_acts())
        self._keys.cover(self)
        self._keys.cover(self.curate.timeline)
        self._keys.set_on(True)
        self._dataset_keys = Keys(
            bench.viewer, {"PageDown": self.browse.next_clip, "PageUp": self.browse.previous_clip}
        )
        self._dataset_keys.cover(self)
        self.session = session_of(bench)
        self.training.offer_what_goes_on(self.session.offers)
        tabs = {
            "Masks": self.tabs,
            "Curate": self.curate.tabs,
            "Dataset": self.dataset_tabs,
            "Train": self.training.tabs,
        }
        # What is wrong with saving is seen on the other pages, too.
        self.saving = SaveBar(self.curate.desk, only_trouble=True)
        for bar in (self.saving, self.curate.history.saving):
            bar.elsewhere_wanted.connect(self.session.ask_save_elsewhere)
            bar.kept_wanted.connect(self.session.ask_kept)
        self._link = PanelLink(bench, self.session, self.pages, tabs, self)
        self.notice = Notice()
        self.remark = QLabel()
        self.remark.setObjectName("remark")
        self.remark.setWordWrap(True)
        # Names of files may look like HTML.
        self.remark.setTextFormat(Qt.TextFormat.PlainText)
        self.remark.hide()
        self.status = QLabel()
        self.status.setObjectName("status")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(6)
        layout.addWidget(OfferBar(self.session.offers))
        layout.addWidget(self.video_bar)
        layout.addWidget(self.view_bar)
        layout.addWidget(self.notice)
        layout.addWidget(self.pages, 1)
        layout.addWidget(self._place_for(self.saving))
        layout.addWidget(self.remark)
        layout.addLayout(self._footer())
        self._probe_mouse = ProbeMouse(bench, self.probe.controller)
        self.probe.probing_changed.connect(self._on_probing)
        self._fetcher = Fetcher(bench.preferences.environment(), self)
        self._fetcher.changed.connect(self._show_trouble)
        self._fetcher.fetched.connect(bench.retry)
        bench.trouble_changed.connect(self._show_trouble)
        # No lambdas here: they would outlive this panel, which the signals of the workbench do.
        bench.work_changed.connect(self._show_status)
        bench.answered.connect(self._show_status)
        bench.frame_changed.connect(self._show_status)
        bench.video_changed.connect(self._show_status)
        bench.remarked.connect(self.show_remark)
        # What was said is of what was seen then.
        bench.frame_changed.connect(self._forget_remark)
        self.curate.desk.changed.connect(self._forget_remark)
        # Only what is not a method of this object: it is gone by then.
        self.destroyed.connect(
            _Detach(bench, self._probe_mouse, self._fetcher, (self._keys, self._dataset_keys), self.curate.ending())
        )
        bench.attach_panel()
        self._show_trouble()
        self._show_status()
        if remark := qt_warning() or bench.keeper.problem:
            self.show_remark(remark)

    def showEvent(self, event: Any) -> None:  # Qt's name
        """Learn which main window this is in: with it everything ends."""
        super().showEvent(event)
        window = self.window()
        # A floating dock is a window, too, but not one with which anything ends.
        if isinstance(window, QMainWindow):
            self.bench.end_with(window)
            self.session.watch(window)
            keep_context(self.bench.viewer, window)

    def sizeHint(self) -> QSize:  # Qt's name
        """Return a width that leaves the canvas most of a laptop's screen, whatever a tab would like."""
        return QSize(_WIDTH, super().sizeHint().height())

    def changeEvent(self, event: Any) -> None:  # Qt's name
        """Go for good when the dock is closed: napari only takes this out of it, and would leave it alive unseen."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.deleteLater()

    def _place_for(self, bar: QWidget) -> QWidget:
        # Hidden as a whole on the page that has its own, whatever the bar itself shows or hides.
        self._saving_place = QWidget()
        inner = QVBoxLayout(self._saving_place)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addWidget(bar)
        return self._saving_place

    def _page_acts(self) -> dict[str, Any]:
        return {
            "F1": self.show_keys,
            "F2": partial(self.pages.show_page, self.tabs),
            "F3": partial(self.pages.show_page, self.curate),
            "F4": partial(self.pages.show_page, self.dataset_tabs),
            "F5": self.run.run,
            "F6": self.export.export,
            "F7": self._show_training,
            "F8": self.training.train.start,
        }

    def show_keys(self) -> None:
        """Show what keys there are."""
        self.pages.show_page(self.curate)
        self.curate.tabs.setCurrentIndex(1)

    def _show_training(self) -> None:
        self.pages.show_page(self.training)

    def show_dataset(self, path: object) -> None:
        """Look at the clips of a dataset."""
        self.pages.show_page(self.dataset_tabs)
        self.dataset_tabs.setCurrentIndex(1)
        self.browse.open(str(path))

    def _on_page(self) -> None:
        self._forget_remark()
        self.bench.set_curating(not self._is_making)
        self.video_bar.show_text()
        self._show_page()
        self._dataset_keys.set_on(self.pages.current is self.dataset_tabs)
        if self.pages.current is self.curate:
            self.curate.enter()
        else:
            self.curate.leave()

    @property
    def _is_making(self) -> bool:
        """Whether the page is in sight on which masks are made; on the others nothing is computed."""
        return self.pages.current is self.tabs

    def _show_page(self) -> None:
        self.view_bar.setVisible(self._is_making)
        self.live.setVisible(self._is_making)
        self._saving_place.setVisible(self.pages.current is not self.curate)
        self._show_trouble()
        self._show_status()

    def _footer(self) -> QHBoxLayout:
        bench = self.bench
        self.live = QCheckBox("Live")
        self.live.setObjectName("live")
        self.live.setChecked(bench.is_live)
        self.live.setToolTip("Cut each frame as it is looked at; off, nothing is computed until a run")
        self.live.toggled.connect(lambda on: bench.set_live(bool(on)))
        self.restore = QPushButton("Bring layers back")
        self.restore.setObjectName("restore_layers")
        self.restore.setToolTip("Make the layers again that were deleted")
        self.restore.clicked.connect(lambda: bench.restore_layers())
        bench.layers_changed.connect(self._show_restore)
        row = QHBoxLayout()
        row.addWidget(self.status, 1)
        row.addWidget(self.restore)
        row.addWidget(self.live)
        self._show_restore()
        return row

    def _show_restore(self) -> None:
        layers = self.bench.layers
        self.restore.setVisible(bool(layers and layers.deleted))

    def open(self, path: str) -> None:
        """Open a video, a masks file with its video, or a session."""
        if not self.session.open_path(path):
            self.video_bar.open(path)

    def show_remark(self, text: str) -> None:
        """Show something that is to be said once, until the next."""
        text = printable(text)
        self.remark.setText(text)
        self.remark.setToolTip(plain(text))
        self.remark.setVisible(bool(text))

    def _forget_remark(self) -> None:
        self.show_remark("")

    def _on_probing(self, on: bool) -> None:
        # Masks would tint what is to be seen.
        self.view_bar.show_role("frames" if on else "masks")
        self._probe_mouse.set_on(on)

    def _show_status(self, *_: object) -> None:
        bench = self.bench
        if self.pages.current is self.training or (not self._is_making and bench.video is not None):
            self.status.setText("")
        elif bench.trouble is not None:
            self.status.setText("no answer, see above")
        else:
            self.status.setText(status_text(bench.work, bench.milliseconds, bench.video is not None))

    def _show_trouble(self) -> None:
        trouble = self.bench.trouble
        if trouble is not None and not self._is_making and not trouble.is_dead:
            trouble = None
        actions: dict[str, Any] = {}
        if trouble is not None and trouble.missing:
            first = trouble.missing[0]
            if self._fetcher.is_fetching:
                actions["cancel_fetch"] = (f"Cancel fetching {self._fetcher.name}", self._fetcher.cancel)
            else:
                actions["choose_weights"] = ("Choose file…", lambda: self.tune.ask_for_weights(first))
                actions["fetch_weights"] = ("Fetch", lambda: self._fetcher.fetch(trouble.missing))
                actions["use_handmade"] = (
                    "Use hand-made",
                    lambda: self.tune.controller.choose_preset("handmade"),
                )
        elif trouble is not None:
            actions["retry"] = ("Start again" if trouble.is_dead else "Try again", self.bench.retry)
        self.notice.show_trouble(trouble, actions)
        if self._fetcher.problem:
            self.show_remark(self._fetcher.problem)
            self._fetcher.problem = ""
        self._show_status()


class _Detach:
    """What is left to do when a panel is destroyed; what it holds of the panel it lets go of then."""

    def __init__(
        self,
        bench: Any,
        probe_mouse: ProbeMouse,
        fetcher: Fetcher,
        keys: tuple[Keys, ...],
        end_curating: Callable[[], None],
    ) -> None:
        self._bench, self._probe_mouse, self._fetcher = bench, probe_mouse, fetcher
        self._keys, self._end_curating = keys, end_curating

    def __call__(self, *_: object) -> None:
        quietly(lambda: self._probe_mouse.set_on(False))
        quietly(self._fetcher.cancel)
        for keys in self._keys:
            quietly(partial(keys.set_on, False))
        self._keys = ()
        self._end_curating()
        quietly(self._bench.detach_panel)


def _tabs(name: str, tabs: Sequence[tuple[QWidget, str]]) -> QTabWidget:
    found = QTabWidget()
    found.setObjectName(name)
    for tab, word in tabs:
        found.addTab(scrolled(tab), word)
    return found


def status_text(work: str, milliseconds: dict[str, float], has_video: bool) -> str:
    """Say in one line what goes on.

    Examples
    --------
    >>> status_text("", {"cuts": 8.2, "refined": 290.4}, True)
    'ready · cuts 8 ms · masks 290 ms'
    >>> status_text("refining", {"cuts": 8.2}, True)
    'refining … · cuts 8 ms'
    """
    if not has_video:
        return "open a video to begin"
    parts = [f"{work} …" if work else "ready"]
    if "cuts" in milliseconds:
        parts.append(f"cuts {milliseconds['cuts']:.0f} ms")
    if "refined" in milliseconds and not work:
        parts.append(f"masks {milliseconds['refined']:.0f} ms")
    return " · ".join(parts)


def qt_warning() -> str | None:
    """Return what is wrong with the Qt binding, if it is known to end the program: measured with PySide6 6.12.0.

    Its calls give back a reference to None that they never took. Before Python 3.12 None is counted, and the program
    is aborted when the count comes to nothing, after some ten thousand calls.
    """
    if sys.version_info >= (3, 12):
        return None
    pyside = sys.modules.get("PySide6")
    if pyside is None or getattr(pyside, "__version__", "") != "6.12.0":
        return None
    return "PySide6 6.12.0 aborts the program on Python 3.11 sooner or later; mend it by: pip install 'PySide6<6.12'"
