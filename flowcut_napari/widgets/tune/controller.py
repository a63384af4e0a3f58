"""What the controls of the Tune tab do to the parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from qtpy.QtCore import QObject, Signal

from flowcut_napari.core.parameters import CutParameters, one_line
from flowcut_napari.core.recipe import as_command, as_python, closest_preset
from flowcut_napari.widgets.workbench import Workbench

METHOD = ["alpha", "tau", "gap", "max_instances", "min_area", "crf"]
MODELS = ["features", "flow"]
MORE = [
    "both_ways",
    "max_overlap",
    "max_eigenvalue",
    "crf_min_iou",
    "min_flow",
    "height",
    "width",
    "flow_updates",
    "eps",
]


class TuneController(QObject):
    """Turns edits into parameters, and parameters into what can be copied.

    Signals
    -------
    refused (str)
        A value that cannot be, in one line; the parameters stay as they were.
    """

    refused = Signal(str)

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self._bench = bench
        self.preset = closest_preset(bench.parameters)[0]

    @property
    def parameters(self) -> CutParameters:
        """What is set now."""
        return self._bench.parameters

    def edit(self, name: str, value: Any) -> None:
        """Set one field."""
        try:
            changed = self.parameters.with_changes(**{name: value})
        except ValidationError as error:
            self.refused.emit(one_line(error))
            self._bench.parameters_changed.emit()  # so that the control shows again what holds
            return
        self._bench.set_parameters(changed)

    def choose_preset(self, name: str) -> None:
        """Set all fields to those of a preset."""
        self.preset = name
        self._bench.set_parameters(CutParameters.preset(name))

    def reset(self) -> None:
        """Take back all that departs from the chosen preset."""
        self.choose_preset(self.preset)

    def changes(self) -> list[str]:
        """Return the names of the fields that depart from the chosen preset."""
        preset = CutParameters.preset(self.preset)
        return [name for name in CutParameters.model_fields if getattr(preset, name) != getattr(self.parameters, name)]

    def command(self) -> str:
        """Return the settings as a command line."""
        machine = self._bench.machine
        return as_command(self.parameters, self._address(), weights=machine.weights, device=machine.device)

    def python(self) -> str:
        """Return the settings as Python."""
        machine = self._bench.machine
        return as_python(self.parameters, self._address(), weights=machine.weights, device=machine.device)

    def _address(self) -> str:
        video, entry = self._bench.video, self._bench.entry
        if entry is not None:
            return entry.place
        return str(video.path) if video is not None else "VIDEO"

    def give_weights(self, path: Path) -> None:
        """Use a file as the weights of the model whose name it seems to bear."""
        self._bench.give_weights(self.model_of(path), path)

    def model_of(self, path: Path) -> str:
        """Return the model whose weights a file most likely holds: RAFT if its name says so, else the features."""
        if "raft" in path.name.lower():
            return self.parameters.flow if self.parameters.flow.startswith("raft") else "raft-large"
        return self.parameters.features if self.parameters.features != "handmade" else "dino"
