"""Keeps what is open in a window, opens it again, and says what could not be saved."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from flowcut_napari.core.errors import FlowCutError, InputError
from flowcut_napari.core.masks_file import wait_for_all
from flowcut_napari.core.recovery import RecoveryItem, kept_of, take_recovery
from flowcut_napari.core.store import SUFFIX as MASKS_SUFFIX
from flowcut_napari.viewer.openers import register_opener
from flowcut_napari.viewer.session import SUFFIX, Session, read_session, write_session
from flowcut_napari.viewer.window_session import WindowSession
from flowcut_napari.widgets.curate.desk import curation_of
from flowcut_napari.widgets.endings import quietly
from flowcut_napari.widgets.session.background import Background
from flowcut_napari.widgets.session.closing import CloseGuard, with_suffix
from flowcut_napari.widgets.session.collect import Collector, Place
from flowcut_napari.widgets.session.elsewhere import ask_place, save_elsewhere
from flowcut_napari.widgets.session.kept import KeptDialog
from flowcut_napari.widgets.session.left_behind import LeftBehind
from flowcut_napari.widgets.session.offers import OfferList
from flowcut_napari.widgets.session.opener import Opener
from flowcut_napari.widgets.session.opening import wanted_by_masks, wanted_by_session
from flowcut_napari.widgets.workbench import Workbench

# For what is being written when a kept version is to take its place.
_SAVE_SECONDS = 10.0


def session_of(bench: Workbench) -> SessionKeeper:
    """Return the session keeper of a workbench, the same every time: it outlives panels."""
    found = bench.findChild(SessionKeeper)
    return found if found is not None else SessionKeeper(bench)


class SessionKeeper(QObject):
    """The session of one viewer.

    For a panel: put ``OfferBar(keeper.offers)`` at the top, call `watch` with the main window, tell `note_place` and
    `note_export` what is seen and set, and listen to `place_restored` and `export_restored`.

    Signals
    -------
    place_restored (str, str)
        A session was opened in which this page and this tab were seen; empty where it is not known.
    export_restored (dict)
        What was set in the Export tab.
    """

    place_restored = Signal(str, str)
    export_restored = Signal(object)

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self._bench = bench
        self.offers = OfferList(self)
        self.path: Path | None = None
        self._place = Place()
        self._background = Background(bench)
        self._opener = Opener(bench, self.offers, self._background, self.dialog_parent)
        self._left_behind = LeftBehind(self.offers, self._background, self.dialog_parent)
        self._left_behind.session_wanted.connect(self._open)
        self._left_behind.masks_wanted.connect(self.open_masks)
        self._collector = Collector(bench)
        self._window = WindowSession()
        self._guard = CloseGuard(bench)
        self._is_writing = False
        self._dialog: KeptDialog | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(1000 * bench.preferences.autosave_seconds)
        self._timer.timeout.connect(self._keep_window)
        bench.frame_changed.connect(self._on_frame)
        curation = curation_of(bench)
        for signal in (
            bench.video_changed,
            bench.parameters_changed,
            bench.layers_changed,
            bench.saved_changed,
            curation.parameters_changed,
        ):
            signal.connect(self._on_changed)
        bench.closing.connect(self.shutdown)
        register_opener(bench.viewer, self.open_path)
        self._left_behind.look()

    # What the panel tells.

    def note_place(self, page: str, tab: str) -> None:
        """Remember which page and which tab are seen, by their names."""
        self._place = replace(self._place, page=page, tab=tab)
        self._on_changed()

    def note_export(self, settings: Mapping[str, Any]) -> None:
        """Remember what is set in the Export tab: values that json knows."""
        self._place = replace(self._place, export=dict(settings))
        self._on_changed()

    def watch(self, window: QWidget) -> None:
        """Ask before this main window closes, if something cannot be saved; it may be named again."""
        self._guard.watch(window)

    def dialog_parent(self) -> QWidget | None:
        """Return the window over which questions are asked."""
        return self._guard.window

    def unsaved(self) -> list[str]:
        """Return what is not on disk and cannot be put there, a line each; waits a moment for what is being written."""
        return self._guard.unsaved()

    # Sessions.

    def save_session(self, path: str | os.PathLike[str]) -> None:
        """Write what is open; what comes of it is said."""
        snapshot, target = self._collector.snapshot(self._place), Path(path)

        def write() -> None:
            write_session(self._collector.complete(snapshot), target)

        def tell(_: None) -> None:
            self.path = target
            self._bench.remarked.emit(f"session saved: {target}")

        self._background.run(write, tell)

    def open_session(self, path: str | os.PathLike[str]) -> None:
        """Open all that a session names beside what is open; what is not there any more is said or asked for."""

        def opened(session: Session) -> None:
            self.path = Path(path)
            self._open(session)

        self._background.run(lambda: read_session(path), opened)

    def open_masks(self, path: str | os.PathLike[str]) -> None:
        """Open a masks file with its video; if that has moved, it is asked for."""
        self._background.run(lambda: [wanted_by_masks(os.path.abspath(path))], self._opener.open)

    def open_path(self, path: str) -> bool:
        """Open a session or a masks file, if a panel is there that can ask; return whether it is."""
        if self._bench.is_shut or not self.offers.bars:
            return False
        if path.endswith(SUFFIX):
            self.open_session(path)
        elif path.endswith(MASKS_SUFFIX):
            self.open_masks(path)
        else:
            return False
        return True

    # Masks files.

    def kept_versions(self, path: str | os.PathLike[str]) -> list[RecoveryItem]:
        """Return the versions of a masks file that were kept when another took their place, newest first."""
        return kept_of(path)

    def ask_kept(self) -> None:
        """Show the kept versions of the masks file that is open, and put one back if the user wants that."""
        path = curation_of(self._bench).path
        if path is None:
            self._bench.remarked.emit("kept versions belong to a masks file, and none is open")
            return
        self._background.run(lambda: self.kept_versions(path), partial(self._show_kept, path))

    def restore_kept(self, path: Path, item: RecoveryItem) -> None:
        """Put a kept version in the place of what is in a masks file, which is kept in turn, and open it."""
        files = [document.file for document in curation_of(self._bench).documents() if document.file.path == path]

        def put_back() -> Path:
            if wait_for_all(files, _SAVE_SECONDS):
                raise InputError(f"{path.name}: not all that you did is saved; see to that first")
            return take_recovery(item)

        def opened(_: Path) -> None:
            self.open_masks(path)
            when = f"{item.at.astimezone():%Y-%m-%d %H:%M}"
            self._bench.remarked.emit(f"{path.name} is that of {when} again; what was in its place is kept, too")

        self._background.run(put_back, opened)

    def ask_save_elsewhere(self) -> None:
        """Ask for another folder for the masks file that is open, and save there from now on."""
        desk = curation_of(self._bench)
        if desk.document is None:
            self._bench.remarked.emit("no masks file is open that could be saved elsewhere")
            return
        file = desk.document.file
        target = ask_place(self._guard.window, file.path)
        if target is not None:
            save_elsewhere(self._bench, file, target)
            desk.changed.emit()

    def _show_kept(self, path: Path, items: list[RecoveryItem]) -> None:
        if not items:
            self._bench.remarked.emit(f"no other versions of {path.name} are kept")
            return
        self._close_dialog()
        dialog = self._dialog = KeptDialog(path, items, self._guard.window)
        dialog.restore_wanted.connect(partial(self.restore_kept, path))
        dialog.finished.connect(self._close_dialog)
        dialog.open()

    def _close_dialog(self, *_: object) -> None:
        dialog, self._dialog = self._dialog, None
        if dialog is not None:
            dialog.close()
            dialog.deleteLater()

    def ask_save(self) -> None:
        """Ask where to save the session, and save it."""
        chosen, _ = QFileDialog.getSaveFileName(
            self._guard.window, "Save the session", str(self._default_path()), f"Sessions (*{SUFFIX})"
        )
        if chosen:
            self.save_session(with_suffix(chosen, SUFFIX))

    def ask_open(self) -> None:
        """Ask for a session, and open it."""
        folder = str(self._default_path().parent)
        chosen, _ = QFileDialog.getOpenFileName(
            self._guard.window, "Open a session", folder, f"Sessions (*{SUFFIX});;All files (*)"
        )
        if chosen:
            self.open_session(chosen)

    def _default_path(self) -> Path:
        if self.path is not None:
            return self.path
        masks = curation_of(self._bench).path
        return (masks.parent if masks is not None else Path.home()) / f"session{SUFFIX}"

    def _open(self, session: Session) -> None:
        bench = self._bench
        weights = {name: Path(path) for name, path in session.weights.items() if Path(path).is_file()}
        for name in session.weights.keys() - weights.keys():
            bench.remarked.emit(f"{session.weights[name]}: the weights of {name} are not there any more")
        bench.set_machine(replace(bench.machine, weights=weights, device=session.device))
        bench.set_parameters(session.parameters)
        curation_of(bench).set_parameters(session.curation)
        self._place = Place(session.page, session.tab, session.export)
        if session.export:
            self.export_restored.emit(session.export)
        self._opener.open(wanted_by_session(session), self._restore_place)

    def _restore_place(self) -> None:
        self.place_restored.emit(self._place.page, self._place.tab)

    # The session of this window, as long as it runs.

    def _on_frame(self) -> None:
        self._collector.note_frame()
        self._on_changed()

    def _on_changed(self) -> None:
        # Not anew with each change: while a video plays it would never come to an end.
        if self._timer.interval() and not self._timer.isActive() and not self._bench.is_shut:
            self._timer.start()

    def _keep_window(self) -> None:
        if self._is_writing:
            self._timer.start()
            return
        self._is_writing = True
        snapshot = self._collector.snapshot(self._place)

        def write() -> None:
            try:
                # That it is not kept is no loss worth a word while somebody works.
                with contextlib.suppress(FlowCutError, OSError):
                    self._window.keep(self._collector.complete(snapshot))
            finally:
                self._is_writing = False

        threading.Thread(target=write, daemon=True).start()

    def shutdown(self) -> None:
        """Forget what is kept of this window, which ends as it should. May be called again."""
        self._timer.stop()
        # It may be gone with its window.
        quietly(self._close_dialog)
        self._window.end()
        self._left_behind.release()
