"""What a training run is: one pydantic model for the yaml file, the command line, the window and the run's folder."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.parameters import one_line
from flowcut_training.data.parameters import DataParameters
from flowcut_training.loss.parameters import LossParameters
from flowcut_training.model.backbone import BackboneName
from flowcut_training.precision import Precision

CONFIGS = Path(__file__).parent / "configs"
# Parameters that name files and folders of data.
_PATHS = ("stills", "stills_images", "evaluate")
_FROZEN = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
# What may change when a run goes on: how long it is, how it is worked on and looked at, and where its stills lie.
CHANGEABLE = (
    *("optimizer.steps", "optimizer.accumulation", "data.workers", "data.skip_broken"),
    *("data.stills", "data.stills_images", "run.checkpoint_every", "run.keep", "run.log_every"),
    *("run.evaluate", "run.evaluate_every", "run.evaluate_clips", "run.tensorboard"),
    *("run.preview_every", "run.preview_clips"),
)


class ModelParameters(BaseModel):
    """The network; the defaults are Mask2Former's with a ResNet-50."""

    model_config = _FROZEN

    backbone: BackboneName = Field("resnet50", description="resnet18, resnet34 or resnet50")
    num_queries: int = Field(100, ge=1, le=1000, description="queries, the most instances of a clip")
    width: int = Field(256, ge=32, le=1024, multiple_of=32, description="channels behind the backbone")
    encoder_layers: int = Field(6, ge=1, le=24, description="layers of the pixel decoder")
    decoder_layers: int = Field(9, ge=1, le=24, description="layers of the query decoder")
    heads: int = Field(8, ge=1, le=64, description="attention heads; they share out the width")
    attention_points: int = Field(
        4, ge=1, le=16, description="points of the deformable attention, of each head and level"
    )
    encoder_hidden: int = Field(1024, ge=1, le=16384, description="hidden width in the pixel decoder")
    decoder_hidden: int = Field(2048, ge=1, le=16384, description="hidden width in the query decoder")
    dropout: float = Field(0.3, ge=0, lt=1, description="dropout in the pixel decoder's encoder")

    @model_validator(mode="after")
    def _shares(self) -> ModelParameters:
        # Positions share the channels out among y and x, and each of them among sin and cos.
        if self.width % self.heads or self.width % 4:
            raise ValueError(f"width is {self.width}: it must be a multiple of heads, {self.heads}")
        return self


class OptimizerParameters(BaseModel):
    """AdamW, its schedule, and how a batch is worked on; the defaults are the paper's (section 4.1)."""

    model_config = _FROZEN

    steps: int = Field(5000, ge=1, le=10**9, description="optimizer steps")
    batch: int = Field(4, ge=1, le=10_000, description="clips of a step, over all devices")
    accumulation: int = Field(1, ge=1, description="parts that a device works on one after the other, to save memory")
    lr: float = Field(1e-6, gt=0, le=1000, description="learning rate")
    backbone_factor: float = Field(
        0.1, ge=0, le=1000, description="learning rate of the backbone, as a part of the others'"
    )
    weight_decay: float = Field(0.05, ge=0, le=1000, description="weight decay; 0 for norms and embeddings in any case")
    clip_norm: float = Field(0.01, gt=0, description="largest norm of the gradient of the whole model")
    warmup_steps: int = Field(10, ge=0, description="steps of warm-up")
    warmup_factor: float = Field(1.0, gt=0, le=1, description="learning rate at the start of the warm-up, as a part")
    milestones: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = Field(
        (), description="steps after which the learning rate is lowered"
    )
    decay: float = Field(0.1, gt=0, le=1, description="factor of the learning rate at each milestone")
    precision: Precision = Field(
        "auto", description="autocast; auto is bf16 on a GPU that has it and float32 elsewhere"
    )
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the moving average of weights, such as 0.999; 0 is none")

    def clips_of_part(self, world: int) -> int:
        """Return how many clips a process works on at once.

        Raises
        ------
        InputError
            If the batch cannot be shared out among so many processes.
        """
        pieces = world * self.accumulation
        if self.batch % pieces:
            raise InputError(
                f"optimizer.batch is {self.batch}: it cannot be shared out among {world} process(es) "
                f"with optimizer.accumulation {self.accumulation}; give a multiple of {pieces}"
            )
        return self.batch // pieces


class RunParameters(BaseModel):
    """Where a run starts, what it leaves and how often."""

    model_config = _FROZEN

    seed: int = Field(0, ge=0, lt=2**63, description="of the weights, the samples and the points of the loss")
    init: str = Field(
        "cutler", min_length=1, description="cutler, dino-resnet50, scratch, or a file of a model or a ResNet"
    )
    checkpoint_every: int = Field(500, ge=1, description="steps from one checkpoint to the next")
    keep: int = Field(3, ge=1, description="checkpoints that are kept, beside the best")
    log_every: int = Field(20, ge=1, description="steps from one line of metrics to the next")
    evaluate: str | None = Field(None, min_length=1, description="dataset on which the model is evaluated now and then")
    evaluate_every: int = Field(500, ge=1, description="steps from one evaluation to the next")
    evaluate_clips: int = Field(50, ge=1, description="clips of it that are evaluated, spread evenly")
    preview_every: int = Field(500, ge=0, description="steps from one picture of predictions to the next; 0 for none")
    preview_clips: int = Field(3, ge=1, le=20, description="clips in it, always the same, spread evenly")
    tensorboard: bool = Field(False, description="also write TensorBoard's files, if it is installed")


