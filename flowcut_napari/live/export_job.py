"""The process that makes a dataset: ``flowcut curate``, telling how far it is."""

from __future__ import annotations

import time
from collections.abc import Mapping

from flowcut_napari.core.clips import Yield
from flowcut_napari.core.dataset import ExportPlan, ExportReport, export_dataset, export_splits
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.files import clear_unfinished
from flowcut_napari.core.sources import find_masks, parse_split
from flowcut_napari.core.video import VideoEntry, find_videos_below, refuse_same_names
from flowcut_napari.live.export_messages import ExportDone, ExportJob, ExportStep
from flowcut_napari.live.one_job import failures_told, serve_one_job
from flowcut_napari.live.pipe import ParentPipes

# A bar that moves more often is not seen to.
_STEP_SECONDS = 0.05


def run(parent: ParentPipes, job: ExportJob) -> None:
    """Do the job and tell how it goes; the last record is `ExportDone` or `Failed`."""
    began = time.monotonic()
    with failures_told(parent):
        entries, notes = _moved(job.videos)
        plan = ExportPlan(job.parameters, job.format, job.frame_files, entries, job.overwrite)
        files = find_masks(job.addresses)
        progress = _Progress(parent, len(files))
        reports: Mapping[str, ExportReport]
        if job.split:
            shares = parse_split(job.split)
            reports = export_splits(files, job.out, plan, shares, progress.end_video, progress.place_frame)
        else:
            reports = {"": export_dataset(files, job.out, plan, progress.end_video, progress.place_frame)}
        parent.send(_done(job, reports, notes, time.monotonic() - began))


class _Progress:
    """Tells the window how far an export is, now and then."""

    def __init__(self, parent: ParentPipes, total: int) -> None:
        self._parent, self._total = parent, total
        self._done = 0
        self._told = time.monotonic()
        parent.send(ExportStep(0, total))

    def place_frame(self, video: str, frames: int, of_frames: int) -> None:
        now = time.monotonic()
        if now - self._told >= _STEP_SECONDS:
            self._told = now
            self._parent.send(ExportStep(self._done, self._total, video, frames, of_frames))

    def end_video(self, _: str) -> None:
        self._done += 1
        now = time.monotonic()
        if now - self._told >= _STEP_SECONDS or self._done == self._total:
            self._told = now
            self._parent.send(ExportStep(self._done, self._total))


def _moved(roots: tuple[str, ...]) -> tuple[dict[str, VideoEntry], list[str]]:
    """Find the videos that are elsewhere now, by name, and what was passed over."""
    entries: list[VideoEntry] = []
    notes: list[str] = []
    for root in roots:
        try:
            found, passed_over = find_videos_below(root)
        except InputError as error:
            raise InputError(f"--videos: {error}") from None
        entries += found
        notes += passed_over
    return {entry.name: entry for entry in refuse_same_names(entries)}, notes


def _done(job: ExportJob, reports: Mapping[str, ExportReport], notes: list[str], seconds: float) -> ExportDone:
    total = Yield()
    for report in reports.values():
        total.add(report.total)
    return ExportDone(
        job.out,
        tuple(name for name in reports if name),
        sum(report.videos for report in reports.values()),
        total,
        tuple(name for report in reports.values() for name in report.empty),
        tuple(item for report in reports.values() for item in report.failed),
        (*notes, *(text for report in reports.values() for text in report.notes)),
        seconds,
    )


def run_and_tidy(parent: ParentPipes, job: ExportJob) -> None:
    """Do the job; asked to end, leave nothing half done."""
    try:
        run(parent, job)
    except SystemExit:
        # It may have been asked just while the old dataset made room for the new one.
        clear_unfinished(job.out)
        raise


if __name__ == "__main__":
    serve_one_job(run_and_tidy)
