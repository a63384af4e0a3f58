"""What holds for the project as a whole: who imports whom, what is installed, what the README promises."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from made_masks import of_masks

from flowcut_napari.core import load_masks, save_masks

HEAVY = ("torch", "torchvision", "timm", "cv2", "scipy", "napari", "qtpy", "transformers")


def _modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(json.loads(run.stdout.splitlines()[-1]))


def test_help_needs_nothing_heavy() -> None:
    code = "import contextlib, io\nfrom flowcut_napari.cli import main\n"
    code += "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main(['masks', '--help'])"
    assert _modules_after(code).isdisjoint(HEAVY)


def test_the_core_knows_neither_qt_nor_napari_and_torch_only_when_used() -> None:
    modules = _modules_after(
        "import flowcut_napari.core.bench\n"
        "from flowcut_napari import core\nfor name in core.__all__: getattr(core, name)"
    )
    for name in ("napari", "qtpy", "superqt", "magicgui", "PySide6", "torch", "torchvision", "timm"):
        assert name not in modules


def test_the_computing_processes_know_neither_qt_nor_napari() -> None:
    modules = ("child", "cutter", "describer", "messages", "pipe", "whole_run")
    loaded = _modules_after("\n".join(f"import flowcut_napari.live.{name}" for name in modules))
    assert loaded.isdisjoint({"napari", "qtpy", "superqt", "magicgui", "PySide6", "torch", "torchvision", "timm"})


@pytest.mark.parametrize("module", ["widgets.panel", "widgets.menu", "viewer.reader", "viewer.writer"])
def test_what_a_window_imports_does_not_import_torch(module: str) -> None:
    pytest.importorskip("qtpy.QtWidgets", reason="no Qt binding can be imported", exc_type=ImportError)
    # It would take seconds before anything is seen.
    loaded = _modules_after(f"import flowcut_napari.{module}")
    assert f"flowcut_napari.{module}" in loaded
    assert loaded.isdisjoint({"torch", "torchvision", "timm", "transformers"})


def test_every_public_name_is_there() -> None:
    from flowcut_napari import core

    listed = {name for names in core._HOME.values() for name in names}
    assert listed == set(core.__all__)
    for name in core.__all__:
        assert getattr(core, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        core.nothing  # noqa: B018


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from the source distribution: what an index would serve."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(REPOSITORY)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_two_packages_the_manifest_and_the_clip(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"flowcut_napari", "flowcut_training"}
    assert "flowcut_napari/napari.yaml" in names
    assert "flowcut_napari/py.typed" in names
    assert "flowcut_training/py.typed" in names
    assert sum(name.startswith("flowcut_napari/sample_data/JPEGImages/toys/") for name in names) == 24
    assert "flowcut_napari/sample_data/instances.json" in names
    (entry_points,) = [name for name in names if name.endswith("entry_points.txt")]
    assert "flowcut-napari = flowcut_napari:napari.yaml" in wheel.read(entry_points).decode()
    assert sum(item.file_size for item in wheel.infolist()) < 6_000_000


def test_the_wheel_finds_its_clip_where_it_is_installed(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from flowcut_napari.core import sample\nprint(sample.sample_folder())"
    )
    run = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.stdout.strip() == str(tmp_path / "flowcut_napari" / "sample_data"), run.stderr


def test_the_manifest_is_the_one_at_the_root_and_names_what_exists() -> None:
    import importlib

    assert (REPOSITORY / "napari.yaml").resolve() == REPOSITORY / "flowcut_napari" / "napari.yaml"
    text = (REPOSITORY / "napari.yaml").read_text()
    assert text.startswith("name: flowcut-napari\n")
    for module, name in re.findall(r"python_name: ([\w.]+):(\w+)", text):
        assert callable(getattr(importlib.import_module(module), name))


def test_the_sample_layers_fit_each_other() -> None:
    from flowcut_napari.viewer.sample_data import open_toys

    (frames, image, kind), (labels, _, other_kind) = open_toys()
    assert (kind, other_kind) == ("image", "labels")
    assert frames.shape == (24, 360, 640, 3)
    assert labels.shape == (24, 360, 640)
    assert image["rgb"]


def test_the_python_of_the_readme_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    run = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], capture_output=True, text=True, cwd=REPOSITORY, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert len(re.findall(r"^\d+ (?:max_instances|weak) \[\(", run.stdout, re.MULTILINE)) == 3


def test_the_python_of_the_curation_page_runs(tmp_path: Path) -> None:
    halves = [np.zeros((360, 640), dtype=bool) for _ in range(2)]
    halves[0][:, :300] = True
    halves[1][:, 320:] = True
    save_masks(
        of_masks([dict(enumerate(halves, start=1))] * 24, "toys", (360, 640)), tmp_path / "masks/toys.masks.json"
    )
    (block,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "curation.md").read_text(), re.DOTALL)
    run = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    masks = load_masks(tmp_path / "masks" / "toys.masks.json")
    assert len(masks.decisions.made) == 4
    assert masks.frames[5].instances[0].origin == "edited"


def test_the_commands_of_the_readme_exist() -> None:
    text = (REPOSITORY / "README.md").read_text()
    commands = set(re.findall(r"^flowcut ([a-z-]+)", text, re.MULTILINE))
    stages = {"masks", "score", "sweep", "batch", "curate", "train", "predict", "evaluate", "gui"}
    assert commands == {*stages, "convert-checkpoint", "weights", "bench"}
    for command in commands:
        run = subprocess.run([sys.executable, "-m", "flowcut_napari.cli", command, "--help"], capture_output=True)
        assert run.returncode == 0
    options = set(re.findall(r"(--[a-z][a-z-]+)", text)) - {"--nproc-per-node"}  # torchrun's
    pages = [
        subprocess.run(
            [sys.executable, "-m", "flowcut_napari.cli", *command.split(), "--help"], capture_output=True, text=True
        )
        for command in (*sorted(stages - {"evaluate", "gui"}), "evaluate ytvis", "evaluate davis")
    ]
    assert {option for option in options if not any(option in page.stdout for page in pages)} == set()


def test_the_table_of_training_parameters_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / "docs")
    import make_parameters

    assert make_parameters.page_with(make_parameters.table()) == make_parameters.PAGE.read_text(encoding="utf-8")


def test_results_and_pictures_that_the_readme_names_are_there() -> None:
    text = (REPOSITORY / "README.md").read_text()
    for target in re.findall(r"\]\(((?!http)[^)#]+)\)", text):
        assert (REPOSITORY / target).is_file(), target
