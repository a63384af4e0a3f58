"""Keeps the settings of a window for the next one, a moment after they change."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

from qtpy.QtCore import QObject, QTimer

from flowcut_napari.core.errors import InputError, OutputError
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.live.messages import Machine
from flowcut_napari.viewer.last_settings import LastSettings, first_parameters, read_last, write_last
from flowcut_napari.viewer.preferences import Preferences


class SettingsKeeper(QObject):
    """Reads the settings of last time, and writes those of now.

    Attributes
    ----------
    problem : str
        Why those of last time could not be read; empty if nothing was wrong.
    """

    def __init__(self, preferences: Preferences, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._preferences = preferences
        self._latest: LastSettings | None = None
        self.problem = ""
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(1000 * preferences.autosave_seconds)
        self._timer.timeout.connect(self.flush)

    def begin_with(self) -> tuple[CutParameters, Machine]:
        """Return what a window starts with: what was set last, or else what the preferences and presets say."""
        machine = self._preferences.machine()
        try:
            last = read_last() if self._preferences.autosave_seconds else None
        except InputError as error:
            self.problem = str(error)
            last = None
        if last is None:
            return first_parameters(self._preferences.environment().get("FLOWCUT_WEIGHTS")), machine
        weights = {name: path for name, path in last.weights.items() if path.is_file()}
        return last.parameters, replace(machine, weights=weights, device=last.device or machine.device)

    def take(self, parameters: CutParameters, machine: Machine) -> None:
        """Keep these settings, soon."""
        # A device that the preferences name is kept there, and may be changed there.
        device = machine.device if machine.device != self._preferences.device else None
        self._latest = LastSettings(parameters=parameters, weights=dict(machine.weights), device=device)
        if self._preferences.autosave_seconds:
            self._timer.start()

    def flush(self, *, wait: bool = False) -> None:
        """Write what is not yet written; with `wait` it is on disk on return."""
        self._timer.stop()
        settings, self._latest = self._latest, None
        if settings is None or not self._preferences.autosave_seconds:
            return

        def save() -> None:
            # That they are not kept is no loss worth a word while somebody works.
            with contextlib.suppress(OutputError):
                write_last(settings)

        if wait:
            save()
        else:  # to wait for the disk would be seen
            threading.Thread(target=save).start()
