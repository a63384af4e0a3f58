from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import write_frames
from PIL import Image

from flowcut_napari.commands.options import Settings
from flowcut_napari.commands.sweep import run_sweep
from flowcut_napari.core import ArrayCache, CutParameters, InputError, load_masks, open_video, save_masks, segment_video
from flowcut_napari.core.grid import Axis, Grid, Setting, short
from flowcut_napari.core.ground_truth import open_ground_truth
from flowcut_napari.core.heat_map import heat_map
from flowcut_napari.core.refine import crf_is_available
from flowcut_napari.core.scoring import score_stats, score_video
from flowcut_napari.core.sweep import Sweeper, SweepPlan, Watch
from flowcut_napari.core.sweep_cells import Cell, best_setting, cells_table, mean_over_videos, overall_table
from flowcut_napari.core.sweep_journal import JOURNAL
from flowcut_napari.core.video import find_videos
from flowcut_napari.live import sweep_job
from flowcut_napari.live.messages import Machine
from flowcut_napari.live.sweep_messages import SweepDone, SweepJob

BASE = CutParameters.preset("handmade").with_changes(height=96, width=128, gap=1, crf=False)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_frames(tmp_path / "clip", 5, (96, 128))


def _truth(folder: Path, video: Path) -> Path:
    """Write annotations of the right form: a still square."""
    (folder / video.name).mkdir(parents=True)
    for file in sorted(video.iterdir()):
        labels = np.zeros((96, 128), dtype=np.uint8)
        labels[30:60, 30:70] = 255
        Image.fromarray(labels).save(folder / video.name / f"{file.stem}.png")
    return folder


def _sweep(
    grid: Grid, clip: Path, out: Path, watch: Watch | None = None, workers: int = 1, **plan: object
) -> list[Cell]:
    with Sweeper(SweepPlan(grid, **plan), out, workers=workers, cache=ArrayCache()) as sweeper:  # type: ignore[arg-type]
        return sweeper.run(find_videos(clip), watch)


def test_an_axis_is_a_list_or_even_steps_with_the_last_included() -> None:
    assert Axis.parse("alpha=0:1:0.1").values == tuple(round(0.1 * step, 1) for step in range(11))
    assert Axis.parse("max-instances=1,3,3").values == (1, 3)
    assert Axis.parse("flow=dis,raft-small").values == ("dis", "raft-small")
    assert Axis.parse("crf=no,yes").values == (False, True)


@pytest.mark.parametrize(
    ("text", "needle"),
    [
        ("alfa=1", "no parameter 'alfa'"),
        ("alpha", "NAME=VALUE"),
        ("alpha=", "empty grid"),
        ("alpha=1:0:0.1", "empty grid"),
        ("alpha=0:1:0", "step above 0"),
        ("alpha=0:1", "START:STOP:STEP"),
        ("alpha=0:nan:1", "START:STOP:STEP"),
        ("alpha=0:1:0.0000001", "is the most"),
        ("alpha=0:1e5000:1", "far too many values"),
        ("alpha=0:1e999999:1e-999999", "START:STOP:STEP"),
        ("alpha=2", "alpha is '2'"),
        ("gap=1.5", "gap is '1.5'"),
        ("flow=sift", "flow is 'sift'"),
    ],
)
def test_what_is_no_axis_is_said_in_one_line(text: str, needle: str) -> None:
    with pytest.raises(InputError, match=needle) as caught:
        Axis.parse(text)
    assert "\n" not in str(caught.value)


def test_a_grid_is_every_combination_and_presets_keep_their_own_values() -> None:
    grid = Grid.make(BASE, [Axis.parse("alpha=0,1"), Axis.parse("tau=0.1,0.2,0.3")])
    assert [dict(setting.values) for setting in grid.settings][:2] == [
        {"alpha": 0, "tau": 0.1},
        {"alpha": 0, "tau": 0.2},
    ]
    assert len(grid.settings) == 6
    presets = Grid.make(BASE, [], presets=("tokencut", "locate"), changes={"features": "handmade"})
    assert [(s.parameters.tau, s.parameters.features) for s in presets.settings] == [
        (0.2, "handmade"),
        (0.35, "handmade"),
    ]
    with pytest.raises(InputError, match="empty grid"):
        Grid.make(BASE, [])
    with pytest.raises(InputError, match="twice"):
        Grid.make(BASE, [Axis.parse("tau=0.1"), Axis.parse("tau=0.2")])
    with pytest.raises(InputError, match="is the most"):
        Grid.make(BASE, [Axis.parse("alpha=0:1:0.001"), Axis.parse("tau=0:0.9:0.001")])


