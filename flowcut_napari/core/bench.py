"""Speed of each stage on this machine, as medians, with the reference numerics in the same run.

Machines differ and shared ones drift: what to read are the ratios, and what is asserted in tests is neither.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from flowcut_napari.core.affinity import Cosines
from flowcut_napari.core.features import Appearance, Motion, View, resize_picture
from flowcut_napari.core.masks import Rle, encode_rle
from flowcut_napari.core.matching import match_video
from flowcut_napari.core.models import ModelPlan
from flowcut_napari.core.ncut import cut_cosines
from flowcut_napari.core.parameters import CurationParameters, CutParameters
from flowcut_napari.core.pseudo_masks import segment_frame
from flowcut_napari.core.reference import dense_iterative_cut, pixel_matches
from flowcut_napari.core.refine import FrameCrf, crf_is_available
from flowcut_napari.core.video import Video
from flowcut_napari.core.workers import one_thread

_FRAMES_OF_WHOLE = 8


@dataclass(frozen=True)
class Figure:
    """Times of one stage in milliseconds; `ratio` is the reference's median over this one's."""

    stage: str
    median_ms: float
    p95_ms: float
    runs: int
    ratio: float | None = None
    remark: str = ""


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": device,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def synthetic_features(grid: tuple[int, int], channels: int = 384, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return features of a picture and its flow, (N, C) float32 each: three blobs on a background, with noise.

    Cosines are about .5 within a blob and 0 between blobs, as those of a trained transformer are.
    """
    random = np.random.default_rng(seed)
    rows, cols = np.mgrid[: grid[0], : grid[1]] / np.array(grid)[:, None, None]
    labels = np.zeros(grid, dtype=int)
    for label, (row, col, radius) in enumerate(((0.3, 0.22, 0.13), (0.65, 0.55, 0.16), (0.35, 0.85, 0.1)), start=1):
        labels[np.hypot(rows - row, cols - col) < radius] = label

    def stream() -> np.ndarray:
        centres = random.standard_normal((4, channels))
        noise = random.standard_normal((labels.size, channels))
        return (centres[labels.ravel()] + noise).astype(np.float32)

    return stream(), stream()


def measure(call: Callable[[], object], repeats: int) -> list[float]:
    """Return the times of `repeats` calls in milliseconds, after one that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1e3)
    return times


def bench_cuts(grid: tuple[int, int], repeats: int, reference_repeats: int) -> Iterator[Figure]:
    """Measure the cut of a grid into three instances and, once or more, the reference's."""
    parameters = CutParameters(alpha=0.7, tau=0.15, max_instances=3)
    rgb, flow = synthetic_features(grid)
    count = grid[0] * grid[1]
    with one_thread():
        cosines = Cosines.of(rgb, flow)
        found = cut_cosines(cosines, grid, parameters)
        # No warm-up for what may take half a minute.
        theirs = []
        for _ in range(reference_repeats):
            started = time.perf_counter()
            expected = dense_iterative_cut(rgb, flow, grid, parameters)
            theirs.append((time.perf_counter() - started) * 1e3)
        same = [cut.mask.tolist() for cut in found.cuts] == [mask.tolist() for mask in expected]
        remark = f"{len(found.cuts)} cuts, masks {'equal to' if same else 'DIFFERENT FROM'} the reference's"
        yield _figure(f"cosines of {count} patches, two streams", measure(lambda: Cosines.of(rgb, flow), repeats))
        affinity = measure(lambda: cosines.affinity(parameters.alpha, parameters.tau), repeats)
        yield _figure(f"affinity of {count} patches from their cosines", affinity)
        ours = measure(lambda: cut_cosines(cosines, grid, parameters), repeats)
        ratio = float(np.median(theirs) / np.median(ours))
        yield _figure(f"cuts of {count} patches after a change of alpha or tau", ours, ratio, remark)
        yield _figure(f"reference cuts of {count} patches, dense, affinity anew each time", theirs)


