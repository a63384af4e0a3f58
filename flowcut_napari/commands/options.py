"""The options that commands share, made from `CutParameters`, and what they stand for."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import typer
from pydantic import ValidationError

from flowcut_napari.core.cache import expand_home
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.parameters import CutParameters, FlowName, PresetName, one_line

_METHOD = "Method"
_MODELS = "Models and machine"
# Field of CutParameters: panel of the help. The text of an option is the field's own.
_FIELDS = {
    "alpha": _METHOD,
    "tau": _METHOD,
    "gap": _METHOD,
    "both_ways": _METHOD,
    "max_instances": _METHOD,
    "min_area": _METHOD,
    "max_overlap": _METHOD,
    "max_eigenvalue": _METHOD,
    "crf": _METHOD,
    "crf_min_iou": _METHOD,
    "min_flow": _METHOD,
    "eps": _METHOD,
    "features": _MODELS,
    "flow": _MODELS,
    "flow_updates": _MODELS,
}


DEFAULT_PRESET = "flowcut"


@dataclass(frozen=True)
class Settings:
    """What the shared options of a command line say; `changes` are those of them that depart from the preset."""

    parameters: CutParameters
    weights: dict[str, Path]
    device: str
    changes: dict[str, Any] = field(default_factory=dict)
    preset: str = DEFAULT_PRESET


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the shared options; it receives them as its argument ``settings``."""

    @functools.wraps(command)
    def wrapper(**values: Any) -> Any:
        given = {name: values.pop(name) for name in (*_FIELDS, "size", "preset", "weights", "device")}
        return command(settings=_settings(**given), **values)

    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "settings"]
    shared = _shared_options()
    signature = inspect.Signature([p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *shared)])
    wrapper.__signature__ = signature  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return wrapper


def _shared_options() -> list[inspect.Parameter]:
    options = [
        _option(
            "preset", str, f"values to start from: {', '.join(get_args(PresetName))}", _METHOD, default=DEFAULT_PRESET
        )
    ]
    for name, panel in _FIELDS.items():
        field = CutParameters.model_fields[name]
        text = field.description or ""
        if field.annotation is bool:
            flag = name.replace("_", "-")
            options.append(_option(name, bool | None, text, panel, names=(f"--{flag}/--no-{flag}",)))
        elif name == "flow":
            options.append(_option(name, str | None, f"optical flow: {', '.join(get_args(FlowName))}", panel))
        else:
            options.append(_option(name, _annotation(field.annotation), text, panel))
    options.append(_option("size", str | None, "size frames are worked at, HEIGHTxWIDTH, landscape (360x640)", _METHOD))
    options.append(
        _option(
            "weights",
            list[str] | None,
            "weights file of a feature or flow model, NAME=PATH; may be repeated",
            _MODELS,
            metavar="NAME=PATH",
        )
    )
    options.append(_option("device", str, "auto, cpu, cuda, cuda:N or mps", _MODELS, default="auto"))
    return options


def _annotation(kind: Any) -> Any:
    return kind | None


def _option(
    name: str,
    annotation: Any,
    text: str,
    panel: str,
    default: Any = None,
    names: tuple[str, ...] = (),
    metavar: str | None = None,
) -> inspect.Parameter:
    flags = names or (f"--{name.replace('_', '-')}",)
    info = typer.Option(
        default, *flags, help=text, rich_help_panel=panel, metavar=metavar, show_default=default is not None
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=info, annotation=annotation)


def _settings(*, preset: str, size: str | None, weights: list[str] | None, device: str, **fields: Any) -> Settings:
    changes = {name: value for name, value in fields.items() if value is not None}
    if size is not None:
        changes |= parse_size(size)
    try:
        parameters = CutParameters.preset(preset).with_changes(**changes)
    except ValidationError as error:
        raise InputError(one_line(error)) from None
    return Settings(parameters, parse_weights(weights or []), device, changes, preset)


def parse_weights(entries: list[str]) -> dict[str, Path]:
    """Turn ``NAME=PATH`` entries into a mapping.

    Raises
    ------
    InputError
        For an entry of another form.
    """
    weights = {}
    for entry in entries:
        name, separator, path = entry.partition("=")
        if not separator or not name or not path:
            raise InputError(f"--weights {entry}: give NAME=PATH, such as raft-small=raft_small.pth")
        if name.strip() in weights:
            raise InputError(f"--weights {entry}: {name.strip()} was given a file already")
        weights[name.strip()] = expand_home(path.strip())
    return weights


def parse_size(text: str) -> dict[str, int]:
    """Turn ``HEIGHTxWIDTH`` into the two fields of `CutParameters`.

    Raises
    ------
    InputError
        For anything else.
    """
    height, separator, width = text.lower().partition("x")
    if not separator or not all(re.fullmatch(r" *[0-9]+ *", side) for side in (height, width)):
        raise InputError(f"--size {text}: give HEIGHTxWIDTH, such as 360x640")
    return {"height": int(height), "width": int(width)}
