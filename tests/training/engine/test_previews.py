"""Pictures of what a model in training sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_runs import run, same, write_clips
from PIL import Image

from flowcut_training.engine.events import read_events


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"))


def previews(folder: Path) -> list[tuple[int, bool, str]]:
    events = [event for event in read_events(folder) if event["event"] == "preview"]
    return [(event["step"], event["labels"], event["path"]) for event in events]


def test_labels_come_first_then_a_picture_every_so_often_and_of_the_last_step(dataset: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path / "run", "steps=5", "preview_every=2", "preview_clips=2")
    assert previews(tmp_path / "run") == [
        (0, True, "previews/labels.jpg"),
        *((step, False, f"previews/step-{step:08d}.jpg") for step in (2, 4, 5)),
    ]
    sizes = {Image.open(tmp_path / "run" / path).size for _, _, path in previews(tmp_path / "run")}
    assert len(sizes) == 1


def test_the_labels_are_drawn_where_they_are(dataset: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path / "run", "steps=1", "preview_clips=1")
    picture = np.asarray(Image.open(tmp_path / "run" / "previews/labels.jpg").convert("RGB"), dtype=float)
    frame = Image.open(next((dataset / "frames").rglob("*.png"), next((dataset / "frames").rglob("*.jpg"), None)))
    width = round(120 * frame.width / frame.height)
    plain = np.asarray(frame.convert("RGB").resize((width, 120), Image.Resampling.LANCZOS), dtype=float)
    changed = np.abs(picture[:, :width] - plain).max(axis=2) > 60
    # The masks of the first clip tint some of its frame, not all of it.
    assert 0.01 < changed.mean() < 0.6


def test_drawing_changes_nothing_that_is_learnt(dataset: Path, tmp_path: Path) -> None:
    drawn = run(dataset, tmp_path / "drawn", "steps=4", "preview_every=1", "dropout=0.3").checkpoint
    assert same(drawn, run(dataset, tmp_path / "plain", "steps=4", "preview_every=0", "dropout=0.3").checkpoint)
    assert previews(tmp_path / "plain") == []
    assert not (tmp_path / "plain" / "previews").exists()


def test_a_run_that_goes_on_draws_the_labels_once(dataset: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path / "run", "steps=2", "preview_every=1")
    run(dataset, tmp_path / "run", "steps=3", "preview_every=1", resume=True)
    assert [labels for _, labels, _ in previews(tmp_path / "run")] == [True, False, False, False]


def test_clips_of_the_evaluation_are_drawn_if_there_is_one(
    dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = write_clips(tmp_path_factory.mktemp("other"), count=2)
    folder = tmp_path_factory.mktemp("runs") / "run"
    run(dataset, folder, "steps=1", f"evaluate={other}", "evaluate_every=100")
    # The other dataset has one clip of two frames.
    width = Image.open(folder / "previews/labels.jpg").width
    run(dataset, folder.with_name("more"), "steps=1")
    assert width < Image.open(folder.with_name("more") / "previews/labels.jpg").width


def test_a_picture_that_cannot_be_written_is_said_and_costs_no_step(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "previews").write_text("in the way")
    outcome = run(dataset, folder, "steps=2", "preview_every=1")
    assert (outcome.end, outcome.step) == ("done", 2)
    failed = [event for event in read_events(folder) if event["event"] == "preview_failed"]
    assert [event["step"] for event in failed] == [0, 1, 2]
    assert "cannot be written" in failed[0]["reason"]
