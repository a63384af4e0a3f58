"""What the Train tab is set to, and how that becomes a command."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flowcut_napari.core.cache import expand_home
from flowcut_napari.core.errors import InputError
from flowcut_napari.live.training_process import TrainingCommand


@dataclass(frozen=True)
class TrainSettings:
    """What is trained, on what, and where.

    Attributes
    ----------
    dataset : str
        A folder that `flowcut curate` made, or one of that form.
    run : str
        The run's folder; the one that is suggested if it is empty.
    configuration : str
        ``paper``, ``davis``, ``tiny`` or a yaml file.
    changes : mapping of str to str
        Values that differ from the configuration, by the names of their parameters.
    weights : str
        A file for the weights that ``run.init`` names; may be empty.
    device : str
        As options have it.
    processes : int
        More than one are started by torchrun.
    resume : bool
        Whether to go on with the run in the folder.
    weights_of : str
        What ``run.init`` is in the configuration.
    """

    dataset: str = ""
    run: str = ""
    configuration: str = "paper"
    changes: Mapping[str, str] = field(default_factory=dict)
    weights: str = ""
    device: str = "auto"
    processes: int = 1
    resume: bool = False
    weights_of: str = "cutler"

    @property
    def folder(self) -> Path:
        """The run's folder.

        Raises
        ------
        InputError
            If there is nothing to suggest it from.
        """
        if self.run.strip():
            return _whole(self.run)
        if not self.dataset.strip():
            raise InputError("choose a dataset: a folder that Export made, or one in YouTube-VIS form")
        return suggested_run(_whole(self.dataset))

    def command(self) -> TrainingCommand:
        """Return how the run is started.

        Raises
        ------
        InputError
            If something is missing, or cannot be.
        """
        if not self.dataset.strip():
            raise InputError("choose a dataset: a folder that Export made, or one in YouTube-VIS form")
        folder = self.folder
        words = ["train", str(_whole(self.dataset)), "-o", str(folder)]
        if self.resume:
            words.append("--resume")
        else:
            is_file = self.configuration.endswith((".yaml", ".yml"))
            words += ["--config", str(_whole(self.configuration)) if is_file else self.configuration]
        device, gpus = self._place()
        if device != "auto":
            words += ["--device", device]
        init = self.changes.get("run.init", self.weights_of)
        if self.weights.strip() and not self.resume:
            words += ["--weights", f"{init}={_whole(self.weights)}"]
        words += [f"{name}={value}" for name, value in self.changes.items()]
        return TrainingCommand(folder, tuple(words), self.processes, gpus)

    def _place(self) -> tuple[str, tuple[int, ...]]:
        """Return the device as the option has it, and the GPUs that several processes may see."""
        kind, _, number = self.device.partition(":")
        if self.processes == 1 or not number:
            return self.device, ()
        if not number.isdecimal():
            raise InputError(f"device {self.device!r}: choose another")
        # Each process takes one, beginning with the one that is chosen.
        return kind, tuple(range(int(number), int(number) + self.processes))

    def checking(self, *, estimate: bool) -> list[str]:
        """Return the arguments of ``flowcut`` that say what the run would be; errors as `command`."""
        words = [*self.command().arguments, "--check", "--estimate" if estimate else "--no-estimate"]
        return words if self.processes == 1 else [*words, "--processes", str(self.processes)]


def suggested_run(dataset: Path) -> Path:
    """Return where a run goes if nothing is chosen: ``runs/NAME-N`` beside the dataset, behind all that are there.

    However many there are, the disk is asked twice.
    """
    name = dataset.parent.name if dataset.suffix == ".json" else dataset.name
    runs = (dataset.parent.parent if dataset.suffix == ".json" else dataset.parent) / "runs"
    try:
        there = os.listdir(runs)
    except OSError:  # none yet, or not ours to look into, which is said when it is checked
        there = []
    ends = [entry.removeprefix(f"{name}-") for entry in there if entry.startswith(f"{name}-")]
    last = max((int(end) for end in ends if re.fullmatch(r"[1-9][0-9]{0,8}", end)), default=0)
    try:
        if last and not os.listdir(runs / f"{name}-{last}"):
            return runs / f"{name}-{last}"
    except OSError:  # a file, or not ours to look into
        pass
    return runs / f"{name}-{last + 1}"


def _whole(path: str) -> Path:
    return Path(os.path.abspath(expand_home(path.strip())))
