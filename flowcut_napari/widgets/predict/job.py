"""What is predicted, with which checkpoint, and where the results go; as arguments of ``flowcut predict``."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flowcut_napari.core.about import ABOUT as DATASET
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.files import read_regular
from flowcut_napari.core.prediction_files import ABOUT
from flowcut_napari.core.run_checkpoints import RunCheckpoint, best_checkpoint

_HOME = "flowcut-predictions"


@dataclass(frozen=True)
class PredictJob:
    """One prediction: exactly what ``flowcut predict`` does with these options.

    Attributes
    ----------
    model : Path
        The folder of a run, or a weights file.
    checkpoint : str
        Of a run: ``best``, ``last`` or a step; empty of a weights file.
    address : str
        Of the video.
    out : Path
        Folder for the results.
    frames : str
        ``START:STOP:STEP``; empty for all.
    device : str
    """

    model: Path
    checkpoint: str
    address: str
    out: Path
    frames: str = ""
    device: str = "auto"

    def arguments(self) -> list[str]:
        """Return the arguments of ``flowcut``, less what is said of its output.

        Examples
        --------
        >>> " ".join(PredictJob(Path("run"), "best", "dog.mp4", Path("out"), "0::2").arguments())
        'predict run dog.mp4 -o out --checkpoint best --frames 0::2 --overwrite'
        """
        words = ["predict", str(self.model), self.address, "-o", str(self.out)]
        if self.checkpoint:
            words += ["--checkpoint", self.checkpoint]
        if self.frames:
            # A value that begins with a minus would be taken for an option.
            words += [f"--frames={self.frames}"] if self.frames.startswith("-") else ["--frames", self.frames]
        if self.device != "auto":
            words += ["--device", self.device]
        return [*words, "--overwrite"]

    def command(self, interpreter: str = "") -> str:
        """Return the command line that writes the same, ready for a POSIX shell."""
        program = [interpreter, "-m", "flowcut_napari"] if interpreter else ["flowcut"]
        return shlex.join([*program, *self.arguments()])


def suggested_out(model: Path, step: int | None, video: str, address: str, frames: str = "") -> Path:
    """Return where predictions go: beside the run, else into the home folder.

    Where another video of the same name has its predictions already, a number is added.

    Parameters
    ----------
    model : Path
        The folder of a run, or a weights file.
    step : int or None
        Of the checkpoint of a run.
    video, address : str
        Name and address of the video.
    frames : str
        As in `PredictJob`.
    """
    is_file = model.is_file()
    home = model.parent if is_file else model
    # A dataset is what `flowcut curate` made of it, and no more.
    is_ours = os.access(home, os.W_OK) and not any((home / name).exists() for name in (DATASET, "annotations.json"))
    base = home / "predictions" if is_ours else Path.home() / _HOME / (model.stem if is_file else model.name)
    if base.exists() and not os.access(base, os.W_OK):
        base = Path.home() / _HOME / (model.stem if is_file else model.name)
    name = f"{video}-{model.stem if is_file else f'step-{step}'}"
    if frames:
        name += f"-{re.sub(r'[^0-9-]', '_', frames)}"
    number = 1
    while True:
        out = base / (name if number == 1 else f"{name}-{number}")
        if (found := _address_in(out)) is None or os.path.abspath(found) == os.path.abspath(address):
            return out
        number += 1


def checkpoint_of(checkpoints: Sequence[RunCheckpoint], which: str) -> RunCheckpoint:
    """Return the checkpoint that ``best``, ``last`` or a step stands for.

    Raises
    ------
    InputError
        If there is no such step any more.
    """
    if which == "best":
        return best_checkpoint(checkpoints)
    if which == "last":
        return checkpoints[-1]
    for checkpoint in checkpoints:
        if str(checkpoint.step) == which:
            return checkpoint
    steps = ", ".join(str(checkpoint.step) for checkpoint in checkpoints)
    raise InputError(f"there is no checkpoint of step {which} any more; there are {steps}")


def describe_checkpoint(checkpoint: RunCheckpoint) -> str:
    """Return what a checkpoint is called.

    Examples
    --------
    >>> describe_checkpoint(RunCheckpoint(Path("x"), 4000, 0.1234, "e")), describe_checkpoint(RunCheckpoint(Path(), 10))
    ('step 4,000, AP 12.3', 'step 10')
    """
    score = "" if checkpoint.score is None else f", AP {100 * checkpoint.score:.1f}"
    return f"step {checkpoint.step:,}{score}"


_WORDS = (
    (r"^--frames ?:? ?", "frames "),
    (r"; leave --window 0 away for windows", ""),
    (r"give a smaller --short-side", "predict on a CPU (Device), or from a shell with a smaller --short-side"),
    (r"give another -o, or --overwrite to replace it", "move it away"),
    (r"give a new one with -o", "move it away"),
    (r"give another -o", "move it away"),
)


def window_words(text: str) -> str:
    """Return what the command line would say in the words of the Predict tab.

    Examples
    --------
    >>> window_words("run: is in the way; give another -o")
    'run: is in the way; move it away'
    """
    for pattern, words in _WORDS:
        text = re.sub(pattern, words, text)
    return text


def _address_in(folder: Path) -> str | None:
    """Return the address of the first video that a folder has predictions of; None if it has none."""
    try:
        found = json.loads(read_regular(folder / ABOUT)[0])["videos"][0]["path"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) else None
