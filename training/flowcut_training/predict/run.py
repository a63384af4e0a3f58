"""Many videos, one after the other: a video that cannot be predicted on does not keep the others from their results."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import torch

import flowcut_napari
from flowcut_napari.core.errors import FlowCutError, InputError, OutputError, WeightsError
from flowcut_napari.core.frame_files import spare
from flowcut_napari.core.times import source_date_epoch, time_stamp
from flowcut_napari.core.video import Video
from flowcut_napari.core.video_job import choose_frames
from flowcut_training.model.video_mask2former import VideoMask2Former
from flowcut_training.precision import choose_precision
from flowcut_training.predict.features import VideoFrames
from flowcut_training.predict.folder import PredictionFolder, VideoSummary, prediction_folder
from flowcut_training.predict.parameters import PredictionParameters
from flowcut_training.predict.results import PredictionFormat, ResultVideo
from flowcut_training.predict.sources import VideoToPredict, number_videos
from flowcut_training.predict.tracks import Stage, VideoPrediction
from flowcut_training.predict.video import predict_video
from flowcut_training.trained import TrainedModel

_PACKAGES = ("numpy", "opencv-python-headless", "pillow", "torch", "torchvision")
_EVERYTHING = slice(None)


@dataclass
class Outcome:
    """What became of all videos; `failed` are (name, error)."""

    done: list[VideoSummary] = field(default_factory=list)
    failed: list[tuple[str, FlowCutError]] = field(default_factory=list)

    @property
    def instances(self) -> int:
        """How many instances were found in all."""
        return sum(video.instances for video in self.done)


class Watcher(Protocol):
    """Is told how work goes on."""

    def opened(self, video: Video, frames: int) -> None:
        """Take notice of a video with so many frames to predict on."""

    def encoded(self, frames: int) -> None:
        """Take notice of how many frames of it are through the largest part of the work."""

    def entered(self, stage: Stage) -> None:
        """Take notice of what is done with it now."""

    def done(self, summary: VideoSummary) -> None:
        """Take notice of a finished video."""

    def failed(self, name: str, error: FlowCutError) -> None:
        """Take notice of a video that failed."""


class _Nobody:
    def opened(self, video: Video, frames: int) -> None: ...

    def encoded(self, frames: int) -> None: ...

    def entered(self, stage: Stage) -> None: ...

    def done(self, summary: VideoSummary) -> None: ...

    def failed(self, name: str, error: FlowCutError) -> None: ...


def predict_videos(
    trained: TrainedModel,
    videos: Sequence[VideoToPredict],
    out: Path,
    parameters: PredictionParameters,
    *,
    form: PredictionFormat = "ytvis",
    frames: slice = _EVERYTHING,
    device: str = "cpu",
    overwrite: bool = False,
    watcher: Watcher | None = None,
    outcome: Outcome | None = None,
) -> Outcome:
    """Predict on videos and write the results as they come; memory does not grow with their number.

    Parameters
    ----------
    trained : TrainedModel
    videos : sequence of VideoToPredict
    out : Path
        Folder for the results: not there, empty, or an earlier prediction.
    parameters : PredictionParameters
    form : {"ytvis", "davis"}
    frames : slice
        Of the frames of every video that are predicted on. A video of a json is only taken whole.
    device : str
        Of torch.
    overwrite : bool
        Whether an earlier prediction is replaced.
    watcher : Watcher, optional
    outcome : Outcome, optional
        Filled in as work goes on, so that it is there when an error ends it.

    Raises
    ------
    InputError
        If nothing can be done: the folder holds something else, two videos have one name, and the like.
    OutputError
        If results cannot be written; those of videos that were finished before are kept.
    """
    outcome = Outcome() if outcome is None else outcome
    watcher = watcher or _Nobody()
    numbered = number_videos(videos)
    if frames != _EVERYTHING and (listed := next((video for video in numbered if video.files), None)):
        raise InputError(f"--frames: {listed.entry.place} is compared with its json frame by frame; leave it away")
    where = torch.device(device)
    precision = choose_precision(parameters.precision, where)
    epoch = source_date_epoch()
    spare([trained.path, *(video.entry.place.partition("::")[0] for video in numbered)], out)
    started = time.perf_counter()

    def about() -> dict[str, Any]:
        return {
            "model": {"file": str(trained.path), "sha256": trained.sha256, **trained.about.model_dump(mode="json")},
            "parameters": {**parameters.model_dump(mode="json"), "frames": _written(frames)},
            "provenance": {
                "flowcut_napari": flowcut_napari.__version__,
                "python": platform.python_version(),
                "packages": {name: found for name in _PACKAGES if (found := _version(name))},
                "device": device,
                "precision": precision,
                **time_stamp(time.perf_counter() - started, epoch),
            },
            "counts": {
                "videos": len(outcome.done),
                "frames": sum(video.frames for video in outcome.done),
                "instances": outcome.instances,
                "windowed": sum(video.windows is not None for video in outcome.done),
                "failed": len(outcome.failed),
            },
            "failed": [{"video": name, "error": str(error)} for name, error in outcome.failed],
        }

    with prediction_folder(out, form, overwrite, about) as folder:
        model = _placed(trained, where)
        for video in numbered:
            try:
                summary = _predict_one(model, trained, video, folder, parameters, frames, where, epoch, watcher)
            except OutputError:
                raise
            except FlowCutError as error:
                outcome.failed.append((video.name, error))
                watcher.failed(video.name, error)
                continue
            outcome.done.append(summary)
            watcher.done(summary)
    return outcome


def _predict_one(
    model: VideoMask2Former,
    trained: TrainedModel,
    listed: VideoToPredict,
    folder: PredictionFolder,
    parameters: PredictionParameters,
    frames: slice,
    device: torch.device,
    epoch: int | None,
    watcher: Watcher,
) -> VideoSummary:
    started = time.perf_counter()
    video = listed.entry.open()
    indices = tuple(choose_frames(frames, video))
    watcher.opened(video, len(indices))
    try:
        prediction: VideoPrediction = predict_video(
            model,
            VideoFrames(video, indices),
            parameters,
            device=device,
            name=str(trained.path),
            on_frames=watcher.encoded,
            on_stage=watcher.entered,
        )
    except WeightsError as error:
        raise WeightsError(f"{video.name}: {error}") from None
    files = listed.files or tuple(_file_of(video, index) for index in indices)
    result = ResultVideo(listed.id, video.name, video.height, video.width, files)

    def summary(instances: int) -> VideoSummary:
        return VideoSummary(
            id=listed.id,
            name=video.name,
            path=listed.entry.place,
            frames=len(indices),
            height=video.height,
            width=video.width,
            instances=instances,
            seconds=time_stamp(time.perf_counter() - started, epoch)["seconds"],
            windows=prediction.windows,
        )

    watcher.entered("writing")
    return folder.add(result, prediction, summary)


def _placed(trained: TrainedModel, device: torch.device) -> VideoMask2Former:
    try:
        return trained.model.to(device)
    except RuntimeError as error:
        raise InputError(f"{trained.path}: cannot be brought to {device} ({str(error).splitlines()[0]})") from None


def _file_of(video: Video, index: int) -> str:
    """Return a frame's name as YouTube-VIS has it, ``VIDEO/FILE``, also of one that is no file of its own."""
    return f"{video.name}/{video.frame_file(index) or f'{index:05d}.jpg'}"


def _written(frames: slice) -> str | None:
    if frames == _EVERYTHING:
        return None
    return ":".join("" if part is None else str(part) for part in (frames.start, frames.stop, frames.step))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
