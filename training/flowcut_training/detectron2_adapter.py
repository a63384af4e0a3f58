"""Our datasets and our model for detectron2, so that its trainers, hooks and checkpoints can be used with them.

detectron2 is no dependency: the functions that need it import it. It knows datasets and models by name, which
`register_dataset` and `register_model` tell it, in every process that trains. `add_config` adds ``MODEL.FLOWCUT``,
whose names and defaults are those of `TrainingConfig`. In its checkpoints weights have detectron2's names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, distributed, nn
from torch.utils.data import get_worker_info

from flowcut_napari.core.errors import InputError, MissingPackageError
from flowcut_napari.core.parameters import one_line
from flowcut_training.config import TrainingConfig, changed
from flowcut_training.data import ClipSource, Sample, WholeClips, collate, open_clips
from flowcut_training.data.augmentation import augment, draw_augmentation, draw_places
from flowcut_training.engine.optimizer import make_optimizer
from flowcut_training.loss import SetCriterion, Share
from flowcut_training.loss.matcher import NotFiniteError
from flowcut_training.model import normalize
from flowcut_training.predict import PredictionParameters, predict_video
from flowcut_training.weight_files import build_model
from flowcut_training.weight_names import from_detectron2, to_detectron2

META_ARCHITECTURE = "FlowCutVideoMask2Former"
INSTALL = "https://detectron2.readthedocs.io/en/latest/tutorials/install.html"
_NO_NODES = ("workers", "skip_broken", "stills", "stills_images", "stills_share")
# What has a node of our own, by sections of a configuration ...
_NODES = {
    "model": tuple(TrainingConfig().model.model_dump()),
    "data": tuple(name for name in TrainingConfig().data.model_dump() if name not in _NO_NODES),
    "loss": tuple(TrainingConfig().loss.model_dump()),
    "optimizer": ("backbone_factor", "clip_norm"),
}
_PREDICTION = ("top", "threshold", "window")
# ... and what of `optimizer` has one of detectron2's. Its trainers do not do what is in neither.
_SOLVER = {
    "steps": "MAX_ITER",
    "batch": "IMS_PER_BATCH",
    "lr": "BASE_LR",
    "weight_decay": "WEIGHT_DECAY",
    "warmup_steps": "WARMUP_ITERS",
    "warmup_factor": "WARMUP_FACTOR",
    "milestones": "STEPS",
    "decay": "GAMMA",
}


def register_dataset(name: str, folder: Path, index: Path | None = None) -> None:
    """Tell detectron2 of a dataset of clips; `folder` and `index` are those of `open_clips`.

    It is read when it is first used. ``DatasetCatalog.get(name)`` lists its clips, ``{"dataset": name, "number": 0}``.

    Raises
    ------
    InputError
        If the name is taken.
    MissingPackageError
        If there is no detectron2.
    """
    data = _detectron2("detectron2.data")
    if name in data.DatasetCatalog:
        raise InputError(f"{name[:200]!r}: detectron2 has a dataset of that name; give another")
    data.DatasetCatalog.register(name, lambda: _records(name, range(len(_source(name)))))
    about = data.MetadataCatalog.get(name)
    about.set(folder=str(folder), index=None if index is None else str(index), thing_classes=["object"])


def register_model() -> None:
    """Tell detectron2 of the model ``FlowCutVideoMask2Former``; errors as of `register_dataset`."""
    registry = _detectron2("detectron2.modeling").META_ARCH_REGISTRY

    def FlowCutVideoMask2Former(cfg: Any) -> TrainableModel:  # a registry goes by what a function is called
        return TrainableModel(*read_config(cfg))

    if META_ARCHITECTURE not in registry:
        registry.register(FlowCutVideoMask2Former)


def add_config(cfg: Any, config: TrainingConfig | None = None) -> None:
    """Add ``MODEL.FLOWCUT``, and set what training depends on of detectron2's own nodes.

    Parameters
    ----------
    cfg : detectron2.config.CfgNode
        Its ``MODEL.META_ARCHITECTURE``, ``SOLVER`` and ``DATALOADER.NUM_WORKERS`` are set.
    config : TrainingConfig, optional
        Where values come from, such as ``load_config("paper")``; its section `run` is not used.

    Raises
    ------
    InputError
        If the configuration asks for what detectron2's trainers do not do.
    """
    config, prediction = config or TrainingConfig(), PredictionParameters()
    nodes = {name: getattr(getattr(config, section), name) for section, names in _NODES.items() for name in names}
    nodes |= {name: getattr(prediction, name) for name in _PREDICTION}
    cfg.MODEL.FLOWCUT = type(cfg)({name.upper(): value for name, value in nodes.items()})
    cfg.MODEL.META_ARCHITECTURE = META_ARCHITECTURE
    cfg.DATALOADER.NUM_WORKERS = config.data.workers
    for ours, theirs in _SOLVER.items():
        cfg.SOLVER[theirs] = getattr(config.optimizer, ours)
    lost = [name for name in changed(read_config(cfg)[0], config) if not name.startswith("run.")]
    if lost:
        raise InputError(f"detectron2's trainers do not know {', '.join(lost)}; leave it at its default")


def read_config(cfg: Any) -> tuple[TrainingConfig, PredictionParameters]:
    """Return what a configuration of detectron2 says; videos are predicted on at the size of training.

    Raises
    ------
    InputError
        If a value is out of its range.
    """
    node = cfg.MODEL.FLOWCUT
    content = {section: {name: node[name.upper()] for name in names} for section, names in _NODES.items()}
    content["optimizer"] |= {ours: cfg.SOLVER[theirs] for ours, theirs in _SOLVER.items()}
    content["data"]["workers"] = cfg.DATALOADER.NUM_WORKERS
    sides = {name: content["data"][name] for name in ("short_side", "max_side")}
    try:
        return TrainingConfig.model_validate(content), PredictionParameters.model_validate(
            sides | {name: node[name.upper()] for name in _PREDICTION}
        )
    except ValidationError as error:
        raise InputError(f"detectron2's configuration: {one_line(error)}") from None


class _NoModule:
    """Where every name leads to the same thing."""

    def __getattr__(self, _: str) -> _NoModule:
        return self


class TrainableModel(nn.Module):
    """The network with its loss, to be called as detectron2 calls its models.

    Attributes
    ----------
    network : VideoMask2Former
    """

    # Checkpointers follow the name of a weight of another shape to its module, to see whether it is a special one.
    backbone = sem_seg_head = _NoModule()

    def __init__(self, config: TrainingConfig, prediction: PredictionParameters) -> None:
        super().__init__()
        self.network = build_model(config.model)
        self.criterion = SetCriterion(config.loss)
        self.prediction = prediction
        self.register_state_dict_post_hook(_rename_for_detectron2)
        self.register_load_state_dict_pre_hook(_rename_for_us)

    def forward(self, batched_inputs: Sequence[Mapping[str, Any]]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Return the losses of clips in training, else the instances of videos.

        Parameters
        ----------
        batched_inputs : sequence of dict
            Of `ClipMapper`. In training ``frames`` (T, 3, H, W) uint8 RGB, ``masks`` (N, T, H, W) bool and ``name``,
            of one T; else ``video``, with `length`, `height`, `width` and ``frame(place)``, and perhaps ``video_id``.

        Returns
        -------
        dict or list of dict
            Weighted losses; the mean of their sums over all processes is the loss of the whole batch. Else of each
            video ``video_id``, ``scores`` (n,) float32 by falling score, ``masks``, of each instance a list of a
            run-length code or None a frame, and ``windows``, as `predict_video` has them.

        Raises
        ------
        InputError
            If an input is of another form.
        FloatingPointError
            If a prediction is not finite in training.
        """
        for name in ("frames", "masks", "name") if self.training else ("video",):
            if not all(name in item for item in batched_inputs):
                mapper = f"ClipMapper(cfg, is_train={self.training})"
                raise InputError(f"an input of the model has no {name!r}; its loader needs mapper={mapper}")
        return self._losses(batched_inputs) if self.training else [self._instances(item) for item in batched_inputs]

    def _losses(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        batch = collate([Sample(item["frames"], item["masks"], item["name"]) for item in items])
        device = next(self.parameters()).device
        masks = [of_clip.to(device) for of_clip in batch.masks]
        predictions = self.network(normalize(batch.frames.to(device), batch.sizes))
        try:
            # In single precision, whatever the trainer has asked for, as in `flowcut train`.
            with torch.autocast(device.type, enabled=False):
                losses = self.criterion(predictions, masks, self._share(masks))
        except NotFiniteError as error:
            names = ", ".join(batch.names)[:400]
            raise FloatingPointError(f"{error} ({names}); lower SOLVER.BASE_LR, or look at these clips") from None
        weights = self.criterion.parameters
        last = {
            "loss_class": weights.class_weight * losses.classification,
            "loss_mask": weights.mask_weight * losses.mask,
            "loss_dice": weights.dice_weight * losses.dice,
        }
        return {**last, "loss_earlier_layers": losses.total - sum(last.values())}

    def _share(self, masks: Sequence[Tensor]) -> Share:
        instances = float(sum(len(of_clip) for of_clip in masks))
        class_weight = sum(self.criterion.class_weight(len(of_clip), self.network.num_queries) for of_clip in masks)
        if not (distributed.is_available() and distributed.is_initialized()):
            return Share(max(1.0, instances), class_weight)
        sums = torch.tensor([instances, class_weight], dtype=torch.float64, device=masks[0].device)
        distributed.all_reduce(sums)
        instances, class_weight = (sums / distributed.get_world_size()).tolist()
        return Share(max(1.0 / distributed.get_world_size(), instances), class_weight)

    def _instances(self, item: Mapping[str, Any]) -> dict[str, Any]:
        found = predict_video(self.network, item["video"], self.prediction)
        scores, masks = torch.tensor([track.score for track in found.tracks]), [list(one.masks) for one in found.tracks]
        return {"video_id": item.get("video_id"), "scores": scores, "masks": masks, "windows": found.windows}


class ClipMapper:
    """Makes inputs of the model of clips as ``DatasetCatalog`` lists them: samples to train on, else whole videos.

    Samples are drawn and augmented as in `flowcut train`, but from torch's random numbers, which detectron2 seeds in
    every process. A video is read when it is predicted on.

    Parameters
    ----------
    cfg : detectron2.config.CfgNode
        Its ``DATASETS.TRAIN``, or else ``DATASETS.TEST``, names the datasets.
    is_train : bool
    """

    def __init__(self, cfg: Any, is_train: bool) -> None:
        self.parameters, self.is_train = read_config(cfg)[0].data, is_train
        # Opened here: a process that reads clips may have no catalog.
        self.sources = {name: _source(name) for name in (cfg.DATASETS.TRAIN if is_train else cfg.DATASETS.TEST)}

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return an input of `TrainableModel`; errors are those of `ClipSource.load`."""
        source, number, frames = self.sources[record["dataset"]], record["number"], self.parameters.frames
        if not self.is_train:
            (clip,) = WholeClips(source, (number,))
            return {"video_id": clip.id, "video": clip}
        if get_worker_info() is not None:
            cv2.setNumThreads(0)
        random = np.random.default_rng(int(torch.randint(2**63 - 1, ())))
        places = draw_places(int(source.index.lengths[number]), frames, random)
        draw = draw_augmentation(self.parameters, frames, random)
        sample = augment(source.load(number, places), self.parameters, draw)
        # By these two detectron2 puts clips of like proportions together.
        sides = {"height": int(sample.frames.shape[-2]), "width": int(sample.frames.shape[-1])}
        return {"frames": sample.frames, "masks": sample.masks, "name": sample.name, **sides}


def build_train_loader(cfg: Any) -> Any:
    """Make detectron2's loader of the clips of ``DATASETS.TRAIN`` that have instances.

    Raises
    ------
    InputError
        If there are none, or they are too short; see `ClipSource.trainable`.
    """
    mapper = ClipMapper(cfg, is_train=True)
    numbers = {name: source.trainable(mapper.parameters.frames) for name, source in mapper.sources.items()}
    records = [record for name, of_source in numbers.items() for record in _records(name, of_source)]
    return _detectron2("detectron2.data").build_detection_train_loader(cfg, dataset=records, mapper=mapper)


def build_test_loader(cfg: Any, name: str) -> Any:
    """Make detectron2's loader of all clips of one of ``DATASETS.TEST``; the model reads their frames."""
    mapper = ClipMapper(cfg, is_train=False)
    records = _records(name, range(len(mapper.sources[name])))
    return _detectron2("detectron2.data").build_detection_test_loader(records, mapper=mapper)


def build_optimizer(cfg: Any, model: TrainableModel) -> torch.optim.Optimizer:
    """Make AdamW as `flowcut train` has it; it clips the gradient of the whole model before each step."""
    parameters = read_config(cfg)[0].optimizer
    optimizer = make_optimizer(model.network, parameters)

    def clip(*_: Any) -> None:
        nn.utils.clip_grad_norm_(model.network.parameters(), parameters.clip_norm)

    # Here a trainer with mixed precision has taken its scale off the gradients.
    optimizer.register_step_pre_hook(clip)
    return optimizer


def _source(name: str) -> ClipSource:
    about = _detectron2("detectron2.data").MetadataCatalog.get(name)
    if about.get("folder") is None:
        raise InputError(f"{name[:200]!r}: no such dataset; call register_dataset first, in every process")
    return _open(about.folder, about.index)


@lru_cache
def _open(folder: str, index: str | None) -> ClipSource:
    return open_clips(Path(folder), None if index is None else Path(index))


def _records(name: str, numbers: Iterable[int]) -> list[dict[str, Any]]:
    return [{"dataset": name, "number": int(number)} for number in numbers]


def _rename_for_detectron2(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
    _rename(state, to_detectron2, f"{prefix}network.", prefix)


def _rename_for_us(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
    _rename(state, from_detectron2, prefix, f"{prefix}network.")


def _rename(state: dict[str, Any], table: Any, before: str, after: str) -> None:
    """Rename weights in place; names that the table does not know stay, to be reported."""
    weights = {name.removeprefix(before): state.pop(name) for name in list(state) if name.startswith(before)}
    renamed, unknown = table(weights)
    state.update({after + name: value for name, value in renamed.items()})
    state.update({before + name: weights[name] for name in unknown})


def _detectron2(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        reason = " ".join(str(error).split())[:200]
        raise MissingPackageError(f"detectron2 cannot be imported ({reason}); install it: {INSTALL}") from None
