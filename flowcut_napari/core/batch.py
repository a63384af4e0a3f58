"""Stage 1 over many videos on Dask: a task is one video, on this machine's cores or on a cluster.

Workers read videos from and write masks to folders that all of them see; only names and figures travel. A video's
file is written whole or not at all, so a run can be ended at any moment and resumed.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import flowcut_napari
from flowcut_napari.core.cache import ArrayCache
from flowcut_napari.core.errors import FlowCutError, FlowCutWarning, InputError
from flowcut_napari.core.files import check_writable, lock_folder
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.pseudo_masks import FrameMasks
from flowcut_napari.core.run import Segmenter
from flowcut_napari.core.video import VideoEntry
from flowcut_napari.core.video_job import MasksJob
from flowcut_napari.core.weights import find_weights

if TYPE_CHECKING:
    from distributed import Client, Future

JOURNAL = "batch.jsonl"
# How long a scheduler may take to answer.
_PATIENCE = 10
# The topic under which workers tell of finished frames, and how often they do, in seconds.
_FRAMES, _BEAT = "flowcut-frames", 1.0
# Videos that are under way for each thread of a worker: one at work, one to follow.
_AHEAD = 2
_FEWEST_AHEAD = 8


@dataclass(frozen=True)
class BatchPlan:
    """What every worker is told.

    Attributes
    ----------
    parameters : CutParameters
    job : MasksJob
    weights : tuple of (str, Path)
        Weights files by the name of their model.
    device : str
        As workers see it: on a machine with several GPUs, the workers of ``cuda`` share them out.
    cache : bool
        Whether features and flow are kept on disk.
    version : str
        Of this package.
    """

    parameters: CutParameters
    job: MasksJob
    weights: tuple[tuple[str, Path], ...] = ()
    device: str = "auto"
    cache: bool = True
    version: str = flowcut_napari.__version__


@dataclass(frozen=True)
class VideoOutcome:
    """What became of a video."""

    name: str
    status: Literal["done", "skipped", "failed"]
    frames: int = 0
    frames_with_masks: int = 0
    instances: int = 0
    stale: int = 0
    seconds: float = 0.0
    error: str | None = None
    notes: tuple[str, ...] = ()


def run_batch(
    entries: Sequence[VideoEntry],
    plan: BatchPlan,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    on_outcome: Callable[[VideoOutcome], None] | None = None,
    on_frames: Callable[[int], None] | None = None,
) -> list[VideoOutcome]:
    """Make the masks of many videos.

    Parameters
    ----------
    entries : sequence of VideoEntry
        With names that differ (see `find_videos_below`).
    plan : BatchPlan
    workers : int
        Processes of one thread each, started for this run.
    scheduler : str, optional
        Address or scheduler file of a Dask cluster to use instead.
    on_outcome : callable, optional
        Called with what became of each video, in the order in which they end.
    on_frames : callable, optional
        Called about every second for each worker with the number of frames it has finished since, from a thread.

    Returns
    -------
    list of VideoOutcome
        In the order of `entries`. It is also written, with times, line by line to ``batch.jsonl`` in the folder.

    Raises
    ------
    InputError
        If another batch writes into the folder, the cluster does not answer, or its workers cannot do this work.
    WeightsError
        If weights are missing.
    OutputError
        If the folder cannot be written.
    """
    out = plan.job.out
    check_writable(out)
    outcomes: dict[str, VideoOutcome] = {}
    with ExitStack() as stack:
        stack.enter_context(lock_folder(out, ".batch.lock", f"{out}: another batch is writing into this folder"))
        client = stack.enter_context(_cluster(workers, scheduler))
        if on_frames:
            client.subscribe_topic(_FRAMES, lambda event: on_frames(event[1]))
        journal = stack.enter_context((out / JOURNAL).open("a", encoding="utf-8"))
        for outcome in _outcomes(client, entries, plan):
            outcomes[outcome.name] = outcome
            line = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **asdict(outcome)}
            journal.write(json.dumps(line) + "\n")
            journal.flush()
            if on_outcome:
                on_outcome(outcome)
    return [outcomes[entry.name] for entry in entries]


def find_plan_weights(parameters: CutParameters, given: dict[str, Path]) -> tuple[tuple[str, Path], ...]:
    """Find the weights once for all workers, so that a missing file is one error and not one a video.

    Raises
    ------
    WeightsError
        If one is missing.
    """
    names = [parameters.features, parameters.flow] if parameters.uses_flow else [parameters.features]
    found = find_weights(names, given)
    return tuple((name, file.path.resolve()) for name, file in sorted(found.items()))


def _outcomes(client: Client, entries: Sequence[VideoEntry], plan: BatchPlan) -> Iterator[VideoOutcome]:
    """Keep the workers busy and give what became of each video; few are under way at any time."""
    from distributed import as_completed

    waiting = iter(entries)
    names: dict[str, str] = {}
    running: Any = as_completed([], with_results=False)

    def submit(count: int) -> None:
        for entry, _ in zip(waiting, range(count), strict=False):
            key = f"video-{len(names)}-{entry.name}"
            names[key] = entry.name
            future = client.submit(make_video, entry, plan, key=key, pure=False)
            running.add(future)

    submit(_room(client))
    for future in running:
        yield _outcome_of(future, names[str(future.key)])
        future.release()
        # A worker that came since gets work too.
        submit(max(1, _room(client) - running.count()))


def _room(client: Client) -> int:
    return max(_FEWEST_AHEAD, _AHEAD * sum(client.nthreads().values()))


def _outcome_of(future: Future, name: str) -> VideoOutcome:
    """Return what a task gave, or the reason why it gave nothing."""
    from distributed import KilledWorker

    if future.status == "finished":
        return future.result()
    if future.status != "error":
        return VideoOutcome(name, "failed", error=f"{name}: {future.status} by the cluster; run again with --resume")
    error = future.exception()
    if isinstance(error, KilledWorker):
        text = f"{name}: workers that worked on it were ended again and again, most likely for want of memory"
        return VideoOutcome(name, "failed", error=text)
    if isinstance(error, ImportError) and not isinstance(error, FlowCutError):
        raise InputError(f"the cluster's workers cannot import what this takes ({error}); install flowcut-napari there")
    return VideoOutcome(name, "failed", error=f"{name}: unexpected {type(error).__name__}: {error}")


# What a worker process keeps between tasks: models are built once.
_lock = threading.Lock()
_ready: tuple[BatchPlan, Segmenter] | None = None


def make_video(entry: VideoEntry, plan: BatchPlan) -> VideoOutcome:
    """Make and save the masks of one video; this runs on a worker."""
    global _ready
    # Models and thread caps belong to the process: a worker of several threads takes one video after the other.
    with _lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FlowCutWarning)
        try:
            _take_own_gpu(plan)
            if _ready is None or _ready[0] != plan:
                _ready = plan, _segmenter(plan)
            made = plan.job.make(_ready[1], entry, on_frame=_Beat())
        except FlowCutError as error:
            return VideoOutcome(entry.name, "failed", error=str(error))
    said = [str(item.message) for item in caught if issubclass(item.category, FlowCutWarning)]
    masks = made.masks
    return VideoOutcome(
        name=entry.name,
        status="skipped" if made.was_there else "done",
        frames=len(masks.frames),
        frames_with_masks=sum(bool(frame.instances) for frame in masks.frames),
        instances=sum(len(frame.instances) for frame in masks.frames),
        stale=len(masks.decisions.stale),
        seconds=round(made.seconds, 3),
        notes=() if made.was_there else (*masks.provenance["notes"], *made.notes, *said),
    )


class _Beat:
    """Tells the client every now and then how many frames were finished."""

    def __init__(self) -> None:
        from distributed import get_worker

        self._worker = get_worker()
        self._frames = 0
        self._told = time.monotonic()

    def __call__(self, _: FrameMasks) -> None:
        self._frames += 1
        if time.monotonic() - self._told >= _BEAT:
            self._worker.log_event(_FRAMES, self._frames)
            self._frames, self._told = 0, time.monotonic()


def _segmenter(plan: BatchPlan) -> Segmenter:
    if plan.version != flowcut_napari.__version__:
        raise InputError(f"this worker has flowcut-napari {flowcut_napari.__version__}, the run is of {plan.version}")
    cache = ArrayCache() if plan.cache else None
    return Segmenter(plan.parameters, weights=dict(plan.weights), device=plan.device, cache=cache, timed=False)


def _take_own_gpu(plan: BatchPlan) -> None:
    """Make ``cuda`` mean a GPU of its own for each worker that this machine started, where there are several."""
    if not plan.weights or plan.device not in ("auto", "cuda"):
        return
    import torch
    from distributed import get_worker

    name = get_worker().name
    if isinstance(name, int) and torch.cuda.device_count() > 1:
        torch.cuda.set_device(name % torch.cuda.device_count())


@contextmanager
def _cluster(workers: int, scheduler: str | None) -> Iterator[Client]:
    """Start a cluster on this machine, or reach the given one."""
    import dask
    from distributed import Client, LocalCluster

    # What goes wrong is said in the outcome of the video that it concerns.
    quiet = {
        name: "critical" for name in ("distributed", "distributed.client", "distributed.worker", "bokeh", "tornado")
    }
    for name in quiet:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    scratch = tempfile.mkdtemp(prefix="flowcut-batch-")
    try:
        with dask.config.set({"logging": quiet, "temporary-directory": scratch}):
            if scheduler is not None:
                with _reach(scheduler) as client:
                    yield client
                return
            with (
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                ) as cluster,
                Client(cluster) as client,
            ):
                yield client
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _reach(scheduler: str) -> Client:
    from distributed import Client

    is_file = scheduler.endswith(".json") or Path(scheduler).is_file()
    try:
        if is_file:
            if not Path(scheduler).is_file():
                raise InputError(f"--scheduler {scheduler}: no such scheduler file")
            return Client(scheduler_file=scheduler, timeout=_PATIENCE)
        return Client(scheduler, timeout=_PATIENCE)
    except (OSError, ValueError, KeyError, ImportError) as error:
        if isinstance(error, InputError):
            raise
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"--scheduler {scheduler}: no Dask scheduler answers there ({why}); give tcp://HOST:PORT or its file"
        ) from None