@pytest.mark.parametrize("workers", [1, 2])
def test_every_cell_has_the_masks_that_it_has_alone(clip: Path, tmp_path: Path, workers: int) -> None:
    axes = [Axis.parse("alpha=0,0.6,1"), Axis.parse("tau=0.3,0.6"), Axis.parse("max_instances=1,3")]
    if crf_is_available():
        axes.append(Axis.parse("crf=true,false"))
    grid = Grid.make(BASE, axes)
    truth = open_ground_truth(_truth(tmp_path / "truth", clip))
    cells = _sweep(grid, clip, tmp_path / "out", workers=workers, keep_masks=True, truth=truth)
    assert [cell.setting for cell in cells] == list(grid.settings)
    shapes = set()
    for cell, folder in zip(cells, _mask_folders(tmp_path / "out", grid), strict=True):
        kept = load_masks(folder / "clip.masks.json")
        alone = segment_video(open_video(clip), cell.setting.parameters)
        assert kept.frames == alone.frames
        assert (kept.parameters, kept.basis) == (alone.parameters, alone.basis)
        stats = score_stats([score_video(alone, truth)])
        assert (cell.measures["J"], cell.measures["F"]) == (stats["J-Mean"], stats["F-Mean"])
        shapes.add(str([[i.segmentation for i in frame.instances] for frame in alone.frames]))
    assert len(shapes) > 4  # the settings differ, or equality would say little


def _mask_folders(out: Path, grid: Grid) -> list[Path]:
    return [out / "masks" / setting.text().replace(", ", "_").replace(" ", "-") for setting in grid.settings]


