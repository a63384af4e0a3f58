"""What a sweep measures: cells, each a video under a setting, and what is made of them over videos."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.grid import Grid, Setting
from flowcut_napari.core.proxies import measure_proxies
from flowcut_napari.core.scoring import FrameScore, VideoScore, score_stats
from flowcut_napari.core.store import VideoMasks

# Measures of a cell: the name in tables, and in `score_stats`.
SCORES = {
    "J": "J-Mean",
    "F": "F-Mean",
    "J&F": "J&F-Mean",
    "J_objects": "J-Mean (objects)",
    "F_objects": "F-Mean (objects)",
    "recall_50": "Recall@50",
    "recall_75": "Recall@75",
    "missed": "missed",
    "spurious": "spurious",
}
PROXIES = (
    *("yield_share", "matched_share", "weakest_iou", "consistency", "crf_agreement", "eigengap"),
    *("masks", "area"),
)
# Of which more is better: what a best setting can be chosen by.
MEASURES = (*list(SCORES)[:7], *PROXIES[:6])


@dataclass(frozen=True)
class Cell:
    """What became of a video under a setting.

    Attributes
    ----------
    video : str
    setting : Setting
    frames : int
        That were cut.
    measures : dict of str to (float or None)
        `SCORES` where there is ground truth, and `PROXIES`.
    """

    video: str
    setting: Setting
    frames: int
    measures: Mapping[str, float | None]


def measure_cell(masks: VideoMasks, scores: Sequence[FrameScore | None]) -> dict[str, float | None]:
    """Return all measures of the masks of a video, those of `SCORES` only where frames have a score."""
    measures: dict[str, float | None] = {}
    scored = tuple(score for score in scores if score is not None)
    if scored:
        stats = score_stats([VideoScore(masks.video.name, scored)])
        measures |= {name: None if (value := stats[key]) is None else float(value) for name, key in SCORES.items()}
    proxies = asdict(measure_proxies(masks))
    return measures | {name: proxies[name] for name in PROXIES}


def mean_over_videos(cells: Sequence[Cell], measure: str) -> dict[Setting, float | None]:
    """Return for every setting the mean of a measure over the videos that have it; None where none has."""
    values: dict[Setting, list[float]] = {}
    for cell in cells:
        known = values.setdefault(cell.setting, [])
        value = cell.measures.get(measure)
        if value is not None:
            known.append(value)
    return {setting: sum(known) / len(known) if known else None for setting, known in values.items()}


def best_setting(cells: Sequence[Cell], measure: str) -> tuple[Setting, float] | None:
    """Return the setting with the highest mean of a measure, and that mean; of equal ones the first; None without any.

    Raises
    ------
    InputError
        If the measure is none of which more is better.
    """
    check_measure(measure)
    means = {setting: mean for setting, mean in mean_over_videos(cells, measure).items() if mean is not None}
    if not means:
        return None
    best = max(means, key=lambda setting: means[setting])
    return best, means[best]


def check_measure(measure: str, *, has_truth: bool = True) -> None:
    """See that settings can be chosen by a measure.

    Raises
    ------
    InputError
        If not.
    """
    if measure not in MEASURES:
        raise InputError(f"--measure {measure}: choose one of {', '.join(MEASURES)}")
    if measure in SCORES and not has_truth:
        raise InputError(
            f"--measure {measure}: needs --ground-truth; without it choose one of {', '.join(PROXIES[:6])}"
        )


def cells_table(cells: Sequence[Cell], grid: Grid) -> str:
    """Return all cells as a tidy csv: a row for each video and setting."""
    names = [axis.name for axis in grid.axes]
    measured = [name for name in (*SCORES, *PROXIES) if any(name in cell.measures for cell in cells)]
    return _csv(
        ["video", *names, "frames", *measured],
        (
            [cell.video, *dict(cell.setting.values).values(), cell.frames, *map(cell.measures.get, measured)]
            for cell in cells
        ),
    )


def overall_table(cells: Sequence[Cell], grid: Grid) -> str:
    """Return the means over videos as a tidy csv: a row for each setting."""
    names = [axis.name for axis in grid.axes]
    measured = [name for name in (*SCORES, *PROXIES) if any(name in cell.measures for cell in cells)]
    columns = [mean_over_videos(cells, name) for name in measured]
    videos = len({cell.video for cell in cells})
    return _csv(
        [*names, "videos", *measured],
        ([*dict(s.values).values(), videos, *(column.get(s) for column in columns)] for s in grid.settings),
    )


def _csv(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows(rows)
    return text.getvalue()