class TrainingConfig(BaseModel):
    """All of a training run but its data and its folder."""

    model_config = _FROZEN

    model: ModelParameters = ModelParameters()
    data: DataParameters = DataParameters()
    loss: LossParameters = LossParameters()
    optimizer: OptimizerParameters = OptimizerParameters()
    run: RunParameters = RunParameters()

    def to_yaml(self) -> str:
        """Return the whole configuration as yaml; `load_config` reads it back as it is."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Read a configuration and change some of it.

    Parameters
    ----------
    source : str or path
        ``paper``, ``davis``, ``tiny``, or a yaml file; what it leaves out is as in ``paper``.
    overrides : sequence of str
        ``SECTION.NAME=VALUE``, or ``NAME=VALUE``: names are not in two sections.

    Raises
    ------
    InputError
        In one line, for a file that cannot be read, an unknown name (with the nearest known one) or a wrong value.
    """
    content, where = _read(source)
    for section, values in content.items():
        for name in values:
            _known(f"{section}.{name}", where)
    config = _validated(content, f"{where}: ")
    for text in overrides:
        name, separator, value = text.partition("=")
        if not separator or not name.strip():
            raise InputError(f"{text[:80]!r}: give NAME=VALUE, such as optimizer.lr=1e-5")
        section, name = _known(name.strip(), "").split(".")
        content.setdefault(section, {})[name] = _parse(value, f"{section}.{name}")
    return _validated(content, "") if overrides else config


def _validated(content: Mapping[str, Any], where: str) -> TrainingConfig:
    try:
        return TrainingConfig.model_validate({section: _expanded(values) for section, values in content.items()})
    except ValidationError as error:
        # What is wrong with a section as a whole: pydantic would show all that is in it.
        wrong = [item["msg"] for item in error.errors() if item["type"] == "value_error" and len(item["loc"]) == 1]
        text = "; ".join(message.removeprefix("Value error, ") for message in wrong)
        raise InputError(where + (text or one_line(error))) from None


def _expanded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Make paths whole: a run may go on from another folder, and no shell reads ``~`` behind an equals sign."""

    def whole(name: str, value: Any) -> Any:
        is_path = name in _PATHS and isinstance(value, str) and value
        return os.path.abspath(os.path.expanduser(value)) if is_path else value

    return {name: whole(name, value) for name, value in values.items()}


def config_names() -> list[str]:
    """Return the names of the bundled configurations."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def parameter_names() -> list[str]:
    """Return all names of parameters, ``section.name``."""
    return list(_names())


def changed(before: TrainingConfig, after: TrainingConfig) -> list[str]:
    """Return the names of all parameters whose values differ."""
    first, second = before.model_dump(), after.model_dump()
    return [
        f"{section}.{name}"
        for section in first
        for name in first[section]
        if first[section][name] != second[section][name]
    ]


def _names() -> Iterator[str]:
    for section, values in TrainingConfig().model_dump().items():
        yield from (f"{section}.{name}" for name in values)


def _known(name: str, where: str) -> str:
    names = parameter_names()
    if name in names:
        return name
    short = {full.split(".")[1]: full for full in names}
    if name in short:
        return short[name]
    own = name.split(".")[-1]
    # The right name in the wrong section is nearer than any other in that section.
    near = [own] if own in short else difflib.get_close_matches(name, [*names, *short], n=1, cutoff=0.5)
    hint = f"; did you mean {short.get(near[0], near[0])}?" if near else "; docs/training.md lists all of them"
    raise InputError(f"{where + ': ' if where else ''}unknown parameter {name[:80]!r}{hint}")


def _read(source: str | Path) -> tuple[dict[str, dict[str, Any]], str]:
    path = CONFIGS / f"{source}.yaml" if str(source) in config_names() else Path(source)
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"--config {str(source)[:200]}: give one of {', '.join(config_names())}, or a yaml file")
    # Not so of a pipe or a device, which has no end.
    if not os.path.isfile(path):
        raise InputError(f"{str(path)[:200]}: no such file")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as yaml ({' '.join(str(error).split())[:200]})") from None
    if content is None:
        content = {}
    sections = TrainingConfig.model_fields
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: holds no sections; there are {', '.join(sections)}")
    for section, values in content.items():
        if section not in sections:
            near = difflib.get_close_matches(str(section), list(sections), n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sections)}"
            raise InputError(f"{path}: unknown section {str(section)[:80]!r}; {hint}")
        if not isinstance(values, Mapping):
            raise InputError(f"{path}: {section} holds no names and values")
    return {section: dict(values) for section, values in content.items()}, str(path)


def _parse(text: str, name: str) -> Any:
    section, short = name.split(".")
    kind = type(getattr(TrainingConfig(), section)).model_fields[short].annotation
    # A path may look like a number, or hold what means something in yaml.
    if kind in (str, str | None) and text.strip() not in ("", "~", "null"):
        return text
    if isinstance(getattr(getattr(TrainingConfig(), section), short), tuple) and not text.strip().startswith("["):
        text = f"[{text}]"
    try:
        return yaml.load(text, Loader=_Loader) if text.strip() else None  # a SafeLoader
    except (ValueError, yaml.YAMLError, RecursionError):
        raise InputError(f"{name}={text[:80]!r}: no value that yaml knows") from None


class _Loader(yaml.SafeLoader):
    """Reads 1e-6 as the number that everybody means; yaml 1.1 takes it for a text for want of a point.

    Refused are a name that is given twice, of which yaml takes the last, and aliases: a few lines of them can stand
    for billions of values.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="there is an alias, *name", problem_mark=self.peek_event().start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in names:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} is given twice", problem_mark=key.start_mark)
            names.add(str(key.value))
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+"),
    list("-+.0123456789"),
)
