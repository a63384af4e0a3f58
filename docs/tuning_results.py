"""The part of docs/results.md about masks: alpha, presets, hand-made features and proxies, by the code of ``sweep``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from flowcut_napari.core import ArrayCache, CutParameters
from flowcut_napari.core.grid import COMPARED_PRESETS, Axis, Grid, Setting
from flowcut_napari.core.ground_truth import open_ground_truth
from flowcut_napari.core.sweep import Sweeper, SweepPlan
from flowcut_napari.core.sweep_cells import Cell
from flowcut_napari.core.video import find_videos
from flowcut_napari.core.workers import default_workers

TUNED_ON = ("camel", "libby", "bmx-trees", "soapbox")
FLOWS = {"raft-small": "RAFT-small flow", "dis": "DIS flow (nothing to download)"}
_ALPHAS = "alpha=1,0.7,0.6,0.5,0.4,0.2,0"
_GAPS = "gap=1,2,4"
# What the preset was before `score` and `sweep` were at hand.
_BEFORE = {"max_instances": 1, "max_eigenvalue": 1.0, "crf_min_iou": 0.5, "alpha": 0.4, "gap": 4}
# Each adds to those before it.
_STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("alpha 0.4, gap 4, one cut, masks dropped below a CRF IoU of 0.5 (the paper's rule)", {}),
    ("masks dropped below a CRF IoU of 0.3", {"crf_min_iou": 0.3}),
    ("three cuts, no further rule", {"max_instances": 3}),
    ("none after an eigenvalue above 0.07", {"max_eigenvalue": 0.07}),
    ("gap 2", {"gap": 2}),
    ("gap 1", {"gap": 1}),
    ("alpha 0.5: the preset", {"alpha": 0.5}),
    ("flow to both sides (`both_ways`)", {"both_ways": True}),
)

_GAP_WORDS = """
All else as in the preset. A larger gap suits what moves slowly: what moves less than about 1.5 px from a frame to its
partner is not seen. These are 24 frames a second of fast things.
"""
_STEPS_WORDS = """
What `score` and `sweep` gave, each step on top of those above it; all was chosen on the tuning sequences. J of the
foreground; beside it how many masks a frame fit no object with a J above 0.5, with CRF. The last is not in the preset:
it takes twice the flow. Further ideas that were built and measured on part of these frames, and why they were dropped
(motion compensation, several gaps fused, forward-backward checks, superpixels, boundary patches, finer grids), are in
[handmade.md](handmade.md).
"""
_PRESET_WORDS = """
`flowcut sweep --presets --features handmade --flow raft-small --no-crf`: the same code with the alpha, the number of
cuts and the tau of each method, but hand-made features and RAFT-small instead of DINO and RAFT-large, whose weights are
not at hand: this tells what the values do on these features, not how good the methods are on theirs. Their tau is one
for cosines of DINO; beside it the best of five on the tuning sequences.
"""
_PROXY_WORDS = """
Rank correlation with J (Spearman). *Between settings*: of one video, over the 25 settings of a grid (alpha 0.3 to 0.7,
tau 0.35 to 0.55, no CRF), the mean over videos and the lowest: whether a proxy finds the better setting. *Between
videos*: at one setting, over the sequences, mean over settings: whether it finds the videos that went wrong. CRF
agreement, where it is given, is of the alphas of the first table, with CRF. *J chosen* is the mean J when each video
gets the setting that the proxy likes best.
"""


def tuning_section(root: Path, weights: Path, step: int, *, quick: bool = False) -> Iterator[str]:
    """Yield the lines of the section.

    Parameters
    ----------
    root : Path
        A DAVIS root.
    weights : Path
        Of RAFT-small.
    step : int
        Every so many frames of each sequence are used.
    quick : bool
        Leave the CRF out, which takes most of the time, but for one table.
    """
    entries = find_videos(root)
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(root, weights, step, Path(folder), quick)
        for flow, title in FLOWS.items():
            yield f"## Hand-made features, {title}\n"
            yield from _alpha_tables(bench, flow)
        frames = {cell.video: cell.frames for cell in bench.seen}
        yield "## Hand-made features, the gap of the flow\n"
        yield from _gap_table(bench)
        yield "## Hand-made features, step by step\n"
        yield from _steps_table(bench)
        yield from _before_and_after(bench)
        yield "## Presets of earlier methods\n"
        yield from _preset_table(bench)
        yield "## Proxies\n"
        yield from _proxy_tables(bench)
        assert len(frames) == len(entries)


class _Bench:
    """Sweeps over all sequences; what was measured once is not measured again."""

    def __init__(self, root: Path, weights: Path, step: int, folder: Path, quick: bool = False) -> None:
        self.crf = (False,) if quick else (False, True)
        self._root, self._weights, self._step, self._folder = root, weights, step, folder
        self._truth = open_ground_truth(root)
        self.seen: list[Cell] = []

    def cells(self, grid: Grid, *, held_out: bool = False) -> list[Cell]:
        """Measure a grid on all sequences, or on those that nothing was chosen on."""
        flows = {setting.parameters.flow for setting in grid.settings}
        plan = SweepPlan(
            grid,
            slice(None, None, self._step),
            self._truth,
            weights={"raft-small": self._weights} if "raft-small" in flows else {},
        )
        with Sweeper(plan, self._folder, workers=default_workers(), cache=ArrayCache()) as sweeper:
            found = sweeper.run([e for e in find_videos(self._root) if not (held_out and e.name in TUNED_ON)])
        self.seen += found
        for setting in grid.settings:
            mean = _mean([cell for cell in found if cell.setting == setting])
            print(f"{setting.text()}: {mean:.3f}", file=sys.stderr, flush=True)
        return found


def _mean(cells: Sequence[Cell], *, held_out: bool = False, measure: str = "J") -> float:
    values = [cell.measures[measure] for cell in cells if not (held_out and cell.video in TUNED_ON)]
    return float(np.mean([value for value in values if value is not None]))


def _of(cells: Sequence[Cell], setting: Setting) -> list[Cell]:
    return [cell for cell in cells if cell.setting == setting]


def _alpha_tables(bench: _Bench, flow: str) -> Iterator[str]:
    base = CutParameters.preset("handmade").with_changes(flow=flow)
    grid = Grid.make(base, [Axis.of("crf", bench.crf), Axis.parse(_ALPHAS)])
    cells = bench.cells(grid)
    by_value = {setting.values: _of(cells, setting) for setting in grid.settings}
    alphas = grid.axes[1].values
    words = ["no CRF", "CRF"][: len(bench.crf)]
    yield "| alpha | " + " | ".join(f"{which}, {word}" for which in ("all", "not tuned on") for word in words) + " |"
    yield "| --- |" + " --- |" * (2 * len(words))
    for alpha in alphas:
        row = [
            _mean(by_value[("crf", crf), ("alpha", alpha)], held_out=held_out)
            for held_out in (False, True)
            for crf in bench.crf
        ]
        yield f"| {alpha:g} | " + " | ".join(f"{value:.3f}" for value in row) + " |"
    best = max(alphas, key=lambda alpha: _mean(by_value[("crf", bench.crf[-1]), ("alpha", alpha)]))
    yield f"\nBy sequence at the best setting, alpha {best:g}, {words[-1]}, and there without flow (alpha 1):\n"
    yield "| sequence | frames | J | F | J without flow |"
    yield "| --- | --- | --- | --- | --- |"
    without = {cell.video: cell for cell in by_value[("crf", bench.crf[-1]), ("alpha", 1.0)]}
    for cell in by_value[("crf", bench.crf[-1]), ("alpha", best)]:
        tuned = " (tuned on)" if cell.video in TUNED_ON else ""
        js = [cell.measures["J"], cell.measures["F"], without[cell.video].measures["J"]]
        yield f"| {cell.video}{tuned} | {cell.frames} | " + " | ".join(f"{value or 0:.3f}" for value in js) + " |"
    yield ""


def _gap_table(bench: _Bench) -> Iterator[str]:
    yield _GAP_WORDS.lstrip()
    words = ["no CRF", "CRF"][: len(bench.crf)]
    yield "| flow | gap | " + " | ".join(f"{which}, {w}" for which in ("tuned on", "others") for w in words) + " |"
    yield "| --- | --- |" + " --- |" * (2 * len(words))
    for flow in FLOWS:
        base = CutParameters.preset("handmade").with_changes(flow=flow)
        grid = Grid.make(base, [Axis.parse(_GAPS), Axis.of("crf", bench.crf)])
        cells = bench.cells(grid)
        for gap in grid.axes[0].values:
            groups = [_of(cells, setting) for setting in grid.settings if setting.parameters.gap == gap]
            yield f"| {flow} | {gap} | {' | '.join(_tuned_and_others(groups))} |"
    yield ""


def _tuned_and_others(groups: Sequence[Sequence[Cell]]) -> list[str]:
    return [
        f"{_mean([cell for cell in group if (cell.video in TUNED_ON) == tuned]):.3f}"
        for tuned in (True, False)
        for group in groups
    ]


def _steps_table(bench: _Bench) -> Iterator[str]:
    yield _STEPS_WORDS.lstrip()
    words = ["no CRF", "CRF"][: len(bench.crf)]
    shown = " | ".join(f"{which}, {word}" for which in ("tuned on", "others") for word in words)
    yield f"| setting | flow | {shown} | spurious, others |"
    yield "| --- | --- |" + " --- |" * (2 * len(words) + 1)
    for flow in FLOWS:
        reached = CutParameters.preset("handmade").with_changes(flow=flow, **_BEFORE)
        steps = []
        for words_of_step, changes in _STEPS:
            reached = reached.with_changes(**changes)
            steps.append((words_of_step, reached))
        assert steps[-2][1] == CutParameters.preset("handmade").with_changes(flow=flow)  # which its words say
        settings = tuple(
            Setting((("step", words_of_step), ("crf", crf)), parameters.with_changes(crf=crf))
            for words_of_step, parameters in steps
            for crf in bench.crf
        )
        axes = (Axis("step", tuple(step for step, _ in _STEPS)), Axis("crf", bench.crf))
        cells = bench.cells(Grid(axes, settings))
        for step, _ in _STEPS:
            of_step = [_of(cells, setting) for setting in settings if dict(setting.values)["step"] == step]
            others = [cell for cell in of_step[-1] if cell.video not in TUNED_ON]
            spurious = sum(cell.measures["spurious"] or 0 for cell in others) / sum(cell.frames for cell in others)
            yield f"| {step} | {flow} | {' | '.join(_tuned_and_others(of_step))} | {spurious:.2f} |"
    yield ""


def _before_and_after(bench: _Bench) -> Iterator[str]:
    yield "The preset as it was (the first row) and as it is, with CRF, on the sequences that nothing was chosen on:\n"
    yield "| flow | | frames | J | F | recall of objects at 0.5 | missed | spurious |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for flow in FLOWS:
        now = CutParameters.preset("handmade").with_changes(flow=flow)
        settings = (Setting((("step", "was"),), now.with_changes(**_BEFORE)), Setting((("step", "is"),), now))
        cells = bench.cells(Grid((Axis("step", ("was", "is")),), settings), held_out=True)
        for setting in settings:
            found = _of(cells, setting)
            means = [f"{_mean(found, measure=name):.3f}" for name in ("J", "F", "recall_50")]
            counts = [f"{sum(cell.measures[name] or 0 for cell in found):.0f}" for name in ("missed", "spurious")]
            frames = sum(cell.frames for cell in found)
            yield f"| {flow} | {setting.values[0][1]} | {frames} | {' | '.join([*means, *counts])} |"
    yield ""


def _preset_table(bench: _Bench) -> Iterator[str]:
    changes = {"features": "handmade", "flow": "raft-small", "crf": False}
    own = Grid.make(CutParameters(), [], presets=COMPARED_PRESETS, changes=changes)
    swept = Grid.make(
        CutParameters(), [Axis.parse("tau=0.15,0.25,0.35,0.45,0.6")], presets=COMPARED_PRESETS, changes=changes
    )
    own_cells, swept_cells = bench.cells(own), bench.cells(swept)
    yield _PRESET_WORDS.lstrip()
    yield "| preset | tau | all | not tuned on | F | masks a frame | best tau | all | not tuned on |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for setting in own.settings:
        name = dict(setting.values)["preset"]
        cells = _of(own_cells, setting)
        rows = [(s, _of(swept_cells, s)) for s in swept.settings if dict(s.values)["preset"] == name]
        best, found = max(rows, key=lambda row: _mean([cell for cell in row[1] if cell.video in TUNED_ON]))
        numbers = [
            f"{setting.parameters.tau:g}",
            *(f"{_mean(cells, held_out=held_out):.3f}" for held_out in (False, True)),
            f"{_mean(cells, held_out=True, measure='F'):.3f}",
            f"{_mean(cells, measure='masks'):.2f}",
            f"{best.parameters.tau:g}",
            *(f"{_mean(found, held_out=held_out):.3f}" for held_out in (False, True)),
        ]
        yield f"| {name} | {' | '.join(numbers)} |"
    yield ""


def _proxy_tables(bench: _Bench) -> Iterator[str]:
    base = CutParameters.preset("handmade").with_changes(flow="raft-small", crf=False)
    axes = [Axis.parse("alpha=0.3:0.7:0.1"), Axis.parse("tau=0.35:0.55:0.05")]
    grid = Grid.make(base, axes)
    cells = bench.cells(grid)
    with_crf = []
    if True in bench.crf:
        with_crf = bench.cells(Grid.make(base.with_changes(crf=True), [Axis.parse(_ALPHAS)]))
    names = [
        *("yield_share", "matched_share", "weakest_iou", "consistency", "eigengap", "masks", "area"),
        "crf_agreement",
    ]
    rows = []
    for name in names:
        used = with_crf if name == "crf_agreement" else cells
        between_settings, between_videos, chosen = _correlations(used, name)
        if between_settings:
            low = min(between_settings)
            means = f"{np.mean(between_settings):.2f} | {low:.2f} | {np.mean(between_videos):.2f}"
            rows.append(f"| {name} | {means} | {chosen:.3f} |")
    *_, ideal = _correlations(cells, "J")
    yield _PROXY_WORDS.lstrip()
    yield f"J itself would choose {ideal:.3f} (no CRF); the preset's own setting gives {_at_preset(cells):.3f}.\n"
    yield "| proxy | between settings | lowest | between videos | J chosen |"
    yield "| --- | --- | --- | --- | --- |"
    yield from rows
    yield ""


def _at_preset(cells: Sequence[Cell]) -> float:
    preset = CutParameters.preset("handmade")
    return _mean(
        [c for c in cells if (c.setting.parameters.alpha, c.setting.parameters.tau) == (preset.alpha, preset.tau)]
    )


def _correlations(cells: Sequence[Cell], name: str) -> tuple[list[float], list[float], float]:
    """Return the correlations over the settings of each video, over the videos of each setting, and the J chosen."""

    def correlate(group: Sequence[Cell]) -> float | None:
        pairs = [(cell.measures[name], cell.measures["J"]) for cell in group if cell.measures[name] is not None]
        if len({pair[0] for pair in pairs}) < 3 or len({pair[1] for pair in pairs}) < 3:
            return None
        return float(spearmanr(*zip(*pairs, strict=True)).statistic)

    videos = list(dict.fromkeys(cell.video for cell in cells))
    settings = list(dict.fromkeys(cell.setting for cell in cells))
    groups = [[cell for cell in cells if cell.video == video] for video in videos]
    chosen = [max(group, key=lambda cell: cell.measures[name] or -1).measures["J"] or 0 for group in groups]
    of_settings = [value for group in groups if (value := correlate(group)) is not None]
    of_videos = [value for setting in settings if (value := correlate(_of(cells, setting))) is not None]
    return of_settings, of_videos, float(np.mean(chosen)) if chosen else 0.0
