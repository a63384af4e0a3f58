"""Settings found by eye, as what reproduces them: a command line, or a few lines of Python."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from flowcut_napari.core.parameters import CutParameters, PresetName

# Two fields that are one option.
_SIZE = ("height", "width")


def closest_preset(parameters: CutParameters) -> tuple[str, dict[str, Any]]:
    """Return the name of the preset that needs the fewest changes, and those changes."""
    best: tuple[str, dict[str, Any]] | None = None
    for name in get_args(PresetName):
        preset = CutParameters.preset(name)
        changes = {field: value for field, value in parameters.model_dump().items() if value != getattr(preset, field)}
        if best is None or len(changes) < len(best[1]):
            best = name, changes
    assert best is not None  # there are presets
    return best


def as_command(
    parameters: CutParameters,
    address: str | Sequence[str],
    out: str = "masks",
    *,
    weights: Mapping[str, Path] | None = None,
    device: str = "auto",
) -> str:
    """Return the command line that makes the masks of videos with these settings, ready for a POSIX shell."""
    preset, changes = closest_preset(parameters)
    addresses = [address] if isinstance(address, str) else list(address)
    words = ["flowcut", "masks", *addresses, "-o", out, "--preset", preset]
    for name, value in changes.items():
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{name.replace('_', '-')}")
        elif name not in _SIZE:
            words += [f"--{name.replace('_', '-')}", _number(value)]
    if set(_SIZE) & set(changes):
        words += ["--size", f"{parameters.height}x{parameters.width}"]
    names = (parameters.features, parameters.flow)
    for name, path in (weights or {}).items():
        if name in names:
            words += ["--weights", f"{name}={path}"]
    if device != "auto":
        words += ["--device", device]
    return shlex.join(words)


def as_python(
    parameters: CutParameters,
    address: str,
    *,
    weights: Mapping[str, Path] | None = None,
    device: str = "auto",
) -> str:
    """Return Python code that makes the masks of a video with these settings."""
    preset, changes = closest_preset(parameters)
    made = f"CutParameters.preset({preset!r})"
    if changes:
        made += f".with_changes({', '.join(f'{name}={_plain(value)!r}' for name, value in changes.items())})"
    names = (parameters.features, parameters.flow)
    given = {name: str(path) for name, path in (weights or {}).items() if name in names}
    options = (f", weights={given!r}" if given else "") + (f", device={device!r}" if device != "auto" else "")
    return (
        "from flowcut_napari.core import CutParameters, open_video, save_masks, segment_video\n\n"
        f"video = open_video({address!r})\n"
        f"parameters = {made}\n"
        f"masks = segment_video(video, parameters{options})\n"
        'save_masks(masks, f"{video.name}.masks.json")\n'
    )


def _plain(value: Any) -> Any:
    # A slider gives 0.30000000000000004.
    return float(f"{value:.10g}") if isinstance(value, float) else value


def _number(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)
