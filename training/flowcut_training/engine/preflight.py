"""Whether a run can start, and what it would be, before anything is written: a step at a time, all problems at once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flowcut_napari.core.errors import FlowCutError, InputError
from flowcut_training.config import TrainingConfig
from flowcut_training.data import ClipSource, open_clips, open_stills
from flowcut_training.engine.checkpoints import list_checkpoints
from flowcut_training.engine.datasets import identity_of
from flowcut_training.engine.estimate import estimate
from flowcut_training.engine.ranks import choose_device
from flowcut_training.engine.run_folder import CLIPS_INDEX, check_run
from flowcut_training.engine.start import find_start
from flowcut_training.precision import choose_precision
from flowcut_training.predict.memory import free_memory, is_out_of_memory

_GIB = 1 << 30
# Clips whose frames are looked for, spread evenly: all of a hundred thousand would take minutes on a network.
_LOOKED_AT = 2000


def check_run_plan(
    dataset: Path,
    run: Path,
    config: TrainingConfig,
    *,
    resume: bool = False,
    device: str = "auto",
    weights: Mapping[str, Path] | None = None,
    world: int = 1,
    measures: bool = True,
) -> Iterator[dict[str, Any]]:
    """Yield what is found out of a run that is planned, as events; nothing is written.

    ``dataset`` has counts and sizes, ``start`` where weights come from, ``problem`` what keeps it from starting,
    ``warning`` what will not, ``estimate`` memory and time, measured where there is no problem; ``checked`` ends it,
    with the number of problems.

    Parameters
    ----------
    dataset, run, config, resume, device, weights
        As of `TrainingPlan`.
    world : int
        Processes that it will have.
    measures : bool
        Whether memory and time are measured, which takes some seconds of the device.
    """
    problems = 0
    opened: list[ClipSource] = []
    parts = [
        _folder(run, resume),
        _dataset(dataset, run, config, opened),
        _stills(config, opened),
        _start(config, weights or {}, run, resume, opened),
        _place(config, device, world),
        _estimate(config, device, world),
    ]
    for number, part in enumerate(parts, start=1):
        # Measuring takes a while, which is wasted on what cannot start.
        if number == len(parts) and (problems or not measures):
            break
        try:
            for event in part:
                problems += event["event"] == "problem"
                yield event
        except FlowCutError as error:
            problems += 1
            yield {"event": "problem", "text": str(error)}
    yield {"event": "checked", "problems": problems}


def _folder(run: Path, resume: bool) -> Iterator[dict[str, Any]]:
    check_run(run, resume)
    yield from ()


def _dataset(dataset: Path, run: Path, config: TrainingConfig, opened: list[ClipSource]) -> Iterator[dict[str, Any]]:
    # An index that an earlier start left is used, but none is made.
    source = open_clips(dataset, run / CLIPS_INDEX) if os.path.isfile(run / CLIPS_INDEX) else open_clips(dataset)
    opened.append(source)
    chosen = np.unique(np.linspace(0, max(0, len(source) - 1), min(len(source), _LOOKED_AT)).astype(int))
    sizes: Counter[tuple[int, int]] = Counter()
    missing: list[str] = []
    looked_for = 0
    for number in chosen if len(source) else ():
        clip = source.clip_record(int(number))
        sizes[clip.height, clip.width] += 1
        looked_for += len(clip.files)
        missing += [file for file in clip.files if not os.path.isfile(source.root / file)]
    yield {
        "event": "dataset",
        "path": str(source.path),
        "clips": len(source),
        "instances": int(source.index.instances.sum()),
        "frames": int(source.index.lengths.sum()),
        "empty": int((source.index.instances == 0).sum()),
        "sizes": [[height, width, count] for (height, width), count in sizes.most_common(5)],
        "kinds_of_sizes": len(sizes),
        "clips_looked_at": len(chosen),
    }
    trainable = len(source.trainable(config.data.frames))
    if missing:
        kind = "warning" if config.data.skip_broken and len(missing) < looked_for else "problem"
        yield {
            "event": kind,
            "text": f"{source.root}: {len(missing)} of {looked_for} frames that were looked for are missing, such as "
            f"{missing[0]}",
        }
    if trainable < config.optimizer.batch:
        yield {
            "event": "warning",
            "text": f"{trainable} clips have an instance, fewer than optimizer.batch, {config.optimizer.batch}: "
            "a step has the same clip more than once",
        }


def _stills(config: TrainingConfig, opened: list[ClipSource]) -> Iterator[dict[str, Any]]:
    if config.data.stills is not None:
        images = Path(config.data.stills_images) if config.data.stills_images else None
        stills: ClipSource = open_stills(Path(config.data.stills), images)
        opened.append(stills)
        yield {"event": "stills", "path": str(stills.path), "images": len(stills.trainable(1))}
    if config.run.evaluate is not None:
        clips = open_clips(Path(config.run.evaluate))
        yield {"event": "evaluation", "path": str(clips.path), "clips": min(len(clips), config.run.evaluate_clips)}


def _start(
    config: TrainingConfig, weights: Mapping[str, Path], run: Path, resume: bool, opened: list[ClipSource]
) -> Iterator[dict[str, Any]]:
    checkpoints = list_checkpoints(run) if resume else []
    if checkpoints:
        state = checkpoints[-1].state
        text = f"goes on from step {state.step} of {config.optimizer.steps}"
        yield {"event": "start", "text": text, "step": state.step}
        # Where one could not be opened, that is said already.
        if len(opened) == (1 if config.data.stills is None else 2):
            identity = identity_of(opened[0], opened[1] if len(opened) > 1 else None)
            if identity != state.dataset:
                raise InputError(f"{opened[0].path}: is not the dataset that this run began with; give that one")
        return
    path = find_start(config, weights)
    yield {
        "event": "start",
        "text": "random weights, from scratch" if path is None else f"weights of {path}",
        "step": 0,
    }


def _place(config: TrainingConfig, device: str, world: int) -> Iterator[dict[str, Any]]:
    """See that each process has a device, and a share of the batch."""
    place = choose_device(device, world, world - 1)
    choose_precision(config.optimizer.precision, place)
    config.optimizer.clips_of_part(world)
    yield from ()


def _estimate(config: TrainingConfig, device: str, world: int) -> Iterator[dict[str, Any]]:
    place = choose_device(device)
    try:
        found = estimate(config, place, world)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        data = config.data
        raise InputError(
            f"{place}: a third of one clip of {data.frames} frames at {data.short_side}x{data.max_side} does not fit "
            "into its memory; lower data.short_side and data.max_side, or choose another device"
        ) from None
    free = free_memory(torch.device(place))
    free_gib = None if free is None else free / _GIB
    # A GPU is one process's own; the memory of the machine is that of all of them.
    needed = found.memory_gib if place.type != "cpu" or found.memory_gib is None else found.memory_gib * world
    yield {
        "event": "estimate",
        "device": str(place),
        "seconds_per_step": found.seconds_per_step,
        "steps": config.optimizer.steps,
        "memory_gib": needed,
        "free_gib": free_gib,
        "seconds": found.seconds,
    }
    if needed is not None and free_gib is not None and needed > free_gib:
        yield {
            "event": "warning",
            "text": f"{place}: about {needed:.1f} GiB are needed, {free_gib:.1f} GiB are free; raise "
            "optimizer.accumulation, or lower optimizer.batch, data.short_side and data.max_side",
        }
