"""Stage 1 over a whole video: frames in parallel over processes, results in order and independent of their number.

On a CPU a worker process does all of a frame, on one thread: frames are independent, so this scales better than
threads inside a frame, and the rounding of sums does not depend on how many workers there are. On a GPU this process
describes frames in batches of a fixed size while the workers cut and refine the ones before.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from threadpoolctl import threadpool_limits

from flowcut_napari.core.cache import ArrayCache
from flowcut_napari.core.eigen import one_blas_thread
from flowcut_napari.core.errors import FlowCutError, FlowCutWarning, InputError
from flowcut_napari.core.models import GPU_BATCH, ModelPlan
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.pseudo_masks import FrameDescriber, FrameDescription, FrameMasks, segment_frame
from flowcut_napari.core.refine import CRF_INSTALL_HINT, crf_is_available
from flowcut_napari.core.store import VideoMasks, VideoRecord
from flowcut_napari.core.video import Video

_LARGEST_CHUNK = 8
# Memory of a worker with torch, RAFT and a small transformer, measured at 1.0e9 bytes at most, and some room.
_WORKER_BYTES = int(1.5e9)
# What a worker sends back: frames, and what troubles its cache.
Done = tuple[list[FrameMasks], str | None]


def default_workers() -> int:
    """Return one worker a core that this process may use, fewer where free memory would not hold their models."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # a system that does not tell
        return cores
    return max(1, min(cores, free // _WORKER_BYTES))


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
    ) -> None:
        self.workers = max(1, workers)
        self.notices: list[str] = []
        if cache is not None and (trouble := cache.check()):
            self.notices.append(trouble)
            cache = None
        self.plan = ModelPlan.make(parameters, weights, device, cache)
        self._epoch = _source_date_epoch()
        if parameters.crf and not crf_is_available():
            self.notices.append(f"pydensecrf is not installed, masks stay unrefined; to mend it: {CRF_INSTALL_HINT}")
        self._cache_trouble_said = False
        self._on_cpu = self.plan.device == "cpu"
        self._pool: ProcessPoolExecutor | None = None
        self._others: list[Any] = []
        # Also where workers build their own: wrong weights are to be found out here, once.
        describer = self.plan.build()
        self._describer = None if self._on_cpu and self.workers > 1 else describer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_pool(at_once=kind is not None)

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
        provenance |= _time_stamp(time.perf_counter() - started, self._epoch)
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
        for chunk in _chunks(indices, _LARGEST_CHUNK):
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
        try:
            for task in self._tasks(video, indices):
                if task is not None:
                    pending.append(self._submit(*task))
                # Enough to keep every worker busy, and a bound on what waits in memory.
                while len(pending) > (2 * self.workers if task is not None else 0):
                    yield from self._take(pending.popleft())
            while pending:
                yield from self._take(pending.popleft())
        except BrokenProcessPool:
            self._close_pool(at_once=True)
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

    def _tasks(self, video: Video, indices: Sequence[int]) -> Iterator[tuple[Any, ...] | None]:
        if self._on_cpu:
            # The list of a long video's files is large: it goes to a file once, not along with every task.
            with tempfile.TemporaryDirectory(prefix="flowcut-") as folder:
                packed = Path(folder) / "video.pickle"
                packed.write_bytes(pickle.dumps(video))
                size = max(1, min(_LARGEST_CHUNK, len(indices) // (4 * self.workers)))
                for chunk in _chunks(indices, size):
                    yield _work_on_frames, packed, list(chunk)
                yield None  # the file stays until the last task is done
        else:
            assert self._describer is not None  # kept where this process describes
            for chunk in _chunks(indices, GPU_BATCH):
                for description in self._describer.describe(video, chunk):
                    # The flow field is not cut, its features are: two megabytes less to send.
                    yield _work_on_description, replace(description, flow=None)

    def _submit(self, *task: Any) -> Future[Done]:
        if self._pool is None:
            self._others = multiprocessing.active_children()
            self._pool = ProcessPoolExecutor(
                self.workers,
                # A forked child of a process that has used threads or CUDA can hang.
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(self.plan, self._on_cpu),
            )
        # A pool starts its processes one by one, as tasks come.
        with _interrupts_held():
            return self._pool.submit(*task)

    def _close_pool(self, *, at_once: bool) -> None:
        if self._pool is None:
            return
        children = [child for child in multiprocessing.active_children() if child not in self._others]
        self._pool.shutdown(wait=not at_once, cancel_futures=True)
        if at_once:
            for child in children:
                child.terminate()
        self._pool = None


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


@contextmanager
def one_thread() -> Iterator[None]:
    """Run with one thread in BLAS, torch and OpenCV, and put back what was set."""
    import cv2

    torch = sys.modules.get("torch")  # not imported for this alone
    torch_threads = torch.get_num_threads() if torch else 0
    cv_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    if torch:
        torch.set_num_threads(1)
    try:
        with one_blas_thread():
            yield
    finally:
        cv2.setNumThreads(cv_threads)
        if torch:
            torch.set_num_threads(torch_threads)


# What a worker process keeps between tasks.
_worker_plan: ModelPlan
_worker_describer: FrameDescriber | None = None
_worker_video: tuple[Path, Video] | None = None


def _start_worker(plan: ModelPlan, describes: bool) -> None:
    global _worker_plan, _worker_describer
    # The parent decides what an interrupt means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What is to be said goes to the parent with the results.
    warnings.simplefilter("ignore")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threadpool_limits(1)
    import cv2

    cv2.setNumThreads(1)
    _worker_plan = plan
    if describes:
        _worker_describer = plan.build()
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def _end_with_parent() -> None:
    """End this process when its parent is gone, however that ended: nothing else would."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work_on_frames(packed: Path, indices: list[int]) -> Done:
    global _worker_video
    assert _worker_describer is not None
    if _worker_video is None or _worker_video[0] != packed:
        _worker_video = packed, pickle.loads(packed.read_bytes())
    described = _worker_describer.describe(_worker_video[1], indices)
    frames = [segment_frame(description, _worker_plan.parameters) for description in described]
    return frames, _worker_plan.cache.trouble if _worker_plan.cache else None


def _work_on_description(description: FrameDescription) -> Done:
    return [segment_frame(description, _worker_plan.parameters)], None


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start processes that never see Ctrl-C, not even while they still import: they inherit the blocked signal."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _checked(indices: Sequence[int], video: Video) -> list[int]:
    """Return frame indices rising and each once."""
    length = len(video)
    missing = [index for index in indices if not -length <= index < length]
    if missing:
        raise InputError(f"{video.name} has {length} frames, no frame {missing[0]}")
    return sorted({int(index) % length for index in indices})


def _chunks(indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (indices[start : start + size] for start in range(0, len(indices), size))


def _source_date_epoch() -> int | None:
    """Return the time that SOURCE_DATE_EPOCH sets for all that is written, in seconds since 1970, or None."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if text is None:
        return None
    # Up to the year 9999.
    if not text.isascii() or not text.isdecimal() or int(text) > 253_402_300_799:
        raise InputError(f"SOURCE_DATE_EPOCH is {text!r}: give seconds since 1970 as a whole number, or unset it")
    return int(text)


def _time_stamp(seconds: float, epoch: int | None) -> dict[str, Any]:
    """Return when and how long; with SOURCE_DATE_EPOCH set the same for every run, so that files can be compared."""
    if epoch is None:
        return {"created": _utc(time.time()), "seconds": round(seconds, 3)}
    return {"created": _utc(epoch), "seconds": None}


def _utc(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
