from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import CHEAP
from PIL import Image

SWEEP = tuple(word for word in CHEAP if word != "--no-crf")


def _sweep(server: Any, out: Path, *more: Any) -> Any:
    return server.run(["sweep", "-o", out, *SWEEP, "--no-crf", *more])


def test_a_sweep_prints_its_map_and_the_best_as_a_command(server: Any, clip: Path, out: Path) -> None:
    run = _sweep(server, out, clip, "--vary", "alpha=0,0.5", "--vary", "tau=0.3,0.6")
    run.succeeds_silently()
    assert "eigengap: alpha \\ tau" in run.out
    assert f"flowcut masks {clip} -o masks --preset handmade" in run.out
    assert {path.name for path in out.iterdir()} == {"cells.jsonl", "sweep.csv", "overall.csv", "heatmap.png"}
    found = json.loads(_sweep(server, out, clip, "--vary", "alpha=0,0.5", "--vary", "tau=0.3,0.6", "--json").out)
    assert [row["tau"] for row in found["stats"]] == [0.3, 0.6, 0.3, 0.6]
    assert set(found["best"][0]["setting"]) == {"alpha", "tau"}


def test_the_best_of_all_videos_is_a_command_for_all_of_them(
    server: Any, tmp_path: Path, clip: Path, out: Path
) -> None:
    second = tmp_path / "it's another"
    clip.rename(tmp_path / "one")
    shutil.copytree(tmp_path / "one", second)
    run = _sweep(server, out, tmp_path / "one", second, "--vary", "alpha=0,0.5")
    run.succeeds_silently()
    command = shlex.split(run.out.partition("all videos: best")[2].splitlines()[1])
    assert command[:5] == ["flowcut", "masks", str(tmp_path / "one"), str(second), "-o"]


def test_presets_stand_side_by_side_with_the_features_that_are_asked_for(server: Any, clip: Path, out: Path) -> None:
    chosen = ["--features", "handmade", "--flow", "dis", "--no-crf", "--workers", "1", "--size", "64x96", "--gap", "1"]
    run = server.run(["sweep", clip, "-o", out, "--presets", *chosen, "--json"])
    assert run.code == 0, run.err
    assert [row["preset"] for row in json.loads(run.out)["stats"]] == [
        *("tokencut", "maskcut", "locate", "flowcut", "handmade")
    ]
    # What the best is chosen by is in the table.
    table = server.run(["sweep", clip, "-o", out, "--presets", *chosen, "--measure", "weakest_iou"])
    assert "weakest_iou" in table.out.partition("best weakest_iou")[0]


def test_what_contradicts_itself_is_one_line(server: Any, clip: Path, out: Path) -> None:
    server.run(["sweep", clip, "-o", out, "--presets", "--preset", "handmade"]).fails_with("--presets", "handmade")
    _sweep(server, out, clip, "--vary", "alpha=0,1", "--alpha", "0.5").fails_with("alpha is given and varied")
    assert not out.exists()


def test_what_is_given_is_not_varied_unless_that_is_asked_for(server: Any, clip: Path, out: Path) -> None:
    run = server.run(["sweep", clip, "-o", out, *SWEEP, "--no-crf", "--alpha", "0.5", "--json"])
    assert run.code == 0, run.err
    assert list(json.loads(run.out)["axes"]) == ["tau"]
    both = ["--alpha", "0.5", "--tau", "0.3"]
    server.run(["sweep", clip, "-o", out, *SWEEP, *both]).fails_with("nothing is varied")


def test_a_video_that_is_too_short_is_found_before_any_work(server: Any, tmp_path: Path, clip: Path, out: Path) -> None:
    second = tmp_path / "short"
    second.mkdir()
    shutil.copy(sorted(clip.iterdir())[0], second)
    _sweep(server, out, clip, second, "--vary", "tau=0.3", "--frames", "1:").fails_with("selects none")
    assert not (out / "cells.jsonl").exists()


def test_a_video_that_fails_leaves_the_table_of_those_before_it(
    server: Any, tmp_path: Path, clip: Path, out: Path
) -> None:
    second = tmp_path / "second"
    shutil.copytree(clip, second)
    last = sorted(second.iterdir())[-1]
    last.write_bytes(last.read_bytes()[:200])
    run = _sweep(server, out, clip, second, "--vary", "tau=0.3,0.6")
    run.fails_with(last.name)
    assert "tables and heat maps of 1 of 2 videos" in run.err
    assert (out / "sweep.csv").read_text().count(f"\n{clip.name},") == 2
    # Where none was measured to its end, the table of before is said to be that.
    again = _sweep(server, out, second, "--vary", "tau=0.3,0.6")
    again.fails_with(last.name)
    assert "are those of an earlier command" in again.err
    shutil.copy(sorted(clip.iterdir())[-1], last)
    _sweep(server, out, clip, second, "--vary", "tau=0.3,0.6").succeeds_silently()
    assert (out / "heatmap-second.png").exists()
    cells = (out / "cells.jsonl").read_text()
    # Of fewer videos: what is left of the others would pass for it.
    _sweep(server, out, clip, "--vary", "tau=0.3,0.6").succeeds_silently()
    assert not list(out.glob("heatmap-*.png"))
    assert (out / "cells.jsonl").read_text() == cells


def test_masks_that_cannot_be_kept_are_one_line(server: Any, clip: Path, out: Path) -> None:
    out.mkdir()
    (out / "masks").write_text("a file")
    _sweep(server, out, clip, "--vary", "alpha=0", "--keep-masks").fails_with("masks", "cannot be made")


@pytest.mark.parametrize(
    ("arguments", "needles"),
    [
        (("--vary", "alfa=1"), ("no parameter 'alfa'",)),
        (("--vary", "alpha="), ("empty grid",)),
        (("--vary", "alpha=0:1:-1"), ("step above 0",)),
        (("--vary", "alpha=3"), ("alpha is '3'",)),
        (("--vary", "alpha=0", "--vary", "alpha=1"), ("alpha is varied twice",)),
        (("--vary", "features=vit_that_is_not"), ("vit_that_is_not",)),
        (("--measure", "J"), ("J", "--ground-truth")),
        (("--measure", "beauty"), ("beauty", "choose one of")),
        (("--ground-truth", "nowhere"), ("nowhere", "no ground truth")),
        (("--frames", "9:"), ("selects none",)),
    ],
)
def test_a_grid_that_cannot_be_is_one_line(
    server: Any, clip: Path, out: Path, arguments: tuple[str, ...], needles: tuple[str, ...]
) -> None:
    _sweep(server, out, clip, *arguments).fails_with(*needles)


def test_ground_truth_without_the_video_or_of_another_size_is_one_line(
    server: Any, clip: Path, out: Path, tmp_path: Path
) -> None:
    truth = tmp_path / "truth" / "other"
    truth.mkdir(parents=True)
    for file in clip.iterdir():
        Image.fromarray(np.zeros((10, 10), dtype=np.uint8)).save(truth / file.name)
    run = _sweep(server, out, clip, "--ground-truth", tmp_path / "truth")
    run.fails_with("no ground truth of 'clip'", "other")
    truth.rename(truth.with_name("clip"))
    _sweep(server, out, clip, "--ground-truth", tmp_path / "truth").fails_with("10x10", "clip")
