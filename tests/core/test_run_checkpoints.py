"""Checkpoints of a run, read without torch: the same list and the same best one as the training code finds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flowcut_napari.core.errors import DamagedFileError, InputError
from flowcut_napari.core.run_checkpoints import best_checkpoint, list_checkpoints
from flowcut_training.engine import checkpoints as trained


def put(run: Path, step: int, score: float | None = None, evaluation: str | None = None) -> Path:
    """Write the state of a checkpoint as the training code does."""
    folder = run / "checkpoints" / f"step-{step:08d}"
    folder.mkdir(parents=True)
    state = trained.State(step=step, world=1, dataset="x", score=score, evaluation=evaluation)
    (folder / "state.json").write_text(state.model_dump_json(indent=1))
    return folder


@pytest.mark.parametrize(
    "scores",
    [
        [None, None],
        [0.2, 0.7, 0.5],
        [0.7, None, 0.7, None],
        [(0.9, "old"), (0.3, "new"), (0.2, "new")],
        [0.0],
        [(0.9, "a"), None, (0.1, "b"), None],
    ],
)
def test_the_best_is_the_one_that_the_command_takes(tmp_path: Path, scores: list[Any]) -> None:
    for place, score in enumerate(scores):
        value, evaluation = score if isinstance(score, tuple) else (score, "e" if score is not None else None)
        put(tmp_path, 10 * (place + 1), value, evaluation)
    theirs = trained.list_checkpoints(tmp_path)
    ours = list_checkpoints(tmp_path)
    assert [(item.folder, item.step, item.score) for item in ours] == [
        (item.folder, item.state.step, item.state.score) for item in theirs
    ]
    best = trained.best_checkpoint(theirs) or theirs[-1]
    assert best_checkpoint(ours).folder == best.folder


def test_steps_are_in_their_order_and_unfinished_folders_are_none(tmp_path: Path) -> None:
    for step in (100, 20, 123456789):
        put(tmp_path, step)
    (tmp_path / "checkpoints" / ".step-00000300.part").mkdir()
    (tmp_path / "checkpoints" / "step-7").mkdir()
    (tmp_path / "checkpoints" / "step-00000500").write_text("a file")
    assert [item.step for item in list_checkpoints(tmp_path)] == [20, 100, 123456789]


def test_a_folder_without_checkpoints_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such run"):
        list_checkpoints(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no checkpoint yet"):
        list_checkpoints(tmp_path)
    with pytest.raises(InputError, match=r"^a\\x00b: no such run$"):
        list_checkpoints(Path("a\0b"))


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"schema_": "flowcut.checkpoint/1", "step": 11}', '{"schema_": "other/2", "step": 10}']
    + [json.dumps({"schema_": trained.SCHEMA, "step": 10, "score": score}) for score in ("high", True, float("nan"))]
    + ["[" * 100_000],
)
def test_a_damaged_state_is_named_in_one_line(tmp_path: Path, content: str) -> None:
    path = put(tmp_path, 10) / "state.json"
    path.write_text(content)
    with pytest.raises(DamagedFileError) as caught:
        list_checkpoints(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_it_needs_no_training_code(tmp_path: Path) -> None:
    put(tmp_path, 10, 0.5, "e")
    code = (
        "import sys; from pathlib import Path; from flowcut_napari.core.run_checkpoints import list_checkpoints;"
        f"assert len(list_checkpoints(Path({str(tmp_path)!r}))) == 1;"
        "assert not any(name.split('.')[0] in ('torch', 'flowcut_training') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
