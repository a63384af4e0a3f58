"""Which of several processes this is (torchrun tells by environment variables), and what they tell each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from flowcut_napari.core.errors import InputError
from flowcut_training.engine.plan import KnownToAllError

_Value = TypeVar("_Value")
# For the slowest of all to evaluate its clips, and for the first to write a checkpoint.
_PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class Ranks:
    """One process among those of a run.

    Attributes
    ----------
    rank, world : int
        The number of this process and of all; a single one needs no torchrun and talks to nobody.
    device : torch.device
    """

    rank: int
    world: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and events."""
        return self.rank == 0

    def total(self, *numbers: float) -> list[float]:
        """Return the sums of numbers over all processes."""
        if self.world == 1:
            return list(numbers)
        # On the CPU, over gloo: a GPU would have to be waited for.
        values = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(values)
        return values.tolist()

    def gather(self, value: _Value) -> list[_Value]:
        """Return the value of each process, in their order."""
        if self.world == 1:
            return [value]
        values: list[_Value | None] = [None] * self.world
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]  # filled by now

    def broadcast(self, value: _Value) -> _Value:
        """Return the value that the first process has."""
        if self.world == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def first_does(self, work: Callable[[], _Value]) -> _Value:
        """Let the first process do something, and return its result in all of them.

        Raises
        ------
        KnownToAllError
            In the others, with the text of what the first one raised: none waits for one that is about to end.
        """
        if self.world == 1:
            return work()
        result: tuple[_Value | None, str | None] = (None, None)
        problem: Exception | None = None
        if self.is_first:
            try:
                result = (work(), None)
            except Exception as error:  # noqa: BLE001  # raised below, when the others know
                problem, result = error, (None, str(error) or type(error).__name__)
        value, text = self.broadcast(result)
        if problem is not None:
            raise problem
        if text is not None:
            raise KnownToAllError(text)
        return value  # type: ignore[return-value]  # that of the first process


@contextmanager
def join_ranks(device: str) -> Iterator[Ranks]:
    """Join the processes that torchrun started, or be alone.

    Parameters
    ----------
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. With torchrun each process takes the GPU of its number.

    Raises
    ------
    InputError
        If there is no such device, or several processes cannot have one each.
    """
    world, rank, local = _from_torchrun()
    chosen = choose_device(device, world, local)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world == 1:
        yield Ranks(0, 1, chosen)
        return
    try:
        # Gradients go over nccl, all else is a few numbers and texts.
        dist.init_process_group("cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo", timeout=_PATIENCE)
    except (ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())[:200]
        raise InputError(f"process {rank} of {world} of torchrun cannot join the others ({text})") from None
    yield Ranks(rank, world, chosen)
    # Not where something was raised: the others may be in an exchange, and leaving would wait for its end.
    dist.destroy_process_group()


def _from_torchrun() -> tuple[int, int, int]:
    """Return the number of processes, of this one, and of this one on its machine."""
    numbers = []
    for name, default, least in (("WORLD_SIZE", "1", 1), ("RANK", "0", 0), ("LOCAL_RANK", "0", 0)):
        text = os.environ.get(name, default)
        if not text.isdecimal() or int(text) < least:
            raise InputError(f"the variable {name} is {text[:40]!r}; {_START_BY}")
        numbers.append(int(text))
    world, rank, local = numbers
    # Without these, processes would wait for each other for hours.
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if world > 1 and not os.environ.get(name)]
    if missing:
        raise InputError(f"the variable WORLD_SIZE is {world}, but there is no {', '.join(missing)}; {_START_BY}")
    if rank >= world:
        raise InputError(f"the variable RANK is {rank}, but WORLD_SIZE {world}; {_START_BY}")
    if world > 1 and not os.environ["MASTER_PORT"].isdecimal():
        raise InputError(f"the variable MASTER_PORT is {os.environ['MASTER_PORT'][:40]!r}; {_START_BY}")
    return world, rank, local


_START_BY = "start by torchrun, which sets them all, or unset it"


def choose_device(name: str, world: int = 1, local: int = 0) -> torch.device:
    """Return the device of process `local` among `world` on a machine; see `join_ranks`."""
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if available else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device {name}: choose auto, cpu, cuda, cuda:N or mps") from None
    if device.type == "cuda" and not available:
        raise InputError(f"--device {name}: there is no CUDA GPU here (or torch was built without CUDA)")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"--device {name}: there is no Apple GPU here")
    if device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"--device {name}: choose auto, cpu, cuda, cuda:N or mps")
    if world > 1:
        if device.index is not None or device.type == "mps":
            raise InputError(f"--device {name}: with torchrun give cpu or cuda; each process takes its own")
        if device.type == "cuda" and local >= available:
            raise InputError(
                f"torchrun started more processes than there are GPUs ({available}); lower --nproc-per-node"
            )
        if device.type == "cuda":
            device = torch.device("cuda", local)
    if device.type == "cuda" and (device.index or 0) >= available:
        raise InputError(f"--device {name}: there are only {available} GPUs here, cuda:0 to cuda:{available - 1}")
    return device
