"""Stage 1 over many videos on Dask: a task is one video, on this machine's cores or on a cluster.

Workers read videos from and write masks to folders that all of them see; only names and figures travel. A video's
file is written whole or not at all, so a run can be ended at any moment and resumed.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flowcut_napari.core.cache import ArrayCache
from flowcut_napari.core.cluster import reach_cluster, start_cluster
from flowcut_napari.core.errors import FlowCutError, FlowCutWarning, InputError
from flowcut_napari.core.files import check_writable, lock_folder, remove_unfinished
from flowcut_napari.core.models import ModelPlan
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.pseudo_masks import FrameMasks
from flowcut_napari.core.run import Segmenter
from flowcut_napari.core.times import utc
from flowcut_napari.core.video import VideoEntry
from flowcut_napari.core.video_job import MasksJob

if TYPE_CHECKING:
    from distributed import Client, Future

JOURNAL = "batch.jsonl"
# How often workers tell of finished frames, and when it is time to say that there are none, in seconds.
_BEAT, _NO_WORKER = 1.0, 5
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
        Weights files by the name of their model (see `plan_weights`).
    device : str
        As workers see it: on a machine with several GPUs, the workers of ``cuda`` share them out.
    cache : bool
        Whether features and flow are kept on disk.
    topic : str
        Under which workers tell of finished frames.
    """

    parameters: CutParameters
    job: MasksJob
    weights: tuple[tuple[str, Path], ...] = ()
    device: str = "auto"
    cache: bool = True
    topic: str = "flowcut-frames"


@dataclass(frozen=True)
class VideoOutcome:
    """What became of a video; `is_fatal` if it would become of every other, too."""

    name: str
    status: Literal["done", "skipped", "failed"]
    frames: int = 0
    frames_with_masks: int = 0
    instances: int = 0
    stale: int = 0
    seconds: float = 0.0
    error: str | None = None
    notes: tuple[str, ...] = ()
    is_fatal: bool = False


def plan_weights(parameters: CutParameters, given: dict[str, Path], device: str | None) -> tuple[tuple[str, Path], ...]:
    """Find the weights for all workers, and see that what is asked for can be had: one error, and not one a video.

    Parameters
    ----------
    parameters : CutParameters
    given : dict of str to Path
        Weights files by the name of their model.
    device : str or None
        Where the workers are on this machine; None where they are elsewhere.

    Raises
    ------
    InputError, WeightsError
        If not.
    """
    plan = ModelPlan.make(parameters, given, device or "cpu")
    return tuple((name, file.path.resolve()) for name, file in sorted(plan.weights.items()))


