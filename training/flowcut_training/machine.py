"""What this Python can train with: devices and their memory, versions, configurations and what their parameters are."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

import psutil
import torch
import torchvision

from flowcut_napari import __version__
from flowcut_training.config import CHANGEABLE, TrainingConfig, config_names, load_config
from flowcut_training.predict.memory import free_memory

_GIB = 1 << 30


def list_devices() -> list[dict[str, Any]]:
    """Return the devices, GPUs first: ``name`` as options have it, ``title``, ``total_gib`` and ``free_gib``."""
    devices = []
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.device("cuda", number)
        total = torch.cuda.get_device_properties(device).total_memory
        devices.append(_device(str(device), torch.cuda.get_device_name(device), total))
    if torch.backends.mps.is_available():
        devices.append(_device("mps", "Apple GPU", torch.mps.recommended_max_memory()))
    title = f"CPU, {os.cpu_count()} cores"
    return [*devices, _device("cpu", title, psutil.virtual_memory().total)]


def _device(name: str, title: str, total: int) -> dict[str, Any]:
    free = free_memory(torch.device(name))
    return {
        "name": name,
        "title": title,
        "total_gib": total / _GIB,
        "free_gib": None if free is None else free / _GIB,
    }


def versions() -> dict[str, str | None]:
    """Return what this Python has installed."""
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "flowcut_napari": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "cuda": torch.version.cuda,
    }


def describe_parameters() -> list[dict[str, Any]]:
    """Return all parameters of training, as forms need them.

    Each has its ``name``, ``description``, ``values`` by configuration, ``kind`` (``int``, ``float``, ``bool``,
    ``text``, ``choice`` or ``list``), ``choices``, ``least`` and ``most`` (None without a bound), ``optional``, and
    ``changeable``: whether a run that goes on may have another.
    """
    configs = {name: load_config(name) for name in config_names()}
    schema = TrainingConfig.model_json_schema()
    found = []
    for section, reference in schema["properties"].items():
        properties = schema["$defs"][_section_name(reference)]["properties"]
        for short, about in properties.items():
            name = f"{section}.{short}"
            found.append(
                {
                    "name": name,
                    "description": about["description"],
                    "values": {
                        key: _plain(getattr(getattr(config, section), short)) for key, config in configs.items()
                    },
                    **_kind(about),
                    "changeable": name in CHANGEABLE,
                }
            )
    return found


def _section_name(reference: dict[str, Any]) -> str:
    target = reference.get("$ref") or reference["allOf"][0]["$ref"]
    return str(target).rsplit("/", 1)[-1]


def _kind(about: dict[str, Any]) -> dict[str, Any]:
    """Return kind, choices and bounds of a field from its JSON schema."""
    forms = [form for form in about.get("anyOf", [about]) if form.get("type") != "null"]
    form = forms[0]
    kinds = {"integer": "int", "number": "float", "boolean": "bool", "string": "text", "array": "list"}
    kind = "choice" if "enum" in form else kinds[form["type"]]
    return {
        "kind": kind,
        "choices": form.get("enum", []),
        "least": form.get("minimum", form.get("exclusiveMinimum")),
        "most": form.get("maximum", form.get("exclusiveMaximum")),
        "optional": "anyOf" in about,
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
