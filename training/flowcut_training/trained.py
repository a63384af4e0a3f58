"""A trained model from what a user gives: a run's folder, one of its checkpoints, or a weights file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.weights import sha256_of
from flowcut_training.engine.checkpoints import Checkpoint, best_checkpoint, list_checkpoints
from flowcut_training.model.video_mask2former import VideoMask2Former
from flowcut_training.weight_files import About, load_model


@dataclass(frozen=True)
class TrainedModel:
    """A model to predict with, in evaluation mode on the CPU.

    Attributes
    ----------
    model : VideoMask2Former
    about : About
        What its file says; `short_side` is that of the frames it was trained on, None of converted weights.
    path : Path
        The weights file.
    sha256 : str
        Of it.
    """

    model: VideoMask2Former
    about: About
    path: Path
    sha256: str


def load_trained(address: Path, which: str = "best") -> TrainedModel:
    """Load a model to predict with.

    Parameters
    ----------
    address : Path
        A run's folder, a folder of a checkpoint in it, or a weights file (this package's or detectron2's).
    which : str
        Of a run: ``best`` (the last where none was evaluated), ``last``, or the number of a step.

    Raises
    ------
    InputError
        If there is no such checkpoint.
    WeightsError
        If the weights cannot be read.
    """
    path = address if address.is_file() else _choose(address, which).weights
    model, about = load_model(path)
    return TrainedModel(model.eval(), about, path, sha256_of(path))


def _choose(folder: Path, which: str) -> Checkpoint:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such run or weights file")
    place = folder.resolve()
    if place.parent.name == "checkpoints":
        chosen = [one for one in list_checkpoints(place.parent.parent) if one.folder.name == place.name]
        if chosen:
            return chosen[0]
    checkpoints = list_checkpoints(folder)
    if not checkpoints:
        raise InputError(f"{folder}: holds no checkpoint; give the folder of a run (flowcut train -o RUN) or weights")
    if which == "last":
        return checkpoints[-1]
    if which == "best":
        return best_checkpoint(checkpoints) or checkpoints[-1]
    by_step = {str(one.state.step): one for one in checkpoints}
    if which not in by_step:
        raise InputError(f"{folder}: no checkpoint {which[:40]!r}; there are best, last, {', '.join(by_step)}")
    return by_step[which]
