"""``flowcut sweep``: masks under every setting of a grid, measured, as tables, heat maps and the best as a command."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID
from rich.table import Table
from rich.text import Text

from flowcut_napari.commands import console
from flowcut_napari.commands.options import DEFAULT_PRESET, Settings
from flowcut_napari.core.cache import ArrayCache
from flowcut_napari.core.errors import FlowCutError, InputError, printable
from flowcut_napari.core.grid import COMPARED_PRESETS, Axis, Grid, Setting, short
from flowcut_napari.core.ground_truth import open_ground_truth
from flowcut_napari.core.heat_map import map_axes
from flowcut_napari.core.recipe import as_command
from flowcut_napari.core.sweep import Sweeper, SweepPlan, Watch
from flowcut_napari.core.sweep_cells import (
    PROXIES,
    SCORES,
    Cell,
    best_setting,
    check_measure,
    mean_over_videos,
)
from flowcut_napari.core.sweep_report import TABLE, write_report
from flowcut_napari.core.video import VideoEntry, find_videos, refuse_same_names
from flowcut_napari.core.video_job import parse_frames
from flowcut_napari.core.workers import default_workers

# Where nothing else is asked for: around the values of all presets.
_DEFAULT_AXES = ("alpha=0,0.3,0.5,0.7,1", "tau=0.15,0.25,0.35,0.45,0.55")
# Of the proxies the one that goes with J best between settings of a video (docs/results.md).
_WITH_TRUTH, _WITHOUT = "J", "eigengap"


def run_sweep(
    addresses: list[str],
    out: Path,
    settings: Settings,
    *,
    vary: Sequence[str] = (),
    presets: bool = False,
    frames: str | None = None,
    ground_truth: Path | None = None,
    only_annotated: bool = False,
    measure: str | None = None,
    keep_masks: bool = False,
    workers: int | None = None,
    use_cache: bool = True,
    as_json: bool = False,
) -> int:
    """Sweep all videos at the addresses; return the exit code."""
    chosen = measure or (_WITH_TRUTH if ground_truth is not None else _WITHOUT)
    check_measure(chosen, has_truth=ground_truth is not None)
    # What is given is not varied unless that is asked for.
    offered = [text for text in _DEFAULT_AXES if text.partition("=")[0] not in settings.changes]
    axes = [_axis(text) for text in (vary or (() if presets else offered))]
    if presets and settings.preset != DEFAULT_PRESET:
        raise InputError(f"--presets compares all presets, and --preset {settings.preset} is one: give one of the two")
    if both := [axis.name for axis in axes if axis.name in settings.changes]:
        raise InputError(f"{both[0]} is given and varied: give its values with --vary alone")
    grid = Grid.make(settings.parameters, axes, presets=COMPARED_PRESETS if presets else (), changes=settings.changes)
    entries = refuse_same_names([entry for address in addresses for entry in find_videos(address)])
    plan = SweepPlan(
        grid=grid,
        frames=parse_frames(frames),
        truth=open_ground_truth(ground_truth) if ground_truth is not None else None,
        only_annotated=only_annotated,
        weights=settings.weights,
        device=settings.device,
        keep_masks=keep_masks,
    )
    cache = ArrayCache() if use_cache else None
    count = default_workers() if workers is None else workers
    began = time.monotonic()
    with Sweeper(plan, out, workers=count, cache=cache) as sweeper:
        measured: list[Cell] = []
        try:
            with console.progress_bar("cuts/s") as progress:
                cells = sweeper.run(entries, _watch(progress, measured))
        except BaseException:
            sweeper.stop()
            _report_whole(out, measured, grid, chosen, len(entries))
            raise
        write_report(out, cells, grid, chosen)
    commands = _commands(cells, chosen, entries, addresses, settings)
    if as_json:
        console.print_json(_document(out, cells, grid, chosen, commands))
        return 0
    _print(cells, grid, chosen, commands)
    seconds = time.monotonic() - began
    console.result(f"{out}: sweep.csv, overall.csv and heat maps of {len(cells)} cells, {seconds:.1f} s")
    return 0


def _axis(text: str) -> Axis:
    try:
        return Axis.parse(text)
    except InputError as error:
        raise InputError(f"--vary {error}") from None


def _report_whole(out: Path, cells: Sequence[Cell], grid: Grid, measure: str, videos: int) -> None:
    """Write the report of the videos that were measured under every setting before a sweep ended too early."""
    counts = Counter(cell.video for cell in cells)
    whole = [cell for cell in cells if counts[cell.video] == len(grid.settings)]
    if not whole:
        if (out / TABLE).exists():
            console.note(f"{out}: the tables and heat maps there are those of an earlier command")
        return
    try:
        write_report(out, whole, grid, measure)
    except FlowCutError as error:  # what ended the sweep is said as its error
        console.note(str(error))
        return
    done = len({cell.video for cell in whole})
    console.note(f"{out}: tables and heat maps of {done} of {videos} videos; the same command goes on from here")


def _watch(progress: Progress, measured: list[Cell]) -> Watch:
    tasks: list[TaskID] = []

    def video(name: str, cuts: int, known: int) -> None:
        for task in tasks:
            progress.remove_task(task)
        tasks[:] = [progress.add_task(printable(name), total=cuts, completed=known)]

    return Watch(
        on_video=video,
        on_steps=lambda cuts: progress.advance(tasks[0], cuts),
        on_cell=measured.append,
        on_note=lambda text: console.note(text),
    )


def _commands(
    cells: Sequence[Cell],
    measure: str,
    entries: Sequence[VideoEntry],
    addresses: Sequence[str],
    settings: Settings,
) -> list[dict[str, Any]]:
    """Return the best setting of each video, and over all, with the command that makes its masks."""
    found = []
    groups: list[tuple[str, list[Cell], Sequence[str]]] = [
        (entry.name, [cell for cell in cells if cell.video == entry.name], [entry.place]) for entry in entries
    ]
    if len(groups) > 1:
        groups.append(("all videos", list(cells), addresses))
    for name, own, place in groups:
        best = best_setting(own, measure)
        if best is None:
            continue
        setting, value = best
        used = (setting.parameters.features, setting.parameters.flow)
        weights = {key: path for key, path in settings.weights.items() if key in used}
        command = as_command(setting.parameters, place, weights=weights, device=settings.device)
        found.append({"video": name, "setting": dict(setting.values), measure: value, "command": command})
    return found


def _document(
    out: Path, cells: Sequence[Cell], grid: Grid, measure: str, commands: list[dict[str, Any]]
) -> dict[str, Any]:
    names = [name for name in (*SCORES, *PROXIES) if any(name in cell.measures for cell in cells)]
    means = {name: mean_over_videos(cells, name) for name in names}
    return {
        "folder": str(out),
        "measure": measure,
        "axes": {axis.name: list(axis.values) for axis in grid.axes},
        "stats": [
            {**dict(setting.values), **{name: means[name].get(setting) for name in names}} for setting in grid.settings
        ],
        "cells": [
            {"video": cell.video, **dict(cell.setting.values), "frames": cell.frames, **cell.measures} for cell in cells
        ],
        "best": commands,
    }


def _print(cells: Sequence[Cell], grid: Grid, measure: str, commands: Sequence[dict[str, Any]]) -> None:
    means = mean_over_videos(cells, measure)
    if len(grid.axes) == 1:
        console.stdout.print(_list_table(cells, grid, measure))
    elif len(grid.axes) == 2:
        console.stdout.print(_matrix_table(means, grid, measure))
    else:
        console.stdout.print(_top_table(means, measure))
    console.stdout.print()
    for item in commands:
        varied = ", ".join(f"{name} {short(value)}" for name, value in item["setting"].items())
        console.result(f"{item['video']}: best {measure} {item[measure]:.3f} at {varied}")
        console.result(f"  {item['command']}")


def _list_table(cells: Sequence[Cell], grid: Grid, measure: str) -> Table:
    """Return the settings of one axis, a line each: what the best is chosen by, then other measures."""
    shown = ("J", "F", "J_objects", "recall_50", "missed", "spurious", "masks", "consistency", "yield_share")
    names = [name for name in dict.fromkeys((measure, *shown)) if any(name in cell.measures for cell in cells)]
    table = _table([grid.axes[0].name, *names])
    means = {name: mean_over_videos(cells, name) for name in names}
    for setting in grid.settings:
        values = [means[name].get(setting) for name in names]
        table.add_row(
            Text(short(setting.values[0][1])), *("-" if value is None else f"{value:.3f}" for value in values)
        )
    return table


def _matrix_table(means: dict[Setting, float | None], grid: Grid, measure: str) -> Table:
    across, down, _ = map_axes(grid)
    assert down is not None  # of two axes
    table = _table([f"{measure}: {down.name} \\ {across.name}", *map(short, across.values)])
    of_values = {}
    for setting, mean in means.items():
        varied = dict(setting.values)
        of_values[varied[down.name], varied[across.name]] = mean
    for row in down.values:
        cells = [of_values.get((row, column)) for column in across.values]
        table.add_row(Text(short(row)), *("-" if cell is None else f"{cell:.3f}" for cell in cells))
    return table


def _top_table(means: dict[Setting, float | None], measure: str) -> Table:
    """Return the ten best settings of a grid with too many axes for a table."""
    table = _table(["setting", measure])
    known = [(mean, setting) for setting, mean in means.items() if mean is not None]
    for mean, setting in sorted(known, key=lambda item: -item[0])[:10]:
        table.add_row(Text(setting.text()), f"{mean:.3f}")
    return table


def _table(headings: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, heading in enumerate(headings):
        table.add_column(Text(heading), justify="right" if place else "left", no_wrap=True)
    return table
