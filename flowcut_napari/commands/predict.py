"""``flowcut predict``: the instances that a trained model sees in videos."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rich.progress import Progress, TaskID

from flowcut_napari.commands import console
from flowcut_napari.commands.event_lines import EventLines
from flowcut_napari.core.errors import FlowCutError, InputError, OutputError
from flowcut_napari.core.models import resolve_device
from flowcut_napari.core.video import Video
from flowcut_napari.core.video_job import parse_frames

if TYPE_CHECKING:
    from flowcut_training.predict import Outcome, Stage, VideoSummary, VideoToPredict

# Of what is written where --threshold is not given: the curve of YouTube-VIS wants all, DAVIS has no scores (8.5).
_THRESHOLDS = {"ytvis": 0.0, "davis": 0.3}


def predict(
    run: str,
    addresses: list[str],
    out: Path,
    *,
    checkpoint: str = "best",
    form: str = "ytvis",
    top: int = 10,
    threshold: float | None = None,
    short_side: int | None = None,
    max_side: int | None = None,
    window: int | None = None,
    precision: str = "float32",
    frames: str | None = None,
    device: str = "auto",
    overwrite: bool = False,
    events: bool = False,
    as_json: bool = False,
) -> int:
    """Predict on all videos at the addresses and write the results; return the exit code.

    With `events` programs read what is going on: each a JSON object on a line of its own, the last one what
    `as_json` would print.
    """
    if events and as_json:
        raise InputError("--events and --json do not go together: the last event holds what --json prints")
    if form not in _THRESHOLDS:
        raise InputError(f"--format {form}: choose one of {', '.join(_THRESHOLDS)}")
    chosen = parse_frames(frames)
    lines = EventLines("the prediction goes on") if events else None
    with _told_of(lines):
        if lines:
            lines.tell("stage", stage="starting")
        from flowcut_training.precision import Precision
        from flowcut_training.predict import Outcome, PredictionParameters, predict_videos
        from flowcut_training.trained import load_trained

        if precision not in get_args(Precision):
            raise InputError(f"--precision {precision}: choose one of {', '.join(get_args(Precision))}")
        options: dict[str, Any] = {
            "top": top,
            "threshold": _THRESHOLDS[form] if threshold is None else threshold,
            "window": window,
            "precision": precision,
        }
        # Once before the model is read, which takes a while.
        PredictionParameters.make(short_side=short_side, max_side=max_side, trained_sides=(None, None), **options)
        place = resolve_device(device)
        if lines:
            lines.tell("stage", stage="loading")
        trained = load_trained(_path(run), checkpoint)
        if lines:
            lines.tell("model", file=str(trained.path), step=trained.about.step, device=place)
        sides = (trained.about.short_side, trained.about.max_side)
        parameters = PredictionParameters.make(short_side=short_side, max_side=max_side, trained_sides=sides, **options)
        outcome = Outcome()
        videos = _find(addresses, outcome, lines)
        stopped = None
        if videos:
            with console.progress_bar() as progress:
                watcher = _Watcher(progress, len(videos), lines, quiet=as_json or events)
                try:
                    predict_videos(
                        trained,
                        videos,
                        out,
                        parameters,
                        form=form,  # type: ignore[arg-type]  # looked at above
                        frames=chosen,
                        device=place,
                        overwrite=overwrite,
                        watcher=watcher,
                        outcome=outcome,
                    )
                except OutputError as error:
                    if not outcome.done:
                        raise
                    stopped = error
        if stopped is not None:
            _fail(stopped)
        if lines:
            lines.tell("done", **_document(outcome, out, form, stopped))
        elif as_json:
            console.print_json(_document(outcome, out, form, stopped))
        elif outcome.done:
            _print(outcome, out, form)
        if outcome.failed and outcome.done:
            names = ", ".join(name for name, _ in outcome.failed[:10])
            more = f" and {len(outcome.failed) - 10} more" if len(outcome.failed) > 10 else ""
            total = len(outcome.done) + len(outcome.failed)
            console.failure(f"{len(outcome.failed)} of {total} videos failed: {names}{more}")
        if not outcome.failed and stopped is None:
            return 0
        return 1 if outcome.done else 2


@contextmanager
def _told_of(lines: EventLines | None) -> Iterator[None]:
    """Tell programs of what ends the work before there is an outcome, too."""
    try:
        yield
    except FlowCutError as error:
        if lines:
            lines.tell("error", reason=str(error))
        raise


class _Watcher:
    """Shows on the terminal how work goes on, and tells programs."""

    def __init__(self, progress: Progress, videos: int, lines: EventLines | None, *, quiet: bool) -> None:
        self._progress = progress
        self._lines = lines
        self._quiet = quiet
        self._all: TaskID | None = progress.add_task("videos", total=videos) if videos > 1 else None
        self._current: TaskID | None = None

    def opened(self, video: Video, frames: int) -> None:
        if self._lines:
            self._lines.tell("video", name=video.name, frames=frames)
        for text in video.notices:
            _note(text, self._lines)
        self._current = self._progress.add_task(video.name, total=frames)

    def entered(self, stage: Stage) -> None:
        if self._lines:
            self._lines.tell("stage", stage=stage)

    def encoded(self, frames: int) -> None:
        if self._lines:
            self._lines.tell("frames", done=frames)
        if self._current is not None:
            self._progress.update(self._current, completed=frames)

    def done(self, summary: VideoSummary) -> None:
        self._end()
        if not self._quiet:
            console.result(_line(summary))

    def failed(self, name: str, error: FlowCutError) -> None:
        self._end()
        if self._lines:
            self._lines.tell("failed", video=name, reason=str(error))
        _fail(error)

    def _end(self) -> None:
        if self._current is not None:
            self._progress.remove_task(self._current)
            self._current = None
        if self._all is not None:
            self._progress.advance(self._all)


def _note(text: str, lines: EventLines | None) -> None:
    if lines:
        lines.tell("note", text=text)
    console.note(text)


def _fail(error: FlowCutError) -> None:
    if console.debug:
        traceback.print_exception(error)
    console.failure(str(error))


def _path(run: str) -> Path:
    try:
        path = Path(run)
        if not run.strip() or not path.exists():
            raise InputError(f"{run[:200]}: no such run or weights file")
    except (OSError, ValueError) as error:  # too long, or not allowed in a path
        if isinstance(error, InputError):
            raise
        raise InputError(f"{run[:80]}: cannot be looked up ({error})") from None
    return path


def _find(addresses: list[str], outcome: Outcome, lines: EventLines | None) -> list[VideoToPredict]:
    from flowcut_training.predict import find_videos_to_predict

    videos = []
    for address in addresses:
        try:
            found, notes = find_videos_to_predict(address)
        except InputError as error:
            outcome.failed.append((address, error))
            if lines:
                lines.tell("failed", video=address, reason=str(error))
            _fail(error)
            continue
        videos += found
        for text in notes:
            _note(text, lines)
    return videos


def _line(summary: VideoSummary) -> str:
    speed = f", {summary.frames / summary.seconds:.2f} frames/s" if summary.seconds else ""
    windows = f", in {summary.windows}" if summary.windows is not None else ""
    return f"{summary.name}: {summary.instances} instances in {summary.frames} frames{speed}{windows}"


def _results(out: Path, form: str) -> Path:
    return out / "results.json" if form == "ytvis" else out


def _print(outcome: Outcome, out: Path, form: str) -> None:
    count = len(outcome.done)
    windowed = sum(video.windows is not None for video in outcome.done)
    seen = f", {windowed} of them in windows" if windowed else ""
    console.result(
        f"{_results(out, form)}: {outcome.instances} instances in {count} video{'s' if count > 1 else ''}{seen}"
    )


def _document(outcome: Outcome, out: Path, form: str, stopped: FlowCutError | None) -> dict[str, Any]:
    return {
        "results": str(_results(out, form)) if outcome.done else None,
        "videos": [asdict(video) for video in outcome.done],
        "instances": outcome.instances,
        "windows": sum(video.windows is not None for video in outcome.done),
        "failed": [{"video": name, "error": str(error)} for name, error in outcome.failed],
        "stopped": None if stopped is None else str(stopped),
    }
