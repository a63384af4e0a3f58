"""The processes of a sweep: frames of a video cut under many settings, in order."""

from __future__ import annotations

import pickle
import tempfile
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

from flowcut_napari.core.description import FrameDescriber
from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.core.models import GPU_BATCH, ModelPlan
from flowcut_napari.core.sweep_work import Result, Share, sweep_description, sweep_frames
from flowcut_napari.core.video import Video
from flowcut_napari.core.workers import WorkerPool, chunks, one_thread

_CHUNK = 4


class SweepPool:
    """One set of processes for all videos and settings of a sweep, started when there is work.

    Parameters
    ----------
    workers : int
        Processes; 1 works in this one.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._models: dict[Hashable, Any] = {}
        self._pool = WorkerPool(workers)

    def build(self, plan: ModelPlan) -> FrameDescriber:
        """Return the models of a plan in this process; each is built once."""
        return plan.build(self._models)

    def cut(self, share: Share, indices: Sequence[int]) -> Iterator[list[Result]]:
        """Yield for every frame, in order, its results under the settings of a share.

        Raises
        ------
        InputError
            If a frame or its annotation cannot be read.
        FlowCutError
            If a process was ended from outside.
        """
        if self.workers == 1:
            describer = self.build(share.plan)
            for chunk in chunks(indices, GPU_BATCH):
                for description in _described(describer, share.video, chunk):
                    with one_thread():
                        results = share.results(description)
                    yield results
            return
        with tempfile.TemporaryDirectory(prefix="flowcut-") as folder:
            packed = Path(folder) / "share.pickle"
            packed.write_bytes(pickle.dumps(share))
            pending: deque[Future[list[list[Result]]]] = deque()
            try:
                for task in self._tasks(share, packed, indices):
                    pending.append(self._pool.submit(share.plan, False, *task))
                    if len(pending) > 2 * self.workers:
                        yield from pending.popleft().result()
                while pending:
                    yield from pending.popleft().result()
            except BrokenProcessPool:
                self.close(at_once=True)
                raise FlowCutError(
                    f"{share.video.name}: a worker process was ended from outside, most likely for want of memory; "
                    "try fewer --workers"
                ) from None
            finally:
                for future in pending:
                    future.cancel()

    def close(self, *, at_once: bool) -> None:
        """End the processes, `at_once` without waiting for what they do."""
        self._pool.close(at_once=at_once)

    def _tasks(self, share: Share, packed: Path, indices: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        if share.plan.device == "cpu":
            for chunk in chunks(indices, max(1, min(_CHUNK, len(indices) // (2 * self.workers)))):
                yield sweep_frames, packed, list(chunk)
            return
        describer = self.build(share.plan)
        for chunk in chunks(indices, GPU_BATCH):
            for description in describer.describe(share.video, chunk):
                # The flow field is not cut, its features are: two megabytes less to send.
                yield sweep_description, packed, replace(description, flow=None)


def _described(describer: FrameDescriber, video: Video, chunk: Sequence[int]) -> Iterator[Any]:
    described = describer.describe(video, chunk)
    while True:
        # Not around a yield: what the caller does between two frames keeps its threads.
        with one_thread():
            description = next(described, None)
        if description is None:
            return
        yield description
