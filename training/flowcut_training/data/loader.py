"""Batches for training, a pure function of the seed and the number of the step; see `training_batches`."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from flowcut_napari.core.errors import FlowCutError, InputError
from flowcut_napari.core.workers import end_with_parent
from flowcut_training.data.augmentation import augment, draw_augmentation, draw_places
from flowcut_training.data.parameters import DataParameters
from flowcut_training.data.samples import Batch, Sample, collate
from flowcut_training.data.sampling import Pool, SamplePlan, Schedule
from flowcut_training.data.source import ClipSource

# So many broken clips one after another are no accident.
_MOST_BROKEN = 100


def training_batches(
    dataset: ClipSource,
    stills: ClipSource | None,
    parameters: DataParameters,
    *,
    seed: int,
    batch: int,
    start: int,
    steps: int,
    rank: int = 0,
    world: int = 1,
    accumulation: int = 1,
    pin: bool = False,
) -> Generator[Batch, None, None]:
    """Draw the batches of the steps from `start` to before `steps`, `accumulation` of them a step.

    Sample ``g = ((step accumulation + micro) world + rank) batch + i`` depends on `seed`, the datasets, `parameters`
    (less workers) and ``g`` alone: not on where training started, nor on the number of workers, nor on how a batch of
    one size in all is spread over ranks and micro-batches. Worker processes end when the iterator is closed or
    dropped, and when their parent is gone. They are spawned: a script that calls this needs its
    ``if __name__ == "__main__"``.

    Parameters
    ----------
    dataset : ClipSource
        See `open_clips`.
    stills : ClipSource or None
        See `open_stills`; needed if, and only if, ``parameters.stills_share`` is above 0.
    parameters : DataParameters
    seed : int
        0 or more.
    batch : int
        Samples in a batch of this rank.
    start, steps : int
        The first step, and the one before which training ends: on resuming only `start` changes.
    rank, world : int
        This process, and how many there are.
    accumulation : int
        Batches a step.
    pin : bool
        Whether batches are put into page-locked memory, from which a GPU takes them quicker.

    Raises
    ------
    InputError
        At once if there is nothing to train on (see `ClipSource.trainable`); on the way if a clip cannot be read, or,
        with ``skip_broken``, if 100 or all of them one after another cannot.
    """
    for name, value, least in (
        *(("seed", seed, 0), ("batch", batch, 1), ("start", start, 0), ("steps", steps, start)),
        *(("world", world, 1), ("rank", rank, 0), ("accumulation", accumulation, 1)),
    ):
        if value < least:
            raise InputError(f"{name} is {value}, must be at least {least}")
    if rank >= world:
        raise InputError(f"rank is {rank}, must be below world, {world}")
    if (stills is not None) != (parameters.stills_share > 0):
        raise InputError(
            f"stills_share is {parameters.stills_share}, "
            + ("but no stills are given" if stills is None else "so stills have no part")
        )
    samples = _Samples.of(dataset, stills, parameters, seed)
    return _batches(samples, Schedule(batch, start, steps, rank, world, accumulation), pin)


@dataclass(frozen=True)
class _Failure:
    """Why a sample could not be made; sent as a value, because what a worker raises arrives as a traceback."""

    message: str


@dataclass(frozen=True, eq=False)
class _Samples(Dataset[Sample | _Failure]):
    """Makes samples by their numbers."""

    sources: Mapping[Pool, ClipSource]
    numbers: Mapping[Pool, np.ndarray]
    plan: SamplePlan
    parameters: DataParameters

    @classmethod
    def of(cls, dataset: ClipSource, stills: ClipSource | None, parameters: DataParameters, seed: int) -> _Samples:
        sources: dict[Pool, ClipSource] = {"clips": dataset}
        if stills is not None:
            sources["stills"] = stills
        for pool, source in sources.items():
            if source.kind != pool:
                raise InputError(f"{source.path}: holds {source.kind}, where {pool} are needed")
        numbers = {pool: source.trainable(parameters.frames) for pool, source in sources.items()}
        counts = (len(numbers["clips"]), len(numbers.get("stills", ())))
        return cls(sources, numbers, SamplePlan(seed, *counts, parameters.stills_share), parameters)

    def __getitem__(self, number: int) -> Sample | _Failure:
        broken: list[str] = []
        for pool, place in self.plan.candidates(number, _MOST_BROKEN if self.parameters.skip_broken else 1):
            try:
                return self._sample(number, pool, int(self.numbers[pool][place]), tuple(broken))
            except InputError as error:
                broken.append(str(error))
        if not self.parameters.skip_broken:
            return _Failure(broken[0])
        return _Failure(f"{len(broken)} {pool} one after another cannot be read, the last: {broken[-1]}")

    def _sample(self, number: int, pool: Pool, clip: int, broken: tuple[str, ...]) -> Sample:
        source, frames = self.sources[pool], self.parameters.frames
        random = self.plan.generator(number)
        places = draw_places(int(source.index.lengths[clip]), frames, random)
        draw = draw_augmentation(self.parameters, frames, random, is_still=pool == "stills")
        return augment(source.load(clip, places), self.parameters, draw, broken)


def _batches(samples: _Samples, schedule: Schedule, pin: bool) -> Generator[Batch, None, None]:
    workers = min(samples.parameters.workers, len(schedule))
    loader = DataLoader(
        samples,
        batch_sampler=schedule,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pin,
        # It draws a seed for its workers, which must not change the state of training.
        generator=torch.Generator().manual_seed(samples.plan.seed % (1 << 63)),
        # A fork would take threads' locks and CUDA's state with it.
        multiprocessing_context=multiprocessing.get_context("spawn") if workers else None,
        worker_init_fn=_start_worker if workers else None,
    )
    batches = _started(loader)
    try:
        while (batch := next(batches, None)) is not None:
            if isinstance(batch, _Failure):
                raise InputError(batch.message)
            yield batch
    except (RuntimeError, OSError, EOFError) as error:
        if not workers or not _is_lost_worker(error):
            raise
        raise FlowCutError(
            "a process that reads clips was ended from outside (most often for want of memory); "
            "try fewer workers or a smaller batch"
        ) from None
    finally:
        # Ends the workers; an error that is kept keeps this frame, too.
        del batches


def _started(loader: DataLoader[Sample | _Failure]) -> Iterator[Batch | _Failure]:
    """Start the workers.

    torch would raise the death of one wherever the main thread happens to be, in the midst of a step; without that
    it is seen, within seconds, where the next batch is asked for.
    """
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGCHLD) if is_main and hasattr(signal, "SIGCHLD") else None
    batches = iter(loader)
    if handler is not None:
        signal.signal(signal.SIGCHLD, handler)
    return batches


def _is_lost_worker(error: Exception) -> bool:
    """Whether it says that a worker is gone; what one raised itself is told as ``Caught ... in DataLoader worker``."""
    text = str(error)
    if text.startswith("Caught "):
        return False
    # A connection breaks a moment before torch can know that the process is gone.
    is_broken = isinstance(error, (EOFError, ConnectionError, FileNotFoundError))
    return is_broken or text.startswith(("DataLoader worker", "Pin memory thread"))


def _collate(samples: list[Sample | _Failure]) -> Batch | _Failure:
    good = [sample for sample in samples if isinstance(sample, Sample)]
    failures = [sample for sample in samples if isinstance(sample, _Failure)]
    return failures[0] if failures else collate(good)


def _start_worker(_: int) -> None:
    """Prepare a worker process: one thread, no answer to interrupts, a plain end, and no life without its parent."""
    # The parent decides what an interrupt means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    # Where batches are still on their way, an interpreter that is taken down ends their thread within torch: an abort.
    atexit.register(os._exit, 0)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