def test_a_sweep_goes_on_where_it_was_and_a_wider_grid_computes_what_is_new(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = _sweep(Grid.make(BASE, [Axis.parse("tau=0.3,0.6")]), clip, out)
    lines = (out / JOURNAL).read_text().splitlines()
    assert len(lines) == 2
    (out / JOURNAL).write_text(lines[0] + "\n" + lines[1][:20])  # as a process leaves it that is killed
    steps: list[int] = []
    watch = Watch(on_video=lambda _, cuts, known: steps.append(known), on_steps=steps.append)
    again = _sweep(Grid.make(BASE, [Axis.parse("tau=0.3,0.6,0.8")]), clip, out, watch)
    assert again[:2] == first
    assert steps == [5, *[2] * 5]  # five frames known, two settings cut anew
    assert len((out / JOURNAL).read_text().splitlines()) == 4
    steps.clear()
    assert _sweep(Grid.make(BASE, [Axis.parse("tau=0.3,0.6,0.8")]), clip, out, watch) == again
    assert steps == [15]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sweep_that_was_ended_within_a_video_goes_on_with_the_next_frame(
    clip: Path, tmp_path: Path, workers: int
) -> None:
    grid = Grid.make(BASE, [Axis.parse("tau=0.3,0.6")])
    truth = open_ground_truth(_truth(tmp_path / "truth", clip))
    whole = _sweep(grid, clip, tmp_path / "whole", truth=truth)
    steps: list[int] = []

    def step(cuts: int) -> None:
        steps.append(cuts)
        if len(steps) == 3:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        _sweep(grid, clip, out, Watch(on_steps=step), workers, truth=truth)
    assert not (out / JOURNAL).exists()
    (partial,) = (out / "partial").iterdir()
    with partial.open("ab") as stream:
        stream.write(b'\n{"results": [{"masks": {"index": 4, "fi')  # as a process leaves it that is killed
    steps.clear()
    watch = Watch(on_video=lambda _, cuts, known: steps.append(known), on_steps=steps.append)
    assert _sweep(grid, clip, out, watch, workers, truth=truth) == whole
    assert steps == [6, 2, 2]  # three frames known under two settings
    assert not (out / "partial").exists()


def test_a_sweep_that_was_ended_while_cells_were_told_has_lost_no_frame(clip: Path, tmp_path: Path) -> None:
    grid = Grid.make(BASE, [Axis.parse("tau=0.3,0.6,0.8")])

    def end(_: Cell) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        _sweep(grid, clip, out, Watch(on_cell=end))
    steps: list[int] = []
    watch = Watch(on_video=lambda _, cuts, known: steps.append(known), on_steps=steps.append)
    assert len(_sweep(grid, clip, out, watch)) == 3
    assert steps == [15]
    assert not (out / "partial").exists()


def test_frames_of_an_ended_sweep_serve_a_wider_one_and_one_in_another_order(clip: Path, tmp_path: Path) -> None:
    steps: list[int] = []

    def step(cuts: int) -> None:
        steps.append(cuts)
        if len(steps) == 4:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    axes = [Axis.parse("alpha=0.3,0.5"), Axis.parse("tau=0.3,0.6")]
    with pytest.raises(KeyboardInterrupt):
        _sweep(Grid.make(BASE, axes), clip, out, Watch(on_steps=step))
    known: list[int] = []
    wider = Grid.make(BASE, [Axis.parse("tau=0.3,0.6,0.8"), axes[0]])
    cells = _sweep(wider, clip, out, Watch(on_video=lambda _, cuts, made: known.append(made)))
    assert known == [16]
    assert cells == _sweep(wider, clip, tmp_path / "fresh")
    assert not (out / "partial").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda result: result["score"].update(overlaps=[[0.5, 0.5]]),
        lambda result: result["score"].update(objects=[]),
        lambda result: result["score"].update(index=2),
        lambda result: result.update(score=None),
        lambda result: result["masks"].update(index=4000),
        lambda result: result["masks"].update(instances=[{}]),
    ],
)
def test_frames_that_do_not_hold_together_are_cut_again(
    clip: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    grid = Grid.make(BASE, [Axis.parse("tau=0.3")])
    truth = open_ground_truth(_truth(tmp_path / "truth", clip))
    whole = _sweep(grid, clip, tmp_path / "whole", truth=truth)

    def end(_: int) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        _sweep(grid, clip, out, Watch(on_steps=end), truth=truth)
    (partial,) = (out / "partial").iterdir()
    line = json.loads(partial.read_text())
    change(next(iter(line["results"].values())))
    partial.write_text(json.dumps(line))
    known: list[int] = []
    watch = Watch(on_video=lambda _, cuts, made: known.append(made))
    assert _sweep(grid, clip, out, watch, truth=truth) == whole
    assert known == [0]


def test_settings_that_come_to_the_same_are_all_measured(clip: Path, tmp_path: Path) -> None:
    changes = {name: getattr(BASE, name) for name in CutParameters.model_fields}
    grid = Grid.make(BASE, [], presets=("tokencut", "maskcut"), changes=changes)
    first, second = _sweep(grid, clip, tmp_path / "out")
    assert first.measures == second.measures


def test_cells_are_told_of_before_they_are_whole(clip: Path, tmp_path: Path) -> None:
    grid = Grid.make(BASE, [Axis.parse("tau=0.3,0.6")])
    told: list[Cell] = []
    cells = _sweep(grid, clip, tmp_path / "out", Watch(on_part=told.append))
    first = _sweep(grid, clip, tmp_path / "first", frames=slice(0, 4))
    assert told == first
    assert {cell.frames for cell in cells} == {5}


def test_ground_truth_that_does_not_fit_the_last_video_is_found_before_the_first_is_cut(
    clip: Path, tmp_path: Path
) -> None:
    second = write_frames(tmp_path / "second", 5, (96, 128))
    folder = _truth(tmp_path / "truth", clip)
    _truth(folder, second)
    Image.fromarray(np.zeros((50, 60), dtype=np.uint8)).save(folder / "second" / "00000.png")
    grid = Grid.make(BASE, [Axis.parse("tau=0.3")])
    steps: list[int] = []
    plan = SweepPlan(grid, truth=open_ground_truth(folder))
    with Sweeper(plan, tmp_path / "out") as sweeper, pytest.raises(InputError, match="60x50"):
        sweeper.run([*find_videos(clip), *find_videos(second)], Watch(on_steps=steps.append))
    assert not steps


def test_the_folder_is_held_while_the_sweep_is_entered(clip: Path, tmp_path: Path) -> None:
    plan = SweepPlan(Grid.make(BASE, [Axis.parse("tau=0.3")]))
    with Sweeper(plan, tmp_path / "out") as sweeper:
        sweeper.run(find_videos(clip))
        with pytest.raises(InputError, match="another sweep"), Sweeper(plan, tmp_path / "out"):
            pass
    with Sweeper(plan, tmp_path / "out"):
        pass


@pytest.mark.parametrize("module", ["commands.sweep", "live.sweep_job"])
def test_the_report_is_written_while_the_folder_is_held(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    held: list[bool] = []
    out = tmp_path / "out"

    def report(folder: Path, *_: object) -> None:
        held.append((folder / "sweep.lock").exists())

    monkeypatch.setattr(f"flowcut_napari.{module}.write_report", report)
    if module == "commands.sweep":
        settings = Settings(BASE, {}, "cpu")
        assert run_sweep([str(clip)], out, settings, vary=["tau=0.3"], workers=1, as_json=True) == 0
    else:
        machine = Machine("cpu", {}, 1.0)
        grid = Grid.make(BASE, [Axis.parse("tau=0.3")])
        (entry,) = find_videos(clip)
        job = SweepJob(entry, out, grid, "eigengap", slice(None), None, False, machine, 1)
        told: list[object] = []
        sweep_job.run(SimpleNamespace(send=told.append), job)  # type: ignore[arg-type]  # all that it uses
        assert isinstance(told[-1], SweepDone)
    assert held == [True]


@pytest.mark.parametrize("measures", [{"eigengap": "x"}, {"eigengap": float("nan")}, {"eigengap": True}, [1], None])
def test_a_damaged_line_is_measured_again_and_said(clip: Path, tmp_path: Path, measures: object) -> None:
    grid = Grid.make(BASE, [Axis.parse("tau=0.3")])
    first = _sweep(grid, clip, tmp_path / "out")
    journal = tmp_path / "out" / JOURNAL
    line = json.loads(journal.read_text())
    journal.write_text(json.dumps({**line, "measures": measures}) + "\n")
    said: list[str] = []
    assert _sweep(grid, clip, tmp_path / "out", Watch(on_note=said.append)) == first
    assert len(said) == 1 and "damaged in 1 line, whose cell is measured again" in said[0]


def test_kept_masks_are_those_of_the_setting_and_nothing_done_by_hand_is_lost(clip: Path, tmp_path: Path) -> None:
    # The folder is named after what is varied; alpha, which is not, is another each time.
    grids = [Grid.make(BASE.with_changes(alpha=alpha), [Axis.parse("tau=0.45")]) for alpha in (0.3, 0.6)]
    (folder,) = _mask_folders(tmp_path / "out", grids[0])
    path = folder / "clip.masks.json"
    _sweep(grids[0], clip, tmp_path / "out", keep_masks=True)
    drawn = load_masks(path).with_mask(1, np.eye(96, 128, dtype=bool))
    save_masks(drawn, path)
    _sweep(grids[1], clip, tmp_path / "out", keep_masks=True)
    assert load_masks(path).parameters.alpha == 0.6
    assert len(load_masks(path).decisions.stale) == 1
    _sweep(grids[0], clip, tmp_path / "out", keep_masks=True)
    assert load_masks(path).parameters.alpha == 0.3
    assert load_masks(path).hand_masks() == drawn.hand_masks()


def test_values_that_differ_in_the_last_digit_have_masks_of_their_own(clip: Path, tmp_path: Path) -> None:
    grid = Grid.make(BASE, [Axis.of("alpha", [0.3, 0.1 + 0.2])])
    _sweep(grid, clip, tmp_path / "out", keep_masks=True)
    assert [path.name for path in sorted((tmp_path / "out" / "masks").iterdir())] == [
        *("alpha-0.3", "alpha-0.30000000000000004")
    ]


def test_cells_are_measured_anew_when_ground_truth_or_frames_are_others(clip: Path, tmp_path: Path) -> None:
    grid, folder = Grid.make(BASE, [Axis.parse("tau=0.6")]), _truth(tmp_path / "truth", clip)
    (before,) = _sweep(grid, clip, tmp_path / "out", truth=open_ground_truth(folder))
    for file in (folder / "clip").iterdir():
        Image.fromarray(np.full((96, 128), 255, dtype=np.uint8)).save(file)
        os.utime(file, ns=(1, 1))
    (after,) = _sweep(grid, clip, tmp_path / "out", truth=open_ground_truth(folder))
    assert before.measures["J"] != after.measures["J"]
    (fewer,) = _sweep(grid, clip, tmp_path / "out", frames=slice(0, 3))
    assert fewer.frames == 3
    assert "J" not in fewer.measures


def test_the_best_setting_is_that_with_the_highest_mean_over_videos() -> None:
    grid = Grid.make(BASE, [Axis.parse("alpha=0,0.5"), Axis.parse("tau=0.2,0.4")])
    js = {"a": [0.1, 0.9, 0.3, 0.2], "b": [0.1, 0.2, 0.9, 0.2]}
    cells = [
        Cell(video, setting, 5, {"J": j, "consistency": None})
        for video, values in js.items()
        for setting, j in zip(grid.settings, values, strict=True)
    ]
    best = best_setting(cells, "J")
    assert best is not None
    assert (dict(best[0].values), best[1]) == ({"alpha": 0.5, "tau": 0.2}, pytest.approx(0.6))
    assert best_setting(cells, "consistency") is None
    with pytest.raises(InputError, match="choose one of"):
        best_setting(cells, "spurious")
    rows = list(csv.DictReader(io.StringIO(cells_table(cells, grid))))
    assert (len(rows), rows[1]["video"], rows[1]["tau"], rows[1]["J"]) == (8, "a", "0.4", "0.9")
    rows = list(csv.DictReader(io.StringIO(overall_table(cells, grid))))
    assert (len(rows), rows[2]["J"], rows[2]["videos"], rows[2]["consistency"]) == (4, "0.6", "2", "")
    picture = heat_map("Sweep", "J", grid, mean_over_videos(cells, "J"))
    assert len(set(picture.getdata())) > 20


def test_every_axis_beyond_two_has_a_map_for_each_value() -> None:
    one = heat_map("Sweep", "J", *_made("alpha=0,0.5", "tau=0.2,0.4"))
    many = heat_map("Sweep", "J", *_made("alpha=0,0.5", "tau=0.2,0.4", "gap=1,2,3"))
    row = heat_map("Sweep", "J", *_made("alpha=0:1:0.1"))
    assert many.width > one.width
    assert row.height < one.height
    blank = heat_map("Sweep", "J", _made("alpha=0,1")[0], {})
    assert blank.size[0] > 0


def test_a_long_axis_gets_small_cells_and_no_huge_picture() -> None:
    grid, values = _made("alpha=0:1:0.002", "tau=0.1,0.2")
    picture = heat_map("long", "a\nb", grid, values)
    assert picture.width < 2700
    grid, values = _made("tau=0.1,0.2,0.3", "alpha=0.5")
    assert heat_map("short", "J", grid, values).height < 300
    grid, values = _made("alpha=0:1:0.01", "tau=0.1:0.9:0.01")
    assert max(heat_map("large", "J", grid, values).size) < 2700
    grid, values = _made("alpha=0:1:0.25", "tau=0.1:0.9:0.2", "max_overlap=0:1:0.25", "min_area=0:0.5:0.125")
    width, height = heat_map("many", "J", grid, values).size
    assert 0.6 < width / height < 1.6


def test_values_that_differ_never_look_alike() -> None:
    assert (short(0.3), short(0.1234567), short(0.12345678), short(1e-5)) == ("0.3", "0.1234567", "0.12345678", "1e-05")


def _made(*texts: str) -> tuple[Grid, dict[Setting, float | None]]:
    grid = Grid.make(BASE, [Axis.parse(text) for text in texts])
    return grid, {setting: number / len(grid.settings) for number, setting in enumerate(grid.settings)}


def test_weights_that_no_setting_uses_are_refused(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="raft-small, which no setting"):
        _sweep(
            Grid.make(BASE, [Axis.parse("tau=0.6")]),
            clip,
            tmp_path / "out",
            weights={"raft-small": Path(sys.executable)},
        )
