"""Weights on disk: files of this package, of detectron2 and of ResNets, told apart by what is in them.

Nothing is ever unpickled but tensors and, of detectron2's old ``.pkl``, numpy arrays.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from flowcut_napari.core.checkpoints import read_tensors
from flowcut_napari.core.errors import InputError, OutputError, WeightsError
from flowcut_napari.core.files import write_atomically
from flowcut_napari.core.parameters import one_line
from flowcut_training.array_pickle import read_arrays
from flowcut_training.config import ModelParameters
from flowcut_training.model.video_mask2former import VideoMask2Former
from flowcut_training.weight_names import from_detectron2, to_detectron2

SCHEMA = "flowcut.model/1"
Kind = Literal["flowcut", "detectron2", "resnet"]
# Mask2Former's; files of detectron2 do not show them.
_HEADS, _POINTS = 8, 4
# What a ResNet may hold besides: nothing that is needed here.
_CLASSIFIER = ("fc.weight", "fc.bias", "stem.fc.weight", "stem.fc.bias")


class About(BaseModel):
    """What a file of ours says of its weights besides them.

    `short_side` and `max_side` are those of the frames that it was trained on; None of converted weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_: str = SCHEMA
    model: ModelParameters
    num_classes: int = Field(1, ge=1, le=100_000)
    short_side: int | None = Field(None, ge=1)
    max_side: int | None = Field(None, ge=1)
    step: int | None = None
    source: str | None = None


@dataclass(frozen=True)
class Weights:
    """Weights that were read: under our names, or a ResNet's under torchvision's.

    `dropped` are names that this package has no use for, such as a classifier's.
    """

    path: Path
    kind: Kind
    tensors: dict[str, Tensor]
    about: About | None = None
    dropped: tuple[str, ...] = ()


def build_model(parameters: ModelParameters, num_classes: int = 1) -> VideoMask2Former:
    """Make the network of a configuration, with random weights."""
    return VideoMask2Former(num_classes, **parameters.model_dump())


def read_weights(path: Path) -> Weights:
    """Read a weights file, whoever made it.

    Raises
    ------
    WeightsError
        If it cannot be read, or is of no network that this package knows.
    """
    if not os.path.isfile(path):
        raise WeightsError(f"{str(path)[:400]}: no such weights file")
    tensors = read_arrays(path) if path.suffix == ".pkl" else read_tensors(path)
    tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    if any(name.startswith("query_decoder.") for name in tensors):
        about = _read_about(path) if path.suffix == ".safetensors" else None
        return Weights(path, "flowcut", tensors, about or About(model=_parameters_of(tensors, path)))
    if any(name.startswith("sem_seg_head.") for name in tensors):
        renamed, unknown = from_detectron2(tensors)
        if unknown:
            raise WeightsError(
                f"{path}: weights of another architecture than Mask2Former with a ResNet: "
                f"{len(unknown)} unknown, first {unknown[0][:120]}"
            )
        source = os.fsencode(path.name).decode(errors="backslashreplace")
        about = About(model=_parameters_of(renamed, path), num_classes=_num_classes(renamed, path), source=source)
        return Weights(path, "detectron2", renamed, about)
    return _resnet(path, tensors)


def write_model(path: Path, tensors: Mapping[str, Tensor], about: About) -> None:
    """Write weights as a safetensors file of ours, atomically.

    Raises
    ------
    OutputError
        If it cannot be written; a file that was there stays as it was.
    """
    # One copy of each: frozen statistics may share memory, which the format does not allow.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}
    write_atomically(path, save(plain, {"flowcut": about.model_dump_json(by_alias=False)}))


def load_model(path: Path) -> tuple[VideoMask2Former, About]:
    """Read a whole model.

    Raises
    ------
    WeightsError
        If the file holds none.
    """
    weights = read_weights(path)
    if weights.about is None:
        raise WeightsError(f"{path}: holds a ResNet alone, which finds no instances; give a trained model")
    model = build_model(weights.about.model, weights.about.num_classes)
    fill(model, weights)
    return model, weights.about


