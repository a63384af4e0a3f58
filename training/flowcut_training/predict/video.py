"""One video: seen whole where memory allows, in windows where it does not."""

from __future__ import annotations

from collections.abc import Callable

import torch

from flowcut_napari.core.errors import InputError
from flowcut_training.model.video_mask2former import VideoMask2Former
from flowcut_training.precision import choose_precision
from flowcut_training.predict.features import ClipFeatures, Frames, Sizes, read_chunks, to_model
from flowcut_training.predict.instances import find_instances
from flowcut_training.predict.memory import frames_that_fit, is_out_of_memory, release
from flowcut_training.predict.parameters import SMALLEST_WINDOW, PredictionParameters
from flowcut_training.predict.tracks import Stage, Track, VideoPrediction, Windows
from flowcut_training.predict.windows import link_windows, overlap_of, plan_windows

# Frames that are encoded at once: on a CPU more are not quicker.
_CHUNKS = {"cpu": 1, "cuda": 8, "mps": 4}


def predict_video(
    model: VideoMask2Former,
    frames: Frames,
    parameters: PredictionParameters | None = None,
    *,
    device: torch.device | str | None = None,
    name: str = "the model",
    on_frames: Callable[[int], None] | None = None,
    on_stage: Callable[[Stage], None] | None = None,
) -> VideoPrediction:
    """Find the instances of a video.

    Frames are encoded a few at a time and decoded as one clip, so that a query is one instance in all of them. Where
    memory is too short for that, the video is seen in overlapping windows (`plan_windows`, `link_windows`), which
    the result says.

    Parameters
    ----------
    model : VideoMask2Former
        On the device; it is left in the mode, training or not, that it was in.
    frames : Frames
        Something with `length`, `height`, `width` and ``frame(place)``, such as a `WholeClip` or `VideoFrames`.
    parameters : PredictionParameters, optional
    device : torch.device or str, optional
        Where the model is; found out if not given.
    name : str
        What errors call the model.
    on_frames : callable, optional
        Called with the number of frames that are encoded so far; after a lack of memory it starts again from 0.
    on_stage : callable, optional
        Called when another part of the work begins; of a video in windows, once for each of them.

    Raises
    ------
    InputError
        If a frame cannot be read, bf16 is asked for where there is none, or memory is too short even for windows.
    WeightsError
        If the model gives what is no number.
    """
    parameters = parameters or PredictionParameters()
    where = next(model.parameters()).device if device is None else torch.device(device)
    precision = choose_precision(parameters.precision, where)
    sizes = Sizes.of(frames, parameters.short_side, parameters.max_side)
    asked = parameters.window or frames.length
    size = min(asked, _fitting(model, sizes, where, parameters, frames.length), frames.length)
    was_training = model.training
    model.eval()
    try:
        while True:
            try:
                with torch.inference_mode(), torch.autocast(where.type, torch.bfloat16, enabled=precision == "bf16"):
                    windows, found = _predict(
                        model, frames, sizes, size, where, parameters.top, name, on_frames, on_stage
                    )
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Not in the handler: there the error still holds all tensors of the attempt.
            release(where)
            size = _smaller(size, parameters, sizes)
    finally:
        model.train(was_training)
    tracks = found[0] if len(windows) == 1 else link_windows(windows, found, sizes.own)
    best = tuple(track for track in tracks[: parameters.top] if track.score >= parameters.threshold)
    if len(windows) == 1:
        return VideoPrediction(best)
    return VideoPrediction(best, Windows(size, overlap_of(size), len(windows), "asked" if size == asked else "memory"))


def _predict(
    model: VideoMask2Former,
    frames: Frames,
    sizes: Sizes,
    size: int,
    device: torch.device,
    top: int,
    name: str,
    on_frames: Callable[[int], None] | None,
    on_stage: Callable[[Stage], None] | None,
) -> tuple[list[range], list[list[Track]]]:
    windows = plan_windows(frames.length, size)
    features = ClipFeatures(size)
    found = []
    encoded = start = 0
    for window in windows:
        if on_stage:
            on_stage("encoding")
        features.move_back(window.start - start)
        start = window.start
        # What the window before has in common with this one is there already.
        for part, batch in read_chunks(frames, sizes, range(encoded, window.stop), _CHUNKS.get(device.type, 1)):
            features.put(part.start - start, *model.encode(to_model(batch, sizes, device)))
            if on_frames:
                on_frames(part.stop)
        encoded = window.stop
        if on_stage:
            on_stage("decoding")
        found.append(find_instances(model, features, sizes, top, name))
    return windows, found


def _fitting(
    model: VideoMask2Former, sizes: Sizes, device: torch.device, parameters: PredictionParameters, length: int
) -> int:
    """Return how many frames memory allows; all of them where it is not to be asked."""
    if parameters.window == 0:
        return length
    fitting = frames_that_fit(model, sizes, device, _CHUNKS.get(device.type, 1))
    return length if fitting is None else max(SMALLEST_WINDOW, fitting)


def _smaller(size: int, parameters: PredictionParameters, sizes: Sizes) -> int:
    height, width = sizes.padded
    if parameters.window == 0:
        raise InputError(f"out of memory with {size} frames of {height}x{width}; leave --window 0 away for windows")
    if size <= SMALLEST_WINDOW:
        raise InputError(f"out of memory with {size} frames of {height}x{width}; give a smaller --short-side")
    return max(SMALLEST_WINDOW, size // 2)
