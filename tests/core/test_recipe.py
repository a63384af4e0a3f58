from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from conftest import write_frames
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from flowcut_napari.commands.options import Settings, with_settings
from flowcut_napari.core import CutParameters, load_masks
from flowcut_napari.core.parameters import FlowName, PresetName
from flowcut_napari.core.recipe import as_command, as_python, closest_preset

_SHARE = st.one_of(st.sampled_from([0.0, 0.1 + 0.2, 0.35, 0.7, 1 / 3]), st.integers(0, 99).map(lambda n: n / 100))
# What sliders, spin boxes and files can say.
PARAMETERS = st.builds(
    CutParameters,
    features=st.sampled_from(["dino", "handmade", "vit_small_patch16_224.dino"]),
    flow=st.sampled_from(get_args(FlowName)),
    alpha=_SHARE,
    tau=_SHARE,
    gap=st.integers(1, 10_000),
    max_instances=st.integers(1, 50),
    min_area=st.one_of(_SHARE, st.just(0.005)),
    max_overlap=_SHARE,
    crf=st.booleans(),
    crf_min_iou=_SHARE,
    min_flow=st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1e6).map(lambda value: round(value, 2))),
    height=st.integers(32, 8192),
    width=st.integers(32, 8192),
    flow_updates=st.integers(1, 100),
    eps=st.sampled_from([1e-5, 1e-12, 0.00012, 0.0999]),
)
ADDRESSES = st.sampled_from(["clip.mp4", "my clips/a b", "it's", 'quote".mp4', "$HOME/*.mp4", "root::name", "ünï/視頻"])


def _parsed(command: str) -> tuple[list[str], Path, Settings]:
    """Return what the real options of the command line make of it."""
    program, subcommand, *words = shlex.split(command)
    assert (program, subcommand) == ("flowcut", "masks")
    found: list[tuple[list[str], Path, Settings]] = []

    @with_settings
    def masks(videos: list[str], out: Any = typer.Option(..., "-o", "--out"), *, settings: Settings) -> None:  # noqa: B008
        found.append((videos, Path(out), settings))

    app = typer.Typer()
    app.command()(masks)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return found[0]


def _close(found: CutParameters, wanted: CutParameters) -> bool:
    """Whether they are the same but for 0.1 + 0.2: what a person copies is rounded to ten digits."""
    return all(
        math.isclose(value, getattr(found, name), rel_tol=1e-9)
        if isinstance(value, float)
        else value == getattr(found, name)
        for name, value in wanted.model_dump().items()
    )


@settings(max_examples=80, deadline=None)
@given(parameters=PARAMETERS, address=ADDRESSES)
@example(CutParameters.preset("maskcut").with_changes(min_flow=1234567.25), "clip.mp4")
@example(CutParameters.preset("flowcut").with_changes(tau=0.1234567), "clip.mp4")
def test_the_command_line_stands_for_the_same_parameters(parameters: CutParameters, address: str) -> None:
    videos, out, settings = _parsed(as_command(parameters, address, "my masks"))
    assert (videos, out, settings.device, settings.weights) == ([address], Path("my masks"), "auto", {})
    assert _close(settings.parameters, parameters)


@settings(max_examples=80, deadline=None)
@given(parameters=PARAMETERS, address=ADDRESSES)
def test_the_python_stands_for_the_same_parameters(parameters: CutParameters, address: str) -> None:
    code = as_python(parameters, address)
    names: dict[str, Any] = {}
    # Up to the parameters: the rest needs the video.
    lines = code.splitlines()
    exec("\n".join(line for line in lines if line.startswith(("from ", "parameters ="))), names)
    assert _close(names["parameters"], parameters)
    assert f"open_video({address!r})" in code
    compile(code, "recipe", "exec")


@pytest.mark.parametrize("name", get_args(PresetName))
def test_a_preset_is_its_name_and_nothing_else(name: PresetName) -> None:
    preset = CutParameters.preset(name)
    assert closest_preset(preset) == (name, {})
    assert as_command(preset, "clip") == f"flowcut masks clip -o masks --preset {name}"
    assert f"parameters = CutParameters.preset({name!r})\n" in as_python(preset, "clip")


def test_only_what_departs_from_the_closest_preset_is_said() -> None:
    moved = CutParameters.preset("handmade").with_changes(tau=0.1 + 0.2, crf=False, height=180)
    assert as_command(moved, "clip") == (
        "flowcut masks clip -o masks --preset handmade --tau 0.3 --no-crf --size 180x640"
    )
    assert ".with_changes(tau=0.3, crf=False, height=180)" in as_python(moved, "clip")


def test_weights_and_device_are_named_where_they_play_a_part() -> None:
    weights = {"raft-large": Path("my weights/raft.pth"), "raft-small": Path("small.pth"), "dino": Path("/w/dino.pth")}
    _, _, settings = _parsed(as_command(CutParameters(), "clip", weights=weights, device="cuda:1"))
    assert settings.weights == {"raft-large": Path("my weights/raft.pth"), "dino": Path("/w/dino.pth")}
    assert settings.device == "cuda:1"
    code = as_python(CutParameters(), "clip", weights=weights, device="cuda:1")
    assert "device='cuda:1'" in code
    assert "raft-small" not in code


def test_the_copied_python_runs_and_writes_masks(
    sample_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.chdir(tmp_path)
    folder = write_frames(tmp_path / "clip", 3)
    parameters = CutParameters.preset("handmade").with_changes(height=64, width=96, gap=1, crf=False)
    exec(as_python(parameters, str(folder)), {})
    assert load_masks(tmp_path / "clip.masks.json").parameters == parameters
