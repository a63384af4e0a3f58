"""``flowcut score``: pseudo-masks against ground truth, or by what they tell of themselves."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from flowcut_napari.commands import console
from flowcut_napari.core.errors import FlowCutError, InputError, printable
from flowcut_napari.core.files import check_writable, write_atomically
from flowcut_napari.core.frame_files import open_where_it_was
from flowcut_napari.core.ground_truth import GroundTruth, open_ground_truth
from flowcut_napari.core.preview import save_picture, stages_sheet
from flowcut_napari.core.proxies import Proxies, measure_proxies, proxy_stats
from flowcut_napari.core.scoring import FrameScore, VideoScore, score_stats, score_video
from flowcut_napari.core.sources import find_masks
from flowcut_napari.core.store import VideoMasks, load_masks
from flowcut_napari.core.video import Video, VideoEntry, find_videos_below

_LONGEST_NAME = 24
_TOTAL = "mean"
_PROXY_TITLES = {
    "masks": "masks",
    "area": "area",
    "yield_share": "clips",
    "matched_share": "match",
    "weakest_iou": "weakest",
    "consistency": "consist",
    "crf_agreement": "CRF",
    "eigengap": "gap",
}


def run_score(
    addresses: list[str],
    *,
    ground_truth: Path | None = None,
    only_annotated: bool = False,
    worst: int = 5,
    table: Path | None = None,
    sheet: Path | None = None,
    roots: Sequence[str] = (),
    as_json: bool = False,
) -> int:
    """Print how good all masks at the addresses are; return the exit code."""
    files = find_masks(addresses)
    if ground_truth is None and (only_annotated or sheet is not None):
        raise InputError("--annotated-only and --sheet need --ground-truth")
    for option, path in (("--csv", table), ("--sheet", sheet)):
        if path is not None:
            _check_file(option, path)
    truth = open_ground_truth(ground_truth) if ground_truth is not None else None
    if truth is not None:  # all names before any work
        for file in files:
            truth.video(load_masks(file).video.name)
    masks, proxies, scores = [], [], []
    with console.progress_bar("videos/s") as progress:
        task = progress.add_task("score", total=len(files))
        for file in files:
            masks.append(load_masks(file))
            proxies.append(measure_proxies(masks[-1]))
            if truth is not None:
                scores.append(score_video(masks[-1], truth, only_annotated=only_annotated))
            progress.advance(task)
    if table is not None:
        _write_rows(table, _frame_rows(scores) if truth is not None else _proxy_rows(masks, proxies))
    shown = _worst_frames(scores, worst)
    if as_json:
        console.print_json(_document(addresses, ground_truth, masks, proxies, scores))
    elif truth is None:
        _print_proxies(masks, proxies)
    else:
        _print_scores(scores, shown)
    # Last: where a video has moved there is no picture, but all numbers are said.
    if sheet is not None and truth is not None:
        _draw_worst(sheet, shown, {item.video.name: item for item in masks}, truth, roots)
    if as_json:
        return 0
    for path, what in ((table, "every frame" if truth else "every video"), (sheet, "worst frames")):
        if path is not None:
            console.result(f"{what}: {path}")
    return 0


def _check_file(option: str, path: Path) -> None:
    if not str(path).strip() or path.is_dir() or path.name in ("", "."):
        raise InputError(
            f"{option} {path}: is no file; give a name such as scores{'.csv' if 'csv' in option else '.png'}"
        )
    check_writable(path.parent)


def _document(
    addresses: list[str],
    ground_truth: Path | None,
    masks: Sequence[VideoMasks],
    proxies: Sequence[Proxies],
    scores: Sequence[VideoScore],
) -> dict[str, Any]:
    by_video = {score.name: score for score in scores}
    videos = []
    for item, own in zip(masks, proxies, strict=True):
        video: dict[str, Any] = {"video": item.video.name, "proxies": asdict(own)}
        if score := by_video.get(item.video.name):
            video |= {"stats": score_stats([score]), "per_object": _object_rows(score)}
            video["per_frame"] = [_frame_row(score.name, frame) for frame in score.frames]
        videos.append(video)
    return {
        "masks": addresses,
        "ground_truth": None if ground_truth is None else str(ground_truth),
        "stats": score_stats(scores) if scores else proxy_stats(proxies),
        "proxies": proxy_stats(proxies),
        "per_video": videos,
    }


def _object_rows(score: VideoScore) -> list[dict[str, Any]]:
    return [
        {"object": number, "J-Mean": j.mean, "J-Recall": j.recall, "F-Mean": f.mean, "F-Recall": f.recall}
        for number, (j, f) in score.objects().items()
    ]


def _frame_rows(scores: Sequence[VideoScore]) -> Iterable[dict[str, Any]]:
    return (_frame_row(score.name, frame) for score in scores for frame in score.frames)


def _frame_row(video: str, frame: FrameScore) -> dict[str, Any]:
    return {
        "video": video,
        "frame": frame.index,
        "J": frame.j,
        "F": frame.f,
        "objects": len(frame.objects),
        "found": frame.found(),
        "found_75": frame.found(0.75),
        "missed": frame.missed,
        "spurious": frame.spurious,
    }


def _proxy_rows(masks: Sequence[VideoMasks], proxies: Sequence[Proxies]) -> Iterable[dict[str, Any]]:
    return ({"video": item.video.name, **asdict(own)} for item, own in zip(masks, proxies, strict=True))


def _write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    listed = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(listed[0]) if listed else ["video"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    write_atomically(path, text.getvalue())


def _worst_frames(scores: Sequence[VideoScore], most: int) -> list[tuple[str, FrameScore]]:
    frames = [(score.name, frame) for score in scores for frame in score.frames]
    return sorted(frames, key=lambda item: (item[1].j, item[1].f, item[0], item[1].index))[:most]


def _print_scores(scores: Sequence[VideoScore], worst: Sequence[tuple[str, FrameScore]]) -> None:
    table = _table("sequence", ["frames", "J", "J>.5", "F", "J obj", "R50", "R75", "found", "miss", "spur"])
    rows = [(score.name, score_stats([score])) for score in scores]
    rows.append((_TOTAL, score_stats(scores)))
    for name, stats in rows if len(scores) > 1 else rows[:1]:
        cells = [str(stats["frames"])]
        names = ("J-Mean", "J-Recall", "F-Mean", "J-Mean (objects)", "Recall@50", "Recall@75")
        cells += [_percent(stats[key]) for key in names]
        cells += [str(stats[key]) for key in ("found", "missed", "spurious")]
        table.add_row(_name(name), *cells, style="bold" if name == _TOTAL else "")
    console.stdout.print(table)
    if len(scores) > 1:
        total = score_stats(scores)
        console.result(
            f"J over frames {_percent(total['J-Mean (frames)'])}, over sequences {_percent(total['J-Mean'])}, over "
            f"objects {_percent(total['J-Mean (objects)'])}; F {_percent(total['F-Mean (frames)'])}, "
            f"{_percent(total['F-Mean'])}, {_percent(total['F-Mean (objects)'])}; recall and counts over all frames"
        )
    if worst:
        table = _table("worst frames", ["frame", "J", "F", "miss", "spur"])
        for name, frame in worst:
            counts = [str(frame.missed), str(frame.spurious)]
            table.add_row(_name(name), str(frame.index), _percent(frame.j), _percent(frame.f), *counts)
        console.stdout.print()
        console.stdout.print(table)


def _print_proxies(masks: Sequence[VideoMasks], proxies: Sequence[Proxies]) -> None:
    table = _table("video", list(_PROXY_TITLES.values()))
    rows: list[tuple[str, Mapping[str, float | None]]] = [
        (item.video.name, asdict(own)) for item, own in zip(masks, proxies, strict=True)
    ]
    if len(rows) > 1:
        rows.append((_TOTAL, proxy_stats(proxies)))
    for name, values in rows:
        cells = [_proxy(key, values[key]) for key in _PROXY_TITLES]
        table.add_row(_name(name), *cells, style="bold" if name == _TOTAL else "")
    console.stdout.print(table)
    console.note("these are proxies, not quality; with --ground-truth DIR masks are measured (docs/scoring.md)")


def _draw_worst(
    sheet: Path,
    worst: Sequence[tuple[str, FrameScore]],
    masks: Mapping[str, VideoMasks],
    truth: GroundTruth,
    roots: Sequence[str],
) -> None:
    moved = {entry.name: entry for root in roots for entry in find_videos_below(root)[0]}
    videos: dict[str, Video] = {}
    rows = []
    for name, score in worst:
        item = masks[name]
        try:
            if name not in videos:
                videos[name] = _open(item, moved)
            picture = videos[name][score.index]
        except FlowCutError as error:
            raise InputError(f"--sheet: {error}; or give --videos ROOT, where videos are now") from None
        of_video = truth.video(name)
        place = of_video.places(item.video, item.files, [score.index], only_annotated=True)[score.index]
        wanted = of_video.frame(place, picture.shape[:2])
        found = next(frame for frame in item.frames if frame.index == score.index)
        columns = [
            [(instance.id, instance.mask) for instance in found.instances],
            list(enumerate(wanted.objects.values(), start=1)),
        ]
        rows.append((f"{name} {score.index}, J {score.j:.3f}, F {score.f:.3f}", picture, columns))
    words = "foreground against ground truth, the lowest J first"
    save_picture(stages_sheet("Worst frames", words, ("masks", "ground truth"), rows), sheet)


def _open(masks: VideoMasks, moved: Mapping[str, VideoEntry]) -> Video:
    entry = moved.get(masks.video.name)
    return entry.open() if entry is not None else open_where_it_was(masks.video)


def _table(first: str, headings: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(first, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _proxy(name: str, value: float | None) -> str:
    if name in ("masks", "eigengap"):
        return "-" if value is None else f"{value:.2f}"
    return _percent(value)


def _name(text: str) -> Text:
    # The end of a name tells videos apart.
    text = printable(text)
    return Text(text if len(text) <= _LONGEST_NAME else "..." + text[3 - _LONGEST_NAME :])
