"""What of an evaluation stands in tables: our numbers, published ones under them, and the videos, the worst first."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flowcut_napari.core.evaluation_report import STATS, Kind, Report, VideoResult
from flowcut_napari.core.published_results import PublishedRow, published_heading, published_rows

# Of the tables of papers, by the names of `stats`; further numbers are in tooltips and in the csv.
COLUMNS: Mapping[Kind, Mapping[str, str]] = {
    "ytvis": {name: name for name in ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR10")},
    "davis": {"J&F-Mean": "J&F", "J-Mean": "J", "F-Mean": "F"},
}
UNDEFINED = "–"  # noqa: RUF001  # as tables have it
# Objects that are named in a tooltip.
_SHOWN = 8


@dataclass(frozen=True)
class StatRow:
    """A row of numbers as text, in percent, in the order of `COLUMNS`; ours, or published ones; or a heading."""

    label: str
    values: tuple[str, ...]
    tip: str
    is_ours: bool

    @property
    def is_heading(self) -> bool:
        """Whether it has no numbers."""
        return not self.values


def percent(value: float | None, *, can_be_negative: bool = False) -> str:
    """Return a share in percent with one decimal.

    Examples
    --------
    >>> percent(0.2434), percent(-1), percent(None), percent(-0.05, can_be_negative=True)
    ('24.3', '–', '–', '-5.0')
    """
    if value is None or (value == -1 and not can_be_negative):
        return UNDEFINED
    return f"{100 * value:.1f}"


def stat_rows(report: Report) -> list[StatRow]:
    """Return the numbers of an evaluation, and under them published ones; see `published_rows`."""
    rows = [_own_row(report, "all" if report.stats_above is not None else "yours", report.stats)]
    if report.stats_above is not None:
        rows.append(_own_row(report, f"≥ {report.threshold:g}", report.stats_above))
    rows.append(StatRow(published_heading(report.kind), (), "For all of that benchmark, as papers report it", False))
    return rows + [_published_row(report.kind, row) for row in published_rows(report.kind)]


def _own_row(report: Report, label: str, stats: Mapping[str, float]) -> StatRow:
    values = tuple(percent(stats[name]) for name in COLUMNS[report.kind])
    tip = " · ".join(
        f"{name} {percent(stats[name], can_be_negative=name.endswith('Decay'))}" for name in STATS[report.kind]
    )
    return StatRow(label, values, f"{report.predictions}\n{tip}", True)


def _published_row(kind: Kind, row: PublishedRow) -> StatRow:
    values = tuple(
        f"{row.values[name]:.1f}{row.mark if name == row.marked else ''}" if name in row.values else ""
        for name in COLUMNS[kind]
    )
    tip = "\n".join(line for line in (f"{row.method} on {row.benchmark}", row.source, row.note) if line)
    return StatRow(row.method + ("" if row.marked else row.mark), values, tip, False)


def summary(report: Report) -> str:
    """Say in a line what was evaluated."""
    video, found = ("video", "detection") if report.kind == "ytvis" else ("sequence", "proposal")
    counts = [
        f"{number:,} {word}{'s' if number != 1 else ''}"
        for number, word in (
            (report.all_videos, video),
            (report.all_objects, "object"),
            (report.all_found, found),
        )
    ]
    return ", ".join(counts)


def numbers_csv(report: Report) -> str:
    """Return all numbers as csv, shares of 1: a line for each row of `stat_rows`, an empty field for what is not known.

    Published numbers are in the columns that they have, with their source.
    """
    names = STATS[report.kind]
    lines: list[list[object]] = [["row", *names, "source"]]
    own = [("all", report.stats)]
    if report.stats_above is not None:
        own.append((f"score >= {report.threshold:g}", report.stats_above))
    for label, stats in own:
        known = ["" if stats[name] == -1 and not name.endswith("Decay") else stats[name] for name in names]
        lines.append([label, *known, str(report.predictions)])
    for row in published_rows(report.kind):
        shares = [round(row.values[name] / 100, 6) if name in row.values else "" for name in names]
        source = row.source + (f" ({row.note})" if row.note else "")
        lines.append([f"{row.method}, {row.benchmark}", *shares, source])
    return _csv(lines)


def videos_csv(report: Report) -> str:
    """Return the list of videos as csv, the worst first, shares of 1."""
    found, score = ("detections", "best_iou") if report.kind == "ytvis" else ("proposals", "J&F-Mean")
    lines: list[list[object]] = [
        ["video", "objects", found, score, "worst_frame", "worst_file", "worst_iou", "address"]
    ]
    for video in report.videos:
        worst = video.worst
        where: list[object] = [worst.place, worst.file, worst.iou] if worst is not None else ["", "", ""]
        mean = "" if video.score is None else video.score
        lines.append([video.name, video.objects, video.found, mean, *where, video.address or ""])
    return _csv(lines)


def _csv(lines: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def tip_of(video: VideoResult) -> str:
    """Say of each object of a video how well it was found, the worst first, a line each."""
    lines = [video.name]
    for item in video.per_object[:_SHOWN]:
        where = f", worst at {item.worst.name} (IoU {percent(item.worst.iou)})" if item.worst is not None else ""
        lines.append(f"{item.name}: {percent(item.score)}{where}")
    if (more := len(video.per_object) - _SHOWN) > 0:
        lines.append(f"and {more} more")
    return "\n".join(lines)
