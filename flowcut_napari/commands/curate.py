"""``flowcut curate``: stage 2, from pseudo-masks to a dataset; and the check and the merging of datasets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from rich.table import Table

from flowcut_napari.commands import console
from flowcut_napari.core.about import WRITTEN
from flowcut_napari.core.clips import CLIP_REASONS, Yield
from flowcut_napari.core.dataset import (
    ExportPlan,
    ExportReport,
    export_dataset,
    export_splits,
)
from flowcut_napari.core.dataset_check import check_dataset
from flowcut_napari.core.dataset_merge import merge_datasets
from flowcut_napari.core.errors import FlowCutError, InputError
from flowcut_napari.core.parameters import CurationParameters, DatasetFormat, FrameFilesMode, one_line
from flowcut_napari.core.preview import dataset_sheet, save_picture
from flowcut_napari.core.sources import find_masks, parse_split
from flowcut_napari.core.video import VideoEntry, find_videos_below, refuse_same_names

_WHY = {
    "no_mask": "no mask",
    "no_match": "no match",
    "rejected": "rejected",
    "not_accepted": "not accepted",
}


def make_plan(
    *,
    gaps: str,
    iou: float,
    method: str,
    form: str,
    clip_length: str | None,
    only_accepted: bool,
    frame_files: str,
    videos: list[str],
    overwrite: bool,
) -> ExportPlan:
    """Turn the options of the command line into a plan.

    Raises
    ------
    InputError
        For a value that cannot be used.
    """
    if form not in get_args(DatasetFormat):
        raise InputError(f"--format {form}: choose one of {', '.join(get_args(DatasetFormat))}")
    if frame_files not in get_args(FrameFilesMode):
        raise InputError(f"--frame-files {frame_files}: choose one of {', '.join(get_args(FrameFilesMode))}")
    try:
        parameters = CurationParameters(
            gaps=_gaps(gaps),
            iou=iou,
            method=method,
            clip_length=clip_length if clip_length in (None, "all") else _whole(clip_length, "--clip-length"),
            only_accepted=only_accepted,
        )
    except ValidationError as error:
        raise InputError(one_line(error)) from None
    moved = {entry.name: entry for entry in refuse_same_names([entry for root in videos for entry in _found(root)])}
    return ExportPlan(parameters, form, frame_files, moved, overwrite)  # type: ignore[arg-type]  # looked at above


def curate_videos(
    addresses: list[str],
    out: Path,
    plan: ExportPlan,
    *,
    split: str | None = None,
    preview: bool = False,
    as_json: bool = False,
) -> int:
    """Make a dataset of all masks at the addresses, or one for each split; return the exit code."""
    if preview and (plan.format != "ytvis" or plan.frame_files == "none"):
        raise InputError("--preview draws clips of the ytvis format with their frames; leave it away")
    files = find_masks(addresses)
    shares = parse_split(split) if split is not None else None
    with console.progress_bar("videos/s") as progress:
        task = progress.add_task("curate", total=len(files))

        def advance(_: str) -> None:
            progress.advance(task)

        if shares is None:
            reports = {"": export_dataset(files, out, plan, advance)}
        else:
            reports = export_splits(files, out, plan, shares, advance)
    failed = [(name, text) for report in reports.values() for name, text in report.failed]
    for report in reports.values():
        for text in report.notes:
            console.note(text)
    for _, text in failed:
        console.failure(text)
    if as_json:
        documents = {name: _document(report) for name, report in reports.items()}
        console.print_json(documents[""] if shares is None else {"splits": documents})
    else:
        for report in reports.values():
            _print(report)
    if preview:
        for report in reports.values():
            try:
                save_picture(dataset_sheet(report.folder), report.folder / "preview.png")
            except FlowCutError as error:  # the dataset is made, all the same
                console.failure(f"no preview: {error}")
                failed.append(("", str(error)))
    return 1 if failed else 0


def check(folder: Path, *, as_json: bool = False) -> int:
    """Check a dataset and say what is wrong with it; return the exit code."""
    with console.progress_bar("items/s") as progress:
        task = progress.add_task(f"check {folder.name}", total=None)
        found = check_dataset(folder, lambda: progress.advance(task))
    clips, instances = WRITTEN[found.format]
    if as_json:
        console.print_json(
            {
                "dataset": str(folder),
                "valid": found.count == 0,
                "format": found.format,
                "counts": {clips: found.clips, instances: found.instances},
                "problems": found.problems,
                "problem_count": found.count,
            }
        )
    elif found.count == 0:
        console.result(f"{folder}: valid, {found.clips} {clips} with {found.instances} {instances} ({found.format})")
    if found.count:
        for text in found.problems:
            console.failure(text)
        more = found.count - len(found.problems)
        if more:
            console.failure(f"{folder}: {more} further problem(s)")
    return 2 if found.count else 0


def merge(sources: list[str], out: Path, *, frame_files: str, overwrite: bool, as_json: bool = False) -> int:
    """Merge datasets into one; return the exit code."""
    if frame_files not in get_args(FrameFilesMode):
        raise InputError(f"--frame-files {frame_files}: choose one of {', '.join(get_args(FrameFilesMode))}")
    mode: Any = frame_files
    counts = merge_datasets([Path(source) for source in sources], out, frame_files=mode, overwrite=overwrite)
    if as_json:
        console.print_json({"dataset": str(out), "counts": counts})
    else:
        console.result(f"{out}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    return 0


def _found(root: str) -> list[VideoEntry]:
    try:
        entries, notes = find_videos_below(root)
    except InputError as error:
        raise InputError(f"--videos: {error}") from None
    for text in notes:
        console.note(text)
    return entries


def _gaps(text: str) -> tuple[int, ...]:
    return tuple(_whole(part, "--gaps") for part in text.split(","))


def _whole(text: str, option: str) -> int:
    if not (text.strip().isascii() and text.strip().isdecimal() and len(text) < 10):
        example = "1,2,3,4" if option == "--gaps" else "2, 5 or all"
        raise InputError(f"{option} {text[:40]!r}: no whole number that makes sense here; give {example}")
    return int(text)


def _print(report: ExportReport) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    total = report.total
    reasons = [reason for reason in CLIP_REASONS if total.dropped_clips[reason]]
    for heading in ("gap", "pairs" if _is_pairs(report) else "windows", "clips", "kept", "instances"):
        table.add_column(heading, justify="right")
    for reason in reasons:
        table.add_column(_WHY[reason], justify="right", header_style="dim", style="dim")
    rows: Mapping[str, Yield] = {str(gap): figures for gap, figures in sorted(report.yields.items())}
    if len(rows) > 1:
        rows = {**rows, "all": total}
    for name, figures in rows.items():
        kept = f"{figures.clips / figures.candidates:.0%}" if figures.candidates else "-"
        dropped = [str(figures.dropped_clips[reason]) for reason in reasons]
        cells = [name, str(figures.candidates), str(figures.clips), kept, str(figures.instances), *dropped]
        table.add_row(*cells, style="bold" if name == "all" else "")
    console.stdout.print(table)
    if report.empty:
        names = ", ".join(report.empty[:8]) + (f" and {len(report.empty) - 8} more" if len(report.empty) > 8 else "")
        console.note(f"without a clip: {names}")
    videos = f"{report.videos} video{'s' if report.videos != 1 else ''}"
    console.result(f"{report.folder}: {total.clips} clips of {videos}, {total.instances} instances")


def _is_pairs(report: ExportReport) -> bool:
    return report.plan.parameters.clip_length == 2


def _document(report: ExportReport) -> dict[str, Any]:
    total = report.total
    return {
        "dataset": str(report.folder),
        "videos": report.videos,
        "clips": total.clips,
        "instances": total.instances,
        "yield": {str(gap): figures.to_json() for gap, figures in sorted(report.yields.items())},
        "empty": report.empty,
        "failed": [{"video": name, "error": text} for name, text in report.failed],
        "notes": report.notes,
    }