def fill(model: VideoMask2Former, weights: Weights) -> list[str]:
    """Load all weights that fit into a model; return notes on what was left out.

    Classes may differ in number: then the classifier stays as it is, which the notes say.

    Raises
    ------
    WeightsError
        If anything else is missing, left over or of another shape, or if a number is not finite.
    """
    if weights.about is not None:
        stated = (weights.about.model.heads, weights.about.model.attention_points)
        if stated != (model.heads, model.attention_points):
            # Their weights can have the same shapes all the same.
            raise WeightsError(
                f"{weights.path}: weights of another architecture than this model: heads and attention_points are "
                f"{stated}, here ({model.heads}, {model.attention_points})"
            )
    wanted = model.state_dict() if weights.about is not None else model.backbone.state_dict()
    tensors, notes = dict(weights.tensors), []
    other_classes = [
        name
        for name in tensors
        if "class_embed" in name and name in wanted and tensors[name].shape != wanted[name].shape
    ]
    if other_classes:
        notes.append(f"{weights.path.name} knows another number of classes: its classifier is left out")
        for name in other_classes:
            tensors[name] = wanted[name]
    check_tensors(weights.path, tensors, wanted)
    (model if weights.about is not None else model.backbone).load_state_dict(tensors)
    return notes


def check_tensors(path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """See that tensors can take the place of others.

    Raises
    ------
    WeightsError
        If one is missing, left over, of another shape, of no real numbers, or not finite.
    """
    missing = [name for name in wanted if name not in tensors]
    surplus = [name for name in tensors if name not in wanted]
    shapes = [name for name in wanted if name in tensors and tensors[name].shape != wanted[name].shape]
    for names, what in ((missing, "missing"), (surplus, "unknown"), (shapes, "of another shape")):
        if names:
            raise WeightsError(
                f"{path}: weights of another architecture than this model: {len(names)} {what}, "
                f"first {names[0][:120]}; give weights that fit, or change the model parameters"
            )
    for name, value in tensors.items():
        if wanted[name].is_floating_point() and not value.is_floating_point():
            raise WeightsError(f"{path}: holds {str(value.dtype).removeprefix('torch.')} in {name}, no real numbers")
    # In their new type: what float64 can hold, float32 may not.
    broken = [name for name, value in tensors.items() if not value.to(wanted[name].dtype).isfinite().all()]
    if broken:
        raise WeightsError(f"{path}: holds NaN or infinite values, first in {broken[0]}")


@dataclass(frozen=True)
class Conversion:
    """What `convert` did: where the weights came from, how many tensors they are, and of which network and frames."""

    kind: Kind
    tensors: int
    model: ModelParameters
    num_classes: int
    short_side: int | None
    max_side: int | None


def convert(source: Path, target: Path) -> Conversion:
    """Convert weights to the format that the target's name asks for.

    ``.safetensors`` is this package's format, ``.pth`` detectron2's (``{"model": ...}``).

    Raises
    ------
    WeightsError
        If the source cannot be converted.
    InputError
        For a target of another kind, or one that is the source.
    """
    if target.suffix not in (".safetensors", ".pth"):
        raise InputError(f"{target}: give a .safetensors file (this package's) or a .pth file (detectron2's)")
    if os.path.exists(target) and os.path.exists(source) and target.samefile(source):
        raise InputError(f"{target}: is the source itself; give another file with -o")
    weights = read_weights(source)
    if weights.about is None:
        raise WeightsError(f"{source}: holds a ResNet alone; training reads it as it is, run.init={source}")
    model = build_model(weights.about.model, weights.about.num_classes)
    fill(model, weights)  # whatever is written loads
    if target.suffix == ".pth" and (model.heads, model.attention_points) != (_HEADS, _POINTS):
        raise WeightsError(
            f"{source}: has {model.heads} heads and {model.attention_points} points, which files of detectron2 "
            f"do not say; only {_HEADS} and {_POINTS}, those of Mask2Former, can be converted"
        )
    tensors = model.state_dict()
    if target.suffix == ".safetensors":
        write_model(target, tensors, weights.about)
    else:
        renamed, _ = to_detectron2(tensors)
        stream = io.BytesIO()
        torch.save({"model": renamed}, stream)
        write_atomically(target, stream.getvalue())
    about = weights.about
    return Conversion(weights.kind, len(tensors), about.model, about.num_classes, about.short_side, about.max_side)


def write_file(path: Path, content: bytes | memoryview) -> None:
    """Write bytes through to the disk.

    Raises
    ------
    OutputError
        If that fails.
    """
    try:
        with path.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None


def _resnet(path: Path, tensors: Mapping[str, Tensor]) -> Weights:
    """Take the weights of a ResNet, of torchvision's or detectron2's names, with or without ``backbone.``."""
    names = {name.removeprefix("backbone."): value for name, value in tensors.items()}
    if "stem.conv1.weight" in names:
        renamed, unknown = from_detectron2({f"backbone.{name}": value for name, value in names.items()})
        names = {name.removeprefix("backbone."): value for name, value in renamed.items()}
    else:
        known = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.")
        unknown = [name for name in names if not name.startswith(known)]
        names = {
            name: value
            for name, value in names.items()
            if name.startswith(known) and not name.endswith("num_batches_tracked")
        }
    strange = [name for name in unknown if name.removeprefix("backbone.") not in _CLASSIFIER]
    if strange or "layer4.0.conv1.weight" not in names:
        first = strange[0] if strange else next(iter(tensors))
        raise WeightsError(
            f"{path}: neither a Mask2Former of this package or detectron2 nor a ResNet (it holds {first[:120]})"
        )
    return Weights(path, "resnet", names, dropped=tuple(unknown))


def _read_about(path: Path) -> About | None:
    try:
        with safe_open(path, framework="pt") as stream:
            text = (stream.metadata() or {}).get("flowcut")
        if text is None:
            return None
        content = json.loads(text)
        schema = content.get("schema_") if isinstance(content, dict) else None
        if schema != SCHEMA:
            raise WeightsError(f"{path}: its schema is {repr(schema)[:60]}; this version reads {SCHEMA!r}")
        return About.model_validate_json(text)
    except (SafetensorError, ValueError, OSError, RecursionError) as error:
        if isinstance(error, WeightsError):
            raise
        text = one_line(error) if isinstance(error, ValidationError) else str(error)
        raise WeightsError(f"{path}: damaged ({text[:200]})") from None


def _num_classes(tensors: Mapping[str, Tensor], path: Path) -> int:
    name = "query_decoder.class_embed.weight"
    # The last is no class: none.
    if name not in tensors or tensors[name].ndim != 2 or len(tensors[name]) < 2:
        raise WeightsError(
            f"{path}: weights without the classes of their model ({name} is missing or of another shape)"
        )
    return len(tensors[name]) - 1


def _parameters_of(tensors: Mapping[str, Tensor], path: Path) -> ModelParameters:
    """Tell the network from the shapes of its weights; heads and points, which they do not show, are Mask2Former's."""

    def layers(prefix: str) -> int:
        return len({name[len(prefix) :].split(".")[0] for name in tensors if name.startswith(prefix)})

    def shape(name: str) -> torch.Size:
        if tensors[name].ndim != 2:
            raise ValueError(f"{name} has {tensors[name].ndim} dimensions")
        return tensors[name].shape

    try:
        queries, width = shape("query_decoder.query_feat.weight")
        bottleneck = "backbone.layer1.0.conv3.weight" in tensors
        backbone = (
            "resnet50" if bottleneck else "resnet34" if "backbone.layer1.2.conv1.weight" in tensors else "resnet18"
        )
        return ModelParameters.model_validate(
            {
                "backbone": backbone,
                "num_queries": queries,
                "width": width,
                "encoder_layers": layers("pixel_decoder.layers."),
                "decoder_layers": layers("query_decoder.layers."),
                "encoder_hidden": shape("pixel_decoder.layers.0.linear1.weight")[0],
                "decoder_hidden": shape("query_decoder.layers.0.linear1.weight")[0],
                "dropout": 0.0,
            }
        )
    except (KeyError, ValueError) as error:
        reason = str(error) if not isinstance(error, KeyError) else f"{error} is missing"
        if isinstance(error, ValidationError):
            reason = one_line(error)
        raise WeightsError(
            f"{path}: weights of another architecture than Mask2Former with a ResNet ({reason[:160]})"
        ) from None
