"""What a run would take in memory and time: two training steps on small frames, measured and drawn out.

All that grows with a clip (features, attention, deformable sampling) grows with its pixels; weights, their gradients
and the two moments of AdamW do not. So two sizes give a line, and the line gives the wanted size.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch

from flowcut_training.config import TrainingConfig
from flowcut_training.data import Batch
from flowcut_training.engine.average import WeightAverage
from flowcut_training.engine.memory import peak_memory_gib
from flowcut_training.engine.optimizer import make_optimizer
from flowcut_training.engine.ranks import Ranks
from flowcut_training.engine.stepping import Stepper
from flowcut_training.weight_files import build_model

# Of the pixels of a frame; below so many a frame is tried as it is.
_SHARES, _SMALL = (1 / 8, 1 / 3), 40_000
_STRIDE, _INSTANCES = 32, 2


@dataclass(frozen=True)
class Estimate:
    """What a run would take on one device.

    Attributes
    ----------
    seconds_per_step : float
        Without waiting for clips to be read.
    memory_gib : float or None
        The most that is in use at once, of the GPU, or of the process on a CPU; None where it cannot be told.
    seconds : float
        That the measurement itself took.
    """

    seconds_per_step: float
    memory_gib: float | None
    seconds: float


def estimate(config: TrainingConfig, device: torch.device, world: int = 1) -> Estimate:
    """Measure what a run would take; call it in a process of its own, since its memory is that of the process.

    Parameters
    ----------
    config : TrainingConfig
    device : torch.device
    world : int
        Processes that share a batch, each on a device like this one.

    Raises
    ------
    InputError
        If the batch cannot be shared out, or the precision is not to be had.
    RuntimeError
        If not even the small frames fit into memory (see `is_out_of_memory`).
    """
    began = time.monotonic()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    clips = config.optimizer.clips_of_part(world)
    torch.manual_seed(config.run.seed)
    model = build_model(config.model).to(device).train()
    optimizer = make_optimizer(model, config.optimizer)
    average = WeightAverage(model, config.optimizer.ema) if config.optimizer.ema else None
    stepper = Stepper(model, optimizer, average, config, Ranks(0, 1, device))
    sides = (config.data.short_side, config.data.max_side)
    full = _pixels(sides)
    shares = (1.0,) if full <= _SMALL else _SHARES
    # The first step ever takes longer, and makes what stays: gradients and moments.
    tried = [
        _try(stepper, config, tuple(math.ceil(side * math.sqrt(share)) for side in sides), device)
        for share in (shares[0], *shares)
    ][1:]
    (pixels, seconds, memory), (more_pixels, more_seconds, more_memory) = tried[0], tried[-1]
    times = clips * config.optimizer.accumulation
    if len(tried) == 1:
        return Estimate(seconds * times, memory, time.monotonic() - began)
    slope = max(0.0, more_seconds - seconds) / (more_pixels - pixels)
    of_clip = max(more_seconds, more_seconds + slope * (full - more_pixels))
    total = None
    if memory is not None and more_memory is not None:
        total = memory + (more_memory - memory) / (more_pixels - pixels) * (clips * full - pixels)
    return Estimate(of_clip * times, total, time.monotonic() - began)


def _try(
    stepper: Stepper, config: TrainingConfig, sides: tuple[int, ...], device: torch.device
) -> tuple[int, float, float | None]:
    """Take a step with one made-up clip; return the pixels of its frames, seconds, and peak memory in GiB."""
    height, width = (_STRIDE * math.ceil(side / _STRIDE) for side in sides)
    random = np.random.default_rng(0)
    frames = torch.from_numpy(random.integers(0, 256, (1, config.data.frames, 3, height, width), dtype=np.uint8))
    masks = torch.zeros((_INSTANCES, config.data.frames, height, width), dtype=torch.bool)
    for number in range(_INSTANCES):
        top, left = number * height // 4, number * width // 4
        masks[number, :, top : top + height // 2, left : left + width // 2] = True
    batch = Batch(frames, ((height, width),), (masks,), ("a made-up clip",), ())
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    before = time.monotonic()
    stepper.take(0, [batch], stepper.sizes([batch]))
    return height * width, time.monotonic() - before, peak_memory_gib(device)


def _pixels(sides: tuple[int, int]) -> int:
    """Return the pixels of a padded frame."""
    height, width = (_STRIDE * math.ceil(side / _STRIDE) for side in sides)
    return height * width
