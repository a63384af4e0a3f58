"""Stage 1 over a whole video: frames in parallel over processes, results in order and independent of their number.

On a CPU a worker process does all of a frame, on one thread: frames are independent, so this scales better than
threads inside a frame, and the rounding of sums does not depend on how many workers there are. On a GPU this process
describes frames in batches of a fixed size while the workers cut and refine the ones before.
"""

from __future__ import annotations

import pickle
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from flowcut_napari.core.cache import ArrayCache
from flowcut_napari.core.errors import FlowCutError, FlowCutWarning, InputError
from flowcut_napari.core.models import GPU_BATCH, ModelPlan
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.pseudo_masks import FrameMasks, segment_frame
from flowcut_napari.core.refine import CRF_INSTALL_HINT, crf_is_available
from flowcut_napari.core.store import VideoMasks, VideoRecord
from flowcut_napari.core.times import source_date_epoch, time_stamp
from flowcut_napari.core.video import Video
from flowcut_napari.core.workers import (
    Done,
    WorkerPool,
    chunks,
    one_thread,
    work_on_description,
    work_on_frames,
)

_LARGEST_CHUNK = 8


class Segmenter:
    """Makes the pseudo-masks of videos with one set of models and processes; use it in a ``with`` statement.

    Parameters
    ----------
    parameters : CutParameters
    weights : mapping of str to path, optional
        Weights files by the name of their model; others are looked for (see `find_weights`).
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    workers : int
        Processes; 1 works in this one. With more, a script needs the usual ``if __name__ == "__main__":``.
    cache : ArrayCache, optional
        Where features and flow are kept.
    timed : bool
        Whether provenance says when and how long; without it, the same input gives the same bytes.
    fetch : bool
        Whether the network may be asked for weights that are nowhere to be found.

    Raises
    ------
    InputError, WeightsError
        If the models cannot be built.
    """

    def __init__(
        self,
        parameters: CutParameters,
        *,
        weights: Mapping[str, Path] | None = None,
        device: str = "auto",
        workers: int = 1,
        cache: ArrayCache | None = None,
        timed: bool = True,
        fetch: bool = True,
    ) -> None:
        self.workers = max(1, workers)
        self._timed = timed
        self.notices: list[str] = []
        if cache is not None and (trouble := cache.check()):
            self.notices.append(trouble)
            cache = None
        self.plan = ModelPlan.make(parameters, weights, device, cache, fetch=fetch)
        self._epoch = source_date_epoch()
        if parameters.crf and not crf_is_available():
            self.notices.append(f"pydensecrf is not installed, masks stay unrefined; to mend it: {CRF_INSTALL_HINT}")
        self._cache_trouble_said = False
        self._on_cpu = self.plan.device == "cpu"
        self._pool = WorkerPool(self.workers)
        # Also where workers build their own: wrong weights are to be found out here, once.
        describer = self.plan.build()
        self._describer = None if self._on_cpu and self.workers > 1 else describer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close(at_once=kind is not None)

    def segment(
        self,
        video: Video,
        indices: Sequence[int] | None = None,
        on_frame: Callable[[FrameMasks], None] | None = None,
    ) -> VideoMasks:
        """Make the pseudo-masks of a video.

        Parameters
        ----------
        video : Video
        indices : sequence of int, optional
            Frames that get masks, negative ones counted from the end; all if not given. Flow partners come from
            the whole video.
        on_frame : callable, optional
            Called with every finished frame, in order.

        Raises
        ------
        InputError
            If there is no such frame, or one cannot be read.
        FlowCutError
            If a worker process died.
        """
        started = time.perf_counter()
        wanted = range(len(video)) if indices is None else _checked(indices, video)
        frames = []
        for frame in self.frames(video, wanted):
            if on_frame:
                on_frame(frame)
            # The grids of all cuts of a long video are many times its masks, and cheap to have again.
            frames.append(replace(frame, cuts=()))
        provenance = {**self.plan.provenance(), "notes": [*self.notices, *self.video_notes(video)]}
        seconds = time.perf_counter() - started
        provenance |= time_stamp(seconds, self._epoch) if self._timed else {"created": None, "seconds": None}
        files = {frame.index: file for frame in frames if (file := video.frame_file(frame.index)) is not None}
        return VideoMasks(VideoRecord.of(video), self.plan.parameters, provenance, tuple(frames), files)

    def video_notes(self, video: Video) -> list[str]:
        """Return what a user should know of this video's masks: files passed over, flow partners missing or nearer."""
        notes = list(video.notices)
        parameters = self.plan.parameters
        if parameters.uses_flow and len(video) == 1:
            notes.append(f"{video.name}: a single frame has no flow, alpha is 1 instead of {parameters.alpha:g}")
        elif parameters.uses_flow and 2 * parameters.gap > len(video):
            notes.append(
                f"{video.name}: {len(video)} frames are too few for each to have one at the gap of {parameters.gap}; "
                "such frames take the farthest there is"
            )
        return notes

    def frames(self, video: Video, indices: Sequence[int]) -> Iterator[FrameMasks]:
        """Yield the masks of the given frames in their order, with the grids of their cuts."""
        if self.workers == 1:
            yield from self._frames_here(video, indices)
        else:
            yield from self._frames_in_pool(video, indices)

    def _frames_here(self, video: Video, indices: Sequence[int]) -> Iterator[FrameMasks]:
        for chunk in chunks(indices, _LARGEST_CHUNK):
            assert self._describer is not None  # kept where this process describes
            described = self._describer.describe(video, chunk)
            while True:
                # Not around a yield: what the caller does between two frames keeps its threads.
                with one_thread():
                    description = next(described, None)
                    if description is None:
                        break
                    done = segment_frame(description, self.plan.parameters)
                yield done

    def _frames_in_pool(self, video: Video, indices: Sequence[int]) -> Iterator[FrameMasks]:
        pending: deque[Future[Done]] = deque()
        with tempfile.TemporaryDirectory(prefix="flowcut-") as folder:
            try:
                for task in self._tasks(video, indices, Path(folder)):
                    pending.append(self._pool.submit(self.plan, self._on_cpu, *task))
                    # Enough to keep every worker busy, and a bound on what waits in memory.
                    if len(pending) > 2 * self.workers:
                        yield from self._take(pending.popleft())
                while pending:
                    yield from self._take(pending.popleft())
            except BrokenProcessPool:
                self._pool.close(at_once=True)
                raise FlowCutError(
                    f"{video.name}: a worker process was ended from outside, most likely for want of memory; "
                    "try fewer --workers"
                ) from None
            finally:
                for future in pending:
                    future.cancel()

    def _take(self, future: Future[Done]) -> list[FrameMasks]:
        frames, trouble = future.result()
        if trouble and not self._cache_trouble_said:
            self._cache_trouble_said = True
            warnings.warn(trouble, FlowCutWarning, stacklevel=2)
        return frames

    def _tasks(self, video: Video, indices: Sequence[int], folder: Path) -> Iterator[tuple[Any, ...]]:
        if self._on_cpu:
            # The list of a long video's files is large: it goes to a file once, not along with every task.
            packed = folder / "video.pickle"
            packed.write_bytes(pickle.dumps(video))
            size = max(1, min(_LARGEST_CHUNK, len(indices) // (4 * self.workers)))
            for chunk in chunks(indices, size):
                yield work_on_frames, packed, list(chunk)
        else:
            assert self._describer is not None  # kept where this process describes
            for chunk in chunks(indices, GPU_BATCH):
                for description in self._describer.describe(video, chunk):
                    # The flow field is not cut, its features are: two megabytes less to send.
                    yield work_on_description, replace(description, flow=None)


def segment_video(
    video: Video,
    parameters: CutParameters,
    *,
    indices: Sequence[int] | None = None,
    weights: Mapping[str, Path] | None = None,
    device: str = "auto",
    workers: int = 1,
    cache: ArrayCache | None = None,
) -> VideoMasks:
    """Make the pseudo-masks of one video; see `Segmenter` and its `segment`.

    Examples
    --------
    >>> from flowcut_napari.core import CutParameters, open_video, segment_video
    >>> masks = segment_video(open_video("my_video.mp4"), CutParameters.preset("handmade"))  # doctest: +SKIP
    """
    with Segmenter(parameters, weights=weights, device=device, workers=workers, cache=cache) as segmenter:
        return segmenter.segment(video, indices)


def _checked(indices: Sequence[int], video: Video) -> list[int]:
    """Return frame indices rising and each once."""
    length = len(video)
    missing = [index for index in indices if not -length <= index < length]
    if missing:
        raise InputError(f"{video.name} has {length} frames, no frame {missing[0]}")
    return sorted({int(index) % length for index in indices})
