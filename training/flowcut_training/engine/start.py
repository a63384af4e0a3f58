"""Where a model starts: from scratch, from CutLER's or another Mask2Former, or from a ResNet."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from flowcut_napari.core.errors import WeightsError
from flowcut_napari.core.weights import TRAINING_FILES, fetched_folder, file_names, locate_weights, weights_folder
from flowcut_training.config import TrainingConfig
from flowcut_training.model.video_mask2former import VideoMask2Former
from flowcut_training.weight_files import build_model, fill, read_weights

SCRATCH = "scratch"


def start_model(config: TrainingConfig, given: Mapping[str, Path]) -> tuple[VideoMask2Former, list[str]]:
    """Make the model of a configuration with its first weights; return it and notes on where they come from.

    Parameters
    ----------
    config : TrainingConfig
    given : mapping of str to path
        Files by the names that `run.init` may have (``cutler``, ``dino-resnet50``).

    Raises
    ------
    WeightsError
        If the weights are missing, damaged or of another architecture.
    """
    path = find_start(config, given)
    # The same weights in every process, whatever drew random numbers before.
    torch.manual_seed(config.run.seed)
    model = build_model(config.model)
    if path is None:
        return model, ["weights from scratch: all of them are random"]
    weights = read_weights(path)
    notes = fill(model, weights)
    what = "a ResNet into the backbone, all else is random" if weights.about is None else "the whole model"
    return model, [f"weights of {path} ({weights.kind}): {what}", *notes]


def find_start(config: TrainingConfig, given: Mapping[str, Path]) -> Path | None:
    """Return the file that a run begins with, None if its weights are random; arguments and errors as `start_model`."""
    for name in given:
        if name not in TRAINING_FILES:
            raise WeightsError(f"--weights {name[:80]}: training knows {', '.join(TRAINING_FILES)}")
        if name != config.run.init:
            raise WeightsError(f"--weights {name}: is not used, run.init is {config.run.init}; add run.init={name}")
    return None if config.run.init == SCRATCH else _find(config.run.init, given)


def _find(init: str, given: Mapping[str, Path]) -> Path:
    if init not in TRAINING_FILES:
        path = Path(init).expanduser()
        if not os.path.isfile(path):
            names = ", ".join((SCRATCH, *TRAINING_FILES))
            raise WeightsError(
                f"run.init={init[:200]}: no such weights file; give one, such as model.safetensors of a checkpoint, "
                f"or {names}"
            )
        return path
    path_or_none = locate_weights(init, given)
    if path_or_none is None:
        raise WeightsError(
            f"missing weights: {init} ({file_names(init)[0]}); looked in FLOWCUT_WEIGHTS "
            f"({weights_folder() or 'not set'}) and {fetched_folder()}. Give the file with --weights {init}=PATH, "
            "or start without: run.init=scratch"
        )
    return path_or_none
