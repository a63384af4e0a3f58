"""``flowcut batch``: stage 1 for a whole dataset, on this machine or on a cluster."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.table import Table

from flowcut_napari.commands import console
from flowcut_napari.commands.options import Settings
from flowcut_napari.core.batch import BatchPlan, ClusterLostError, VideoOutcome, plan_weights, run_batch
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.refine import CRF_INSTALL_HINT, crf_is_available
from flowcut_napari.core.video import VideoEntry, find_videos_below, refuse_same_names
from flowcut_napari.core.video_job import MasksJob, parse_frames
from flowcut_napari.core.workers import default_workers


def batch_videos(
    roots: list[str],
    out: Path,
    settings: Settings,
    *,
    frames: str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    use_cache: bool = True,
    as_json: bool = False,
) -> int:
    """Make the pseudo-masks of all videos below the roots; return the exit code."""
    if workers is not None and scheduler is not None:
        raise InputError("--workers starts a cluster here and --scheduler uses another one; give one of them")
    if resume and overwrite:
        raise InputError("--resume keeps what is there and --overwrite replaces it; give one of them")
    entries = _find(roots)
    parameters = settings.parameters
    plan = BatchPlan(
        parameters=parameters,
        job=MasksJob(Path(os.path.abspath(out)), parse_frames(frames), overwrite=overwrite, resume=resume),
        weights=plan_weights(parameters, settings.weights, settings.device if scheduler is None else None),
        device=settings.device,
        cache=use_cache,
    )
    if scheduler is None and parameters.crf and not crf_is_available():
        console.note(f"pydensecrf is not installed, masks stay unrefined; to mend it: {CRF_INSTALL_HINT}")
    count = default_workers() if workers is None else workers
    tally = _Tally(len(entries))
    said: set[str] = set()
    errors: list[str] = []

    def take(outcome: VideoOutcome) -> None:
        tally.add(outcome)
        for text in outcome.notes:
            # What concerns the machine, every video says again.
            if text not in said and CRF_INSTALL_HINT not in text:
                said.add(text)
                console.note(text)
        if outcome.error is not None:
            # Said at the end: among thousands of lines nobody would find it.
            errors.append(outcome.error)
        elif not as_json and outcome.status == "done":
            console.result(_line(outcome))

    lost = False
    try:
        with tally.shown():
            outcomes = run_batch(
                entries,
                plan,
                workers=count,
                scheduler=scheduler,
                on_outcome=take,
                on_frames=tally.add_frames,
                on_note=console.note,
            )
    except ClusterLostError as error:
        outcomes, lost = error.outcomes, True
        errors.append(str(error))
    finally:
        for text in errors:
            console.failure(text)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if as_json:
        console.print_json(_document(outcomes, tally))
    else:
        console.result(tally.sentence())
        if failed and len(failed) < len(outcomes):
            console.failure(f"{len(failed)} of {len(outcomes)} videos failed: {_some(failed)}; mend and --resume")
    if not failed and not lost:
        return 0
    return 1 if len(failed) < len(outcomes) else 2


def _find(roots: list[str]) -> list[VideoEntry]:
    entries = []
    for root in roots:
        # Workers may stand in another folder.
        found, notes = find_videos_below(os.path.abspath(root) if root.strip() else root)
        entries += found
        for text in notes:
            console.note(text)
    return refuse_same_names(entries)


class _Tally:
    """How far the batch is, as a table that follows it on a terminal."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.counts: Counter[str] = Counter()
        self.frames = 0
        self.instances = 0
        # Of videos under way, too; only shown.
        self.seen_frames = 0
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def add(self, outcome: VideoOutcome) -> None:
        self.counts[outcome.status] += 1
        if outcome.status == "done":
            self.frames += outcome.frames
            self.instances += outcome.instances

    def add_frames(self, count: int) -> None:
        self.seen_frames += count

    @contextmanager
    def shown(self) -> Iterator[None]:
        if not console.stderr.is_terminal:
            yield
            return
        with Live(get_renderable=self.table, console=console.stderr, refresh_per_second=2, transient=True):
            yield

    def table(self) -> Table:
        ended = sum(self.counts.values())
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
        frames = max(self.frames, self.seen_frames)
        rate = frames / self.seconds if self.seconds else 0.0
        worked = ended - self.counts["skipped"]
        remaining = self.seconds / worked * (self.total - ended) if worked else None
        cells = {
            "done": (str(self.counts["done"]), "green"),
            "skipped": (str(self.counts["skipped"]), ""),
            "failed": (str(self.counts["failed"]), "bold red" if self.counts["failed"] else ""),
            "left": (str(self.total - ended), ""),
            "frames": (str(frames), ""),
            "frames/s": (f"{rate:.2f}" if frames else "-", "cyan"),
            "elapsed": (_clock(self.seconds), ""),
            "time left": (_clock(remaining) if remaining is not None else "-", ""),
        }
        for name, (_, style) in cells.items():
            table.add_column(name, justify="right", style=style, no_wrap=True)
        table.add_row(*(value for value, _ in cells.values()))
        return table

    def sentence(self) -> str:
        parts = [f"{self.counts[name]} {name}" for name in ("done", "skipped", "failed") if self.counts[name]]
        speed = f", {self.frames / self.seconds:.2f} frames/s" if self.frames else ""
        return f"{self.total} videos: {', '.join(parts)}; {self.instances} masks in {self.frames} frames{speed}"


def _document(outcomes: list[VideoOutcome], tally: _Tally) -> dict[str, Any]:
    return {
        "videos": [
            {
                "video": outcome.name,
                "status": outcome.status,
                "frames": outcome.frames,
                "frames_with_masks": outcome.frames_with_masks,
                "instances": outcome.instances,
                "stale": outcome.stale,
                "seconds": outcome.seconds,
                "notes": list(outcome.notes),
            }
            for outcome in outcomes
            if outcome.status != "failed"
        ],
        "failed": [{"video": item.name, "error": item.error} for item in outcomes if item.status == "failed"],
        "counts": {name: tally.counts[name] for name in ("done", "skipped", "failed")},
        "seconds": round(tally.seconds, 3),
    }


def _line(outcome: VideoOutcome) -> str:
    return (
        f"{outcome.name}: {outcome.instances} masks in {outcome.frames_with_masks} of {outcome.frames} frames, "
        f"{outcome.seconds:.1f} s"
    )


def _some(outcomes: list[VideoOutcome]) -> str:
    names = [outcome.name for outcome in outcomes]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
