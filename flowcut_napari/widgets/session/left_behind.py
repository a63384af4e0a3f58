"""Offers what other windows left behind that ended unexpectedly, and work that could not be saved."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QWidget

from flowcut_napari.core.recovery import RecoveryItem, drop_recovery, list_recovery, take_recovery
from flowcut_napari.viewer.window_session import CrashedWindow, crashed_windows
from flowcut_napari.widgets.session.background import Background
from flowcut_napari.widgets.session.elsewhere import ask_place
from flowcut_napari.widgets.session.offers import Offer, OfferList


class LeftBehind(QObject):
    """Looks once for what was left behind, and offers it.

    Signals
    -------
    session_wanted (Session)
        The user wants it to be opened again.
    masks_wanted (Path)
        Work was put back into this file, which is to be opened.
    """

    session_wanted = Signal(object)
    masks_wanted = Signal(object)

    def __init__(self, offers: OfferList, background: Background, dialog_parent: Callable[[], QWidget | None]) -> None:
        super().__init__(offers)
        self._offers = offers
        self._background = background
        self._dialog_parent = dialog_parent
        # Those that nobody has answered for yet. They are found on a thread, maybe after the end of the window.
        self._held: list[CrashedWindow] = []
        self._turn = threading.Lock()
        self._is_over = False

    def look(self) -> None:
        """Look on a thread."""

        def find() -> tuple[list[RecoveryItem], list[CrashedWindow]]:
            copies = [item for item in list_recovery() if item.kind == "unsaved" and not item.is_in_use]
            crashed = crashed_windows()
            with self._turn:
                self._held += crashed
            if self._is_over:
                self.release()
            return copies, crashed

        def offer(found: tuple[list[RecoveryItem], list[CrashedWindow]]) -> None:
            # Work first: what was open is opened with it then.
            for item in found[0]:
                self._offer_work(item)
            for window in found[1]:
                self._offer_window(window)

        self._background.run(find, offer)

    def release(self) -> None:
        """Leave to the next window what nobody has answered."""
        self._is_over = True
        with self._turn:
            held, self._held = self._held, []
        for window in held:
            window.release()

    def _forget(self, window: CrashedWindow) -> None:
        with self._turn:
            is_ours = window in self._held
            if is_ours:
                self._held.remove(window)
        if is_ours:
            window.forget()

    def _offer_window(self, window: CrashedWindow) -> None:
        def restore() -> None:
            self._offers.withdraw(offer)
            self.session_wanted.emit(window.session)
            self._forget(window)

        def forget() -> None:
            self._offers.withdraw(offer)
            self._forget(window)

        offer = Offer(
            f"FlowCut ended unexpectedly on {window.at:%Y-%m-%d %H:%M} with {window.session.names()} open.",
            {"restore_window": ("Restore", restore), "forget_window": ("Forget", forget)},
        )
        self._offers.put(offer)

    def _offer_work(self, item: RecoveryItem) -> None:
        def restore() -> None:
            self._put_back(offer, item, None)

        def elsewhere() -> None:
            target = ask_place(self._dialog_parent(), item.path)
            if target is not None:
                self._put_back(offer, item, target)

        def forget() -> None:
            self._offers.withdraw(offer)
            drop_recovery(item)

        when = f"{item.at.astimezone():%Y-%m-%d %H:%M}"
        offer = Offer(
            f"Work on {item.name} of {when} was kept apart: it could not be saved as {item.path}.",
            {
                "restore_work": ("Restore", restore),
                "restore_work_elsewhere": ("Save elsewhere…", elsewhere),
                "forget_work": ("Forget", forget),
            },
        )
        self._offers.put(offer)

    def _put_back(self, offer: Offer, item: RecoveryItem, path: Path | None) -> None:
        def opened(target: object) -> None:
            self._offers.withdraw(offer)
            self.masks_wanted.emit(target)

        # What is wrong is said, and the offer stays.
        self._background.run(lambda: take_recovery(item, path), opened)
