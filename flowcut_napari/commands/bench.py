"""``flowcut bench``: the speed of this machine, stage by stage."""

from __future__ import annotations

from rich.table import Table

from flowcut_napari.commands import console
from flowcut_napari.commands.options import Settings
from flowcut_napari.core import sample
from flowcut_napari.core.bench import Figure, bench_cuts, bench_matching, bench_stages, machine, to_dicts
from flowcut_napari.core.models import ModelPlan
from flowcut_napari.core.video import open_video


def run_bench(settings: Settings, video: str | None, *, repeats: int, large: bool, as_json: bool) -> int:
    """Measure and print; return the exit code."""
    clip = open_video(video or f"{sample.sample_folder()}::{sample.NAME}")
    plan = ModelPlan.make(settings.parameters, settings.weights, settings.device)
    figures = [*bench_stages(clip, plan, repeats), *bench_cuts((22, 40), repeats, max(3, repeats // 3))]
    figures += bench_matching(repeats, 3)
    if large:
        figures += bench_cuts((60, 60), repeats, 1)
    about = machine() | {"device": plan.device, "video": clip.name}
    if as_json:
        console.print_json({"machine": about, "parameters": plan.parameters.model_dump(), "figures": to_dicts(figures)})
        return 0
    console.stdout.print(_heading(about))
    console.stdout.print(_table(figures))
    console.stdout.print("\none thread a process on a CPU; ratios are the reference's median over ours, same run")
    return 0


def _heading(about: dict[str, object]) -> str:
    gpu = f", {about['gpu']}" if about["gpu"] else ""
    return f"{about['processor']}, {about['cores']} cores{gpu}; Python {about['python']}, torch {about['torch']}\n"


def _table(figures: list[Figure]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    for heading in ("median ms", "p95 ms", "runs", "reference / ours"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for figure in figures:
        ratio = f"{figure.ratio:.0f}x" if figure.ratio else ""
        table.add_row(
            figure.stage, f"{figure.median_ms:.1f}", f"{figure.p95_ms:.1f}", str(figure.runs), ratio, figure.remark
        )
    return table
