"""What happens in worker processes, and how they are started and ended; see `flowcut_napari.core.run`."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from flowcut_napari.core.description import FrameDescriber, FrameDescription
from flowcut_napari.core.eigen import one_blas_thread
from flowcut_napari.core.models import ModelPlan
from flowcut_napari.core.pseudo_masks import FrameMasks, segment_frame
from flowcut_napari.core.video import Video

# A worker with torch and RAFT was measured at 1.0e9 bytes at most; and some room.
_WORKER_BYTES = int(1.5e9)
# What a worker sends back: frames, and what troubles its cache.
Done = tuple[list[FrameMasks], str | None]


def default_workers() -> int:
    """Return one worker a core that this process may use, fewer where memory would not hold their models."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # a system that does not tell
        return cores
    return max(1, min(cores, memory // _WORKER_BYTES))


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


class WorkerPool:
    """Worker processes that are started when there is work, and ended with all that they do.

    Parameters
    ----------
    workers : int
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._others: list[Any] = []

    def submit(self, plan: ModelPlan, describes: bool, *task: Any) -> Future[Any]:
        """Give a function and its arguments to a worker; the first time they are started (see `start_worker`)."""
        if self._pool is None:
            self._others = multiprocessing.active_children()
            self._pool = ProcessPoolExecutor(
                self.workers,
                # A forked child of a process that has used threads or CUDA can hang.
                mp_context=multiprocessing.get_context("spawn"),
                initializer=start_worker,
                initargs=(plan, describes),
            )
        # A pool starts its processes one by one, as tasks come.
        with interrupts_held():
            return self._pool.submit(*task)

    def close(self, *, at_once: bool) -> None:
        """End the processes, `at_once` without waiting for what they do; the next task starts new ones."""
        if self._pool is None:
            return
        children = [child for child in multiprocessing.active_children() if child not in self._others]
        self._pool.shutdown(wait=not at_once, cancel_futures=True)
        if at_once:
            for child in children:
                child.terminate()
        self._pool = None


def chunks(indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Yield so many indices at a time."""
    return (indices[start : start + size] for start in range(0, len(indices), size))


# What a worker process keeps between tasks.
_worker_plan: ModelPlan
_worker_describer: FrameDescriber | None = None
_worker_video: tuple[Path, Video] | None = None


def start_worker(plan: ModelPlan, describes: bool) -> None:
    """Prepare a worker process: models if it describes frames itself, one thread, and no life without its parent."""
    global _worker_plan, _worker_describer
    # The parent decides what an interrupt means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What is to be said goes to the parent with the results.
    warnings.simplefilter("ignore")
    threading.Thread(target=end_with_parent, daemon=True).start()
    threadpool_limits(1)
    import cv2

    cv2.setNumThreads(1)
    _worker_plan = plan
    if describes:
        _worker_describer = plan.build()
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def end_with_parent() -> None:
    """End this process when its parent is gone, however that ended: nothing else would."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def work_on_frames(packed: Path, indices: list[int]) -> Done:
    """Describe, cut and refine frames of the video that is pickled at `packed`."""
    global _worker_video
    assert _worker_describer is not None
    if _worker_video is None or _worker_video[0] != packed:
        _worker_video = packed, pickle.loads(packed.read_bytes())
    described = _worker_describer.describe(_worker_video[1], indices)
    frames = [segment_frame(description, _worker_plan.parameters) for description in described]
    return frames, _worker_plan.cache.trouble if _worker_plan.cache else None


def work_on_description(description: FrameDescription) -> Done:
    """Cut and refine a frame that the parent described."""
    return [segment_frame(description, _worker_plan.parameters)], None


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Start processes that never see Ctrl-C, not even while they still import: they inherit the blocked signal."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
