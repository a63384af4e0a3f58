"""What a user set under Preferences > FlowCut: device, folders, autosave. Declared in napari.yaml."""

from __future__ import annotations

import os
from dataclasses import dataclass

from flowcut_napari.core.cache import DEFAULT_LIMIT_GB
from flowcut_napari.live.messages import Machine

PLUGIN = "flowcut-napari"


@dataclass(frozen=True)
class Preferences:
    """The preferences; an empty folder leaves the choice to the environment, and then to the system.

    An empty `interpreter` is the Python of the window.
    """

    device: str = "auto"
    cache_folder: str = ""
    cache_limit_gb: float = DEFAULT_LIMIT_GB
    weights_folder: str = ""
    interpreter: str = ""
    autosave_seconds: int = 2

    def environment(self) -> dict[str, str]:
        """Return the variables that processes are started with; what the user's own environment says comes first."""
        chosen = {"FLOWCUT_CACHE": self.cache_folder, "FLOWCUT_WEIGHTS": self.weights_folder}
        return {name: value for name, value in chosen.items() if value and not os.environ.get(name)}

    def machine(self) -> Machine:
        """Return what the computing processes are told at first."""
        return Machine(self.device, {}, self.cache_limit_gb)


def read_preferences() -> Preferences:
    """Return the preferences of this user."""
    from napari.settings import get_plugin_settings

    stored = get_plugin_settings(PLUGIN)
    return Preferences(
        device=stored.computing.device,
        cache_folder=stored.computing.cache_folder.strip(),
        cache_limit_gb=stored.computing.cache_limit_gb,
        weights_folder=stored.computing.weights_folder.strip(),
        interpreter=os.path.expanduser(stored.computing.interpreter.strip()),
        autosave_seconds=stored.saving.autosave_seconds,
    )
