"""``flowcut masks``: stage 1, pseudo-masks of videos."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID

from flowcut_napari.commands import console
from flowcut_napari.commands.options import Settings
from flowcut_napari.core.cache import ArrayCache
from flowcut_napari.core.errors import FlowCutError, InputError, OutputError
from flowcut_napari.core.files import check_writable
from flowcut_napari.core.preview import contact_sheet, save_overlays, save_picture
from flowcut_napari.core.run import Segmenter
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.core.video import Video, VideoEntry, find_videos, refuse_same_names
from flowcut_napari.core.video_job import MasksJob, parse_frames
from flowcut_napari.core.workers import default_workers


@dataclass
class Outcome:
    """What became of every video."""

    done: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)

    def fail(self, video: str, error: FlowCutError) -> None:
        """Take down a failure, and say it at once."""
        self.failed.append({"video": video, "error": str(error)})
        if console.debug:
            traceback.print_exception(error)
        console.failure(str(error))

    @property
    def exit_code(self) -> int:
        """0 when all is done, 1 when some is, 2 when nothing is."""
        if not self.failed:
            return 0
        return 1 if self.done else 2


def run_masks(
    addresses: list[str],
    out: Path,
    settings: Settings,
    *,
    frames: str | None = None,
    preview: bool = False,
    workers: int | None = None,
    use_cache: bool = True,
    overwrite: bool = False,
    as_json: bool = False,
    quiet: bool = False,
) -> int:
    """Make and save the pseudo-masks of all videos at the addresses; return the exit code."""
    outcome = Outcome()
    job = MasksJob(out, parse_frames(frames), overwrite=overwrite)
    entries = _find_all(addresses, outcome)
    refuse_same_names(entries)
    if entries:
        check_writable(out)
        cache = ArrayCache() if use_cache else None
        count = default_workers() if workers is None else workers
        parameters, weights, device = settings.parameters, settings.weights, settings.device
        with (
            Segmenter(parameters, weights=weights, device=device, workers=count, cache=cache) as segmenter,
            console.progress_bar() as progress,
        ):
            for text in segmenter.notices:
                console.note(text)
            for entry in entries:
                try:
                    video, masks = _make(segmenter, entry, job, progress)
                    if preview:
                        _save_preview(video, masks, out)
                except FlowCutError as error:
                    outcome.fail(entry.name, error)
                    continue
                outcome.done.append(_summary(masks, job.path(entry)))
                if not (as_json or quiet):
                    console.result(_line(outcome.done[-1]))
    if as_json:
        console.print_json({"videos": outcome.done, "failed": outcome.failed})
    elif outcome.failed and outcome.done:
        total = len(outcome.done) + len(outcome.failed)
        names = ", ".join(item["video"] for item in outcome.failed)
        console.failure(f"{len(outcome.failed)} of {total} videos failed: {names}")
    return outcome.exit_code


def _find_all(addresses: list[str], outcome: Outcome) -> list[VideoEntry]:
    entries: list[VideoEntry] = []
    for address in addresses:
        try:
            entries += find_videos(address)
        except InputError as error:
            outcome.fail(address, error)
    return entries


def _make(segmenter: Segmenter, entry: VideoEntry, job: MasksJob, progress: Progress) -> tuple[Video, VideoMasks]:
    tasks: list[TaskID] = []

    def start(video: Video, count: int) -> None:
        for text in segmenter.video_notes(video):
            console.note(text)
        tasks.append(progress.add_task(video.name, total=count))

    try:
        done = job.make(segmenter, entry, start, lambda _: progress.advance(tasks[0]))
    finally:
        for task in tasks:
            progress.remove_task(task)
    for text in done.notes:
        console.note(text)
    return done.video, done.masks


def _save_preview(video: Video, masks: VideoMasks, out: Path) -> None:
    try:
        save_overlays(video, masks, out / f"{video.name}.preview")
        save_picture(contact_sheet(video, masks), out / f"{video.name}.preview.png")
    except OSError as error:
        if isinstance(error, FlowCutError):
            raise
        place = error.filename or out
        raise OutputError(f"{place}: the preview cannot be written ({error.strerror or error})") from None


def _summary(masks: VideoMasks, path: Path) -> dict[str, Any]:
    return {
        "video": masks.video.name,
        "masks": str(path),
        "frames": len(masks.frames),
        "frames_with_masks": sum(bool(frame.instances) for frame in masks.frames),
        "instances": sum(len(frame.instances) for frame in masks.frames),
        "stale": len(masks.decisions.stale),
        "seconds": masks.provenance["seconds"],
        "notes": masks.provenance["notes"],
    }


def _line(summary: dict[str, Any]) -> str:
    seconds = summary["seconds"]
    speed = f", {summary['frames'] / seconds:.2f} frames/s" if seconds else ""
    return (
        f"{summary['video']}: {summary['instances']} masks in {summary['frames_with_masks']} of "
        f"{summary['frames']} frames{speed} -> {summary['masks']}"
    )
