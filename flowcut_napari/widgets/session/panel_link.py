"""Between the panel and its session: which page and tab are seen, and what the Export tab is set to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QTabWidget

from flowcut_napari.core.parameters import one_line
from flowcut_napari.widgets.export.controller import export_of
from flowcut_napari.widgets.export.settings import ExportSettings
from flowcut_napari.widgets.pages import Pages
from flowcut_napari.widgets.session.keeper import SessionKeeper
from flowcut_napari.widgets.workbench import Workbench

_SETTINGS = TypeAdapter(ExportSettings)


class PanelLink(QObject):
    """Tells the session what the panel shows, and the panel what a session that was opened showed.

    Parameters
    ----------
    bench : Workbench
    keeper : SessionKeeper
    pages : Pages
    tabs : mapping of str to QTabWidget
        The tabs of each page, by its name.
    """

    def __init__(
        self, bench: Workbench, keeper: SessionKeeper, pages: Pages, tabs: Mapping[str, QTabWidget], parent: QObject
    ) -> None:
        super().__init__(parent)
        self._bench, self._keeper, self._pages, self._tabs = bench, keeper, pages, dict(tabs)
        self._export = export_of(bench)
        pages.changed.connect(self._note_place)
        for widget in self._tabs.values():
            widget.currentChanged.connect(self._note_place)
        self._export.settings_changed.connect(self._note_export)
        keeper.place_restored.connect(self._show_place)
        keeper.export_restored.connect(self._set_export)

    def _note_place(self, *_: object) -> None:
        page = self._pages.name
        tabs = self._tabs[page]
        self._keeper.note_place(page, tabs.tabText(tabs.currentIndex()))

    def _show_place(self, page: str, tab: str) -> None:
        if page not in self._tabs:  # of a version that had others
            return
        self._pages.show_name(page)
        tabs = self._tabs[page]
        names = [tabs.tabText(place) for place in range(tabs.count())]
        if tab in names:
            tabs.setCurrentIndex(names.index(tab))

    def _note_export(self) -> None:
        self._keeper.note_export(asdict(self._export.settings))

    def _set_export(self, settings: dict[str, Any]) -> None:
        try:
            # To replace a dataset is said anew in each window.
            self._export.set_settings(replace(_SETTINGS.validate_python(settings), overwrite=False))
        except ValidationError as error:
            self._bench.remarked.emit(f"the settings of the export cannot be taken up: {one_line(error)}")