def run_batch(
    entries: Sequence[VideoEntry],
    plan: BatchPlan,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    on_outcome: Callable[[VideoOutcome], None] | None = None,
    on_frames: Callable[[int], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> list[VideoOutcome]:
    """Make the masks of many videos.

    Parameters
    ----------
    entries : sequence of VideoEntry
        With names that differ (see `find_videos_below`).
    plan : BatchPlan
    workers : int
        Processes of one thread each, started for this run, not more than there are videos.
    scheduler : str, optional
        Address or scheduler file of a Dask cluster to use instead.
    on_outcome : callable, optional
        Called with what became of each video, in the order in which they end.
    on_frames : callable, optional
        Called about every second for each worker with the number of frames it has finished since, from a thread;
        not for the last second of a video.
    on_note : callable, optional
        Called with what a user should know of the run as a whole.

    Returns
    -------
    list of VideoOutcome
        In the order of `entries`. It is also written, with times, line by line to ``batch.jsonl`` in the folder.

    Raises
    ------
    InputError
        If another batch writes into the folder, the cluster does not answer, or its workers cannot do this work.
    ClusterLostError
        If the cluster goes away.
    OutputError
        If the folder cannot be written.
    """
    out = plan.job.out
    note = on_note or (lambda _: None)
    check_writable(out)
    outcomes: dict[str, VideoOutcome] = {}
    unfinished = {f".{plan.job.path(entry).name}." for entry in entries}
    with ExitStack() as stack:
        stack.enter_context(lock_folder(out, ".batch.lock", f"{out}: another batch is writing into this folder"))
        # What workers that were killed had begun to write, in this run or an earlier one.
        remove_unfinished(out, unfinished)
        stack.callback(remove_unfinished, out, unfinished)
        cluster = reach_cluster(scheduler) if scheduler is not None else start_cluster(min(workers, len(entries)))
        client = stack.enter_context(cluster)
        journal = stack.enter_context(_Journal(out / JOURNAL, note))
        plan = replace(plan, topic=f"flowcut-frames-{client.id}")
        if on_frames:
            client.subscribe_topic(plan.topic, lambda event: on_frames(event[1]))
        for outcome in _outcomes(client, entries, plan, note):
            if outcome is None:
                raise ClusterLostError(list(outcomes.values()), len(entries) - len(outcomes))
            if outcome.is_fatal:
                raise InputError(outcome.error)
            outcomes[outcome.name] = outcome
            journal.write(outcome)
            if on_outcome:
                on_outcome(outcome)
    return [outcomes[entry.name] for entry in entries]


class ClusterLostError(FlowCutError):
    """The scheduler went away in the middle of a run; `outcomes` are what it told before."""

    def __init__(self, outcomes: list[VideoOutcome], left: int) -> None:
        super().__init__(f"the Dask cluster does not answer any more; {left} videos are left, run again with --resume")
        self.outcomes = outcomes


class _Journal(AbstractContextManager["_Journal"]):
    """The file with a line for every video: for people, so trouble with it is said and does not stop the work."""

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        self._path = path
        self._note = note
        self._works = True

    def __enter__(self) -> _Journal:
        self._append(b"")
        return self

    def write(self, outcome: VideoOutcome) -> None:
        line = {"at": utc(time.time()), **asdict(outcome)}
        line.pop("is_fatal")
        self._append(json.dumps(line).encode() + b"\n")

    def _append(self, line: bytes) -> None:
        if not self._works:
            return
        try:
            with self._path.open("ab+") as stream:
                if stream.seek(0, os.SEEK_END):
                    stream.seek(-1, os.SEEK_END)
                    if stream.read(1) != b"\n":
                        stream.write(b"\n")  # after the half line of a run that was killed while it wrote
                stream.write(line)
        except OSError as error:
            self._works = False
            self._note(f"{self._path}: cannot be written ({error.strerror or error}); the run goes on without it")

    def __exit__(self, *_: object) -> None:
        return


def _wait_for_a_worker(client: Client, note: Callable[[str], None]) -> None:
    try:
        client.wait_for_workers(1, timeout=_NO_WORKER)
    except TimeoutError:
        note("the Dask cluster has no worker yet; the run begins when one comes")


def _outcomes(
    client: Client, entries: Sequence[VideoEntry], plan: BatchPlan, note: Callable[[str], None]
) -> Iterator[VideoOutcome | None]:
    """Keep the workers busy and give what became of each video, None when the cluster is gone.

    Few videos are under way at any time.
    """
    from distributed import as_completed

    waiting = iter(entries)
    names: dict[str, str] = {}
    running: Any = as_completed([], with_results=False)

    def submit(count: int) -> None:
        for entry in itertools.islice(waiting, count):
            key = f"video-{len(names)}-{entry.name}"
            names[key] = entry.name
            running.add(client.submit(make_video, entry, plan, key=key, pure=False))

    try:
        _wait_for_a_worker(client, note)
        submit(_room(client))
        for future in running:
            if future.status in ("lost", "pending"):
                # Its worker died with the outcome; Dask has the video looked at once more.
                running.add(future)
                continue
            yield _outcome_of(future, names[str(future.key)])
            future.release()
            # A worker that came since gets work too.
            submit(max(1, _room(client) - running.count()))
    except OSError as error:  # of this kind are Dask's own errors of lost connections
        if isinstance(error, FlowCutError):
            raise
        yield None


def _room(client: Client) -> int:
    return max(_FEWEST_AHEAD, _AHEAD * sum(client.nthreads().values()))


def _outcome_of(future: Future, name: str) -> VideoOutcome:
    """Return what a task gave, or the reason why it gave nothing."""
    from distributed import KilledWorker

    if future.status == "finished":
        return future.result()
    if future.status != "error":
        raise ConnectionError(f"{future.status} by the cluster")
    error = future.exception()
    if isinstance(error, KilledWorker):
        text = f"{name}: workers that worked on it were ended again and again, most likely for want of memory"
        return VideoOutcome(name, "failed", error=text)
    if isinstance(error, ImportError) and not isinstance(error, FlowCutError):
        text = f"the cluster's workers cannot import what this takes ({error}); install flowcut-napari there"
        return VideoOutcome(name, "failed", error=text, is_fatal=True)
    return VideoOutcome(name, "failed", error=f"{name}: unexpected {type(error).__name__}: {error}")


# What a worker process keeps between tasks: models are built once.
_lock = threading.Lock()
_ready: tuple[BatchPlan, Segmenter] | None = None


def make_video(entry: VideoEntry, plan: BatchPlan) -> VideoOutcome:
    """Make and save the masks of one video; this runs on a worker."""
    # Models and thread caps belong to the process: a worker of several threads takes one video after the other.
    with _lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FlowCutWarning)
        try:
            segmenter = _segmenter(plan)
        except FlowCutError as error:
            return VideoOutcome(entry.name, "failed", error=str(error), is_fatal=True)
        try:
            made = plan.job.make(segmenter, entry, on_frame=_Beat(plan.topic))
        except FlowCutError as error:
            return VideoOutcome(entry.name, "failed", error=str(error))
        except MemoryError as error:
            text = f"{entry.name}: out of memory ({error}); try a smaller --size or fewer --workers"
            return VideoOutcome(entry.name, "failed", error=text)
        except OSError as error:
            text = f"{error.filename or entry.place}: cannot be read or written ({error.strerror or error})"
            return VideoOutcome(entry.name, "failed", error=text)
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

    def __init__(self, topic: str) -> None:
        from distributed import get_worker

        self._worker = get_worker()
        self._topic = topic
        self._frames = 0
        self._told = time.monotonic()

    def __call__(self, _: FrameMasks) -> None:
        self._frames += 1
        if time.monotonic() - self._told >= _BEAT:
            self._worker.log_event(self._topic, self._frames)
            self._frames, self._told = 0, time.monotonic()


def _segmenter(plan: BatchPlan) -> Segmenter:
    global _ready
    if _ready is None or _ready[0] != plan:
        _take_own_gpu(plan)
        cache = ArrayCache() if plan.cache else None
        segmenter = Segmenter(plan.parameters, weights=dict(plan.weights), device=plan.device, cache=cache, timed=False)
        _ready = plan, segmenter
    return _ready[1]


def _take_own_gpu(plan: BatchPlan) -> None:
    """Make ``cuda`` mean a GPU of its own for each worker that this machine started, where there are several."""
    if not plan.weights or plan.device not in ("auto", "cuda"):
        return
    import torch
    from distributed import get_worker

    name = get_worker().name
    if isinstance(name, int) and torch.cuda.device_count() > 1:
        torch.cuda.set_device(name % torch.cuda.device_count())