def synthetic_video(frames: int = 30, instances: int = 3, size: tuple[int, int] = (360, 640)) -> list[list[Rle]]:
    """Return masks of discs with wavy outlines that move slowly, by frame."""
    rows, cols = np.mgrid[: size[0], : size[1]]
    found = []
    for index in range(frames):
        masks = []
        for number in range(instances):
            row, col = size[0] / 2 + index, size[1] * (number + 0.5) / instances + (number - 1) * index
            angle = np.arctan2(rows - row, cols - col)
            radius = size[0] / 6 * (1 + 0.1 * np.sin((5 + number) * angle + 0.1 * index))
            masks.append(encode_rle(np.hypot(rows - row, cols - col) < radius))
        found.append(masks)
    return found


def bench_matching(repeats: int, reference_repeats: int) -> Iterator[Figure]:
    """Measure the matching of a whole video and, once or more, that of Algorithm 1 pixel by pixel."""
    frames = synthetic_video()
    span = max(CurationParameters().gaps)
    found = {places: list(matches.pairs) for places, matches in match_video(frames, span).items()}
    with one_thread():
        theirs = measure(lambda: pixel_matches(frames, span), reference_repeats)
        same = found == pixel_matches(frames, span)
        remark = f"{len(found)} pairs of frames, matches {'equal to' if same else 'DIFFERENT FROM'} the reference's"
        ours = measure(lambda: match_video(frames, span), repeats)
        what = f"matches of {len(frames)} frames of {len(frames[0])} masks, gaps 1 to {span}"
        yield _figure(what, ours, float(np.median(theirs) / np.median(ours)), remark)
        yield _figure(f"reference {what}, by pixels", theirs)


def bench_stages(video: Video, plan: ModelPlan, repeats: int) -> Iterator[Figure]:
    """Measure every stage on the first frames of a video, one process, no cache."""
    parameters = plan.parameters
    describer = plan.build()
    size = parameters.frame_size(video.height, video.width)
    picture = resize_picture(video[0], *size)
    partner = resize_picture(video[min(parameters.gap, len(video) - 1)], *size)
    on_cpu = plan.device == "cpu"
    batch = describer.batch
    each = "" if batch == 1 else f"a frame, in batches of {batch}"
    with one_thread() if on_cpu else nullcontext():
        yield _figure("read and resize a frame", measure(lambda: resize_picture(video[0], *size), repeats))
        views: list[View] = [Appearance(picture)] * batch
        if describer.flow is not None and parameters.uses_flow:
            pairs = [(picture, partner)] * batch
            model = describer.flow
            flow = model.estimate(pairs)[0]
            yield _figure(
                f"flow, {model.name}", _per(batch, measure(lambda: model.estimate(pairs), repeats)), None, each
            )
            views += [Motion(flow)] * batch
        times = _per(batch, measure(lambda: describer.features.encode(views), repeats))
        yield _figure(f"features, {describer.features.name}, frame and flow", times, None, each)
        description = next(describer.describe(video, [0]))
        rows, cols = description.grid
        cosines = Cosines.of(description.rgb, description.motion)
        cuts = measure(lambda: cut_cosines(cosines, (rows, cols), parameters), repeats)
        yield _figure(f"cuts of this frame, {rows * cols} patches", cuts)
        if crf_is_available():
            # Any mask will do; a blank frame has no cut.
            mask = np.zeros(size, dtype=bool)
            mask[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = True
            yield _figure("CRF, first mask of a frame", measure(lambda: FrameCrf(picture).refine(mask), repeats))
            crf = FrameCrf(picture)
            yield _figure("CRF, each further mask", measure(lambda: crf.refine(mask), repeats))
        count = min(len(video), _FRAMES_OF_WHOLE)

        def whole() -> None:
            for item in describer.describe(video, range(count)):
                segment_frame(item, parameters)

        times = _per(count, measure(whole, max(3, repeats // 5)))
        yield _figure("a whole frame", times, None, f"{1e3 / np.median(times):.2f} frames/s in one process")


def to_dicts(figures: list[Figure]) -> list[dict[str, Any]]:
    """Return figures as JSON can hold them."""
    return [asdict(figure) for figure in figures]


def _figure(stage: str, times: list[float], ratio: float | None = None, remark: str = "") -> Figure:
    median, p95 = np.percentile(times, [50, 95])
    return Figure(stage, round(float(median), 3), round(float(p95), 3), len(times), ratio, remark)


def _per(count: int, times: list[float]) -> list[float]:
    return [value / count for value in times]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            names = [line.partition(":")[2].strip() for line in stream if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
