"""``flowcut evaluate``: predictions against ground truth, with the numbers of YouTube-VIS and of DAVIS-2017."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from flowcut_napari.commands import console
from flowcut_napari.commands.evaluation_document import davis_document, davis_row, ytvis_document
from flowcut_napari.commands.evaluation_progress import Following
from flowcut_napari.core.errors import InputError, printable
from flowcut_napari.core.files import check_writable, write_atomically

if TYPE_CHECKING:
    from flowcut_training.evaluation import DavisResult, YtvisResult

_LONGEST_NAME = 32
# Of DAVIS, two seconds of work at most: starting processes takes about as long.
_FEW_FRAMES = 150


def evaluate_ytvis(
    ground_truth: Path,
    predictions: Path,
    *,
    threshold: float | None = None,
    use_categories: bool = False,
    workers: int | None = None,
    worst: int = 5,
    table: Path | None = None,
    as_json: bool = False,
    as_events: bool = False,
    most: int | None = None,
) -> int:
    """Print the numbers of YouTube-VIS, the worst videos and the worst objects; return the exit code."""
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"--threshold {threshold}: give a score from 0 to 1, such as 0.8")
    if (predictions / "results.json").is_file():  # a folder that `flowcut predict` wrote
        predictions = predictions / "results.json"
    _check_table(table, ground_truth, predictions)
    following = Following("video", as_json, as_events)
    from flowcut_training.evaluation import measure_ytvis
    from flowcut_training.evaluation.ytvis_input import read_ground_truth_file, read_json

    path, truth = read_ground_truth_file(ground_truth)
    results = read_json(predictions)
    videos = truth.get("videos") if isinstance(truth, dict) else None
    with following.begin(len(videos) if isinstance(videos, list) else None):
        measured = measure_ytvis(
            truth,
            results,
            use_categories,
            workers=_workers(workers),
            on_video=following.advance,
            names=(str(path), str(predictions)),
        )
    result = measured.score()
    above = measured.score(threshold) if threshold is not None else None
    if table is not None:
        _write_table(table, (asdict(item) for item in result.per_object))
    if as_json or as_events:
        order = [video["id"] for video in truth["videos"]]
        following.end(ytvis_document(path, predictions, order, measured, result, threshold, above, most))
        return 0
    stats = {"": result.stats} if above is None else {"all": result.stats, f">= {threshold:g}": above.stats}
    console.stdout.print(_stats_table(stats))
    _print_worst_ytvis(result, worst)
    objects, detections = len(result.per_object), sum(video.detections for video in result.per_video)
    kind = f"{len(measured.categories)} categories" if use_categories else "class-agnostic"
    counts = f"{_count(len(result.per_video), 'video')}, {_count(objects, 'object')}, {_count(detections, 'detection')}"
    console.result(f"{predictions}: {counts}, {kind}")
    if table is not None:
        console.result(f"every object: {table}")
    return 0


def evaluate_davis(
    ground_truth: Path,
    predictions: Path,
    *,
    subset: str | None = None,
    missing_as_empty: bool = False,
    workers: int | None = None,
    worst: int = 5,
    table: Path | None = None,
    as_json: bool = False,
    as_events: bool = False,
    most: int | None = None,
) -> int:
    """Print the numbers of DAVIS-2017 (unsupervised) and the worst objects; return the exit code."""
    _check_table(table, ground_truth, predictions)
    following = Following("sequence", as_json, as_events)
    from flowcut_training.evaluation import evaluate_davis, find_sequences

    sequences, notes = find_sequences(ground_truth, predictions, subset=subset, missing_as_empty=missing_as_empty)
    if workers is None:
        frames = sum(len(files.annotations) for files in sequences.values())
        workers = _workers(None) if frames > _FEW_FRAMES else 1
    with following.begin(len(sequences)):
        result = evaluate_davis(sequences, workers=workers, on_sequence=following.advance)
    notes += [
        f"{sequence.name}: no object in its first annotation; it does not count"
        for sequence in result.per_sequence
        if not sequence.objects
    ]
    for text in notes:
        console.note(text)
    if table is not None:
        _write_table(table, (davis_row(item) for item in result.per_object))
    if as_json or as_events:
        following.end(davis_document(ground_truth, predictions, sequences, result, notes, most))
        return 0
    console.stdout.print(_stats_table({"": result.stats}))
    _print_worst_davis(result, worst)
    counts = f"{_count(len(result.per_sequence), 'sequence')}, {_count(len(result.per_object), 'object')}"
    console.result(f"{predictions}: {counts}")
    if table is not None:
        console.result(f"every object: {table}")
    return 0


def _workers(given: int | None) -> int:
    from flowcut_napari.core.workers import default_workers

    return given or default_workers()


def _check_table(table: Path | None, *sources: Path) -> None:
    """See that a table can be written before anything is computed for it."""
    if table is None:
        return
    if not str(table).strip() or table.is_dir() or table.name in ("", "."):
        raise InputError(f"--csv {table}: is no file; give a name such as objects.csv")
    if any(source.exists() and table.exists() and table.samefile(source) for source in sources):
        raise InputError(f"--csv {table}: would replace what is evaluated; give another name")
    check_writable(table.parent)


def _write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    listed = list(rows)
    if listed:
        writer = csv.DictWriter(text, list(listed[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(listed)
    write_atomically(path, text.getvalue())


def _print_worst_ytvis(result: YtvisResult, worst: int) -> None:
    videos = [video for video in result.per_video if video.objects][:worst]
    if videos:
        table = _table("worst videos", 1, ["objects", "detections", "best IoU", "recall@.5", "recall@.75", "FP@.5"])
        for video in videos:
            shares = [_percent(value) for value in (video.best_iou, video.recall_50, video.recall_75)]
            counts = [str(video.objects), str(video.detections)]
            table.add_row(_name(f"{video.name} ({video.video})"), *counts, *shares, str(video.false_positives))
        _print_below(table)
    objects = result.per_object[:worst]
    if objects:
        table = _table("worst objects", 1, ["annotation", "frames", "best IoU", "its score", "worst frame"])
        for item in objects:
            score = "-" if item.score is None else f"{item.score:.2f}"
            table.add_row(
                _name(f"{item.name} ({item.video})"),
                str(item.annotation),
                str(item.length),
                _percent(item.best_iou),
                score,
                _frame(item.worst_frame, item.worst_file),
            )
        _print_below(table)
    console.stdout.print()


def _print_worst_davis(result: DavisResult, worst: int) -> None:
    headings = ["object", "proposal", "J&F-Mean", "J-Mean", "J-Recall", "F-Mean", "F-Recall"]
    table = _table("worst objects", 1, headings)
    for item in result.per_object[:worst]:
        values = (item.mean, item.j.mean, item.j.recall, item.f.mean, item.f.recall)
        proposal = "-" if item.proposal is None else str(item.proposal)
        table.add_row(_name(item.sequence), str(item.object), proposal, *map(_percent, values))
    if worst:
        _print_below(table)
    console.stdout.print()


def _stats_table(rows: Mapping[str, Mapping[str, float]]) -> Table:
    """Return the numbers in percent, one line for each row; without a column of names if there is but one."""
    names = list(next(iter(rows.values())))
    is_named = len(rows) > 1
    table = _table("score" if is_named else None, 0, names)
    for name, stats in rows.items():
        values = [
            _percent(None if value == -1 and not _can_be_negative(key) else value) for key, value in stats.items()
        ]
        table.add_row(*([Text(name)] if is_named else []), *values)
    return table


def _can_be_negative(name: str) -> bool:
    return name.endswith("Decay")


def _table(first: str | None, gap: int, headings: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1 + gap, 0, 0), header_style="bold")
    if first is not None:
        table.add_column(first, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _print_below(table: Table) -> None:
    console.stdout.print()
    console.stdout.print(table)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _frame(frame: int | None, file: str | None) -> Text:
    """Return what a frame is called: its file without a suffix, else its place."""
    return _name("-" if frame is None else PurePosixPath(file).stem if file else str(frame))


def _name(text: str) -> Text:
    # The end of a name tells videos apart.
    text = printable(text)
    return Text(text if len(text) <= _LONGEST_NAME else "..." + text[3 - _LONGEST_NAME :])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"
