"""Dask clusters: one of processes on this machine, started for a run, or one that is there already."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flowcut_napari
from flowcut_napari.core.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

# How long a scheduler may take to answer, in seconds.
_PATIENCE = 10
_LOGGERS = ("distributed", "bokeh", "tornado", "asyncio")
# What Dask raises for addresses and files that are none, by protocol and version.
_NO_SCHEDULER = (OSError, ValueError, KeyError, TypeError, AssertionError, ImportError, RuntimeError, MemoryError)


@contextmanager
def start_cluster(workers: int) -> Iterator[Client]:
    """Start processes of one thread each on this machine, and end them."""
    import dask
    from distributed import Client, LocalCluster

    _be_quiet()
    scratch = tempfile.mkdtemp(prefix="flowcut-batch-")
    levels = dict.fromkeys(_LOGGERS, "critical")
    try:
        with dask.config.set({"logging": levels, "temporary-directory": scratch}):
            with _signals_held():
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    # At a limit, Dask would give a worker no more tasks, or end it; ours keep models and no more.
                    memory_limit=None,
                    dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                )
                client = Client(cluster)
            with cluster, client:
                yield client
    finally:
        _remove(scratch)


def _remove(scratch: str) -> None:
    """Remove a folder in which a process that is just ending may still make a file."""
    for _ in range(20):
        shutil.rmtree(scratch, ignore_errors=True)
        if not os.path.lexists(scratch):
            return
        time.sleep(0.1)


@contextmanager
def reach_cluster(scheduler: str) -> Iterator[Client]:
    """Connect to the cluster of a scheduler, by its address or its file.

    Raises
    ------
    InputError
        If no scheduler answers, or those of its processes that are there lack this package in this version.
    """
    from distributed import Client

    _be_quiet()
    address = _address_of(scheduler)
    try:
        # The timeout of the client covers less: a port that takes a connection and stays silent would hold it forever.
        asyncio.run(asyncio.wait_for(_shake_hands(address), _PATIENCE))
        client = Client(address, timeout=_PATIENCE)
    except _NO_SCHEDULER as error:
        why = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InputError(
            f"--scheduler {scheduler[:120]}: no Dask scheduler answers there ({why}); give tcp://HOST:PORT or its file"
        ) from None
    with client:
        _check_versions(client)
        yield client


def _address_of(scheduler: str) -> str:
    """Return the address, which a scheduler file holds under this name."""
    path = Path(scheduler)
    try:
        is_file = path.is_file()
    except (OSError, ValueError):  # an address is no path, and need not look like one
        is_file = False
    if not is_file:
        if scheduler.endswith(".json"):
            raise InputError(f"--scheduler {scheduler}: no such scheduler file")
        if not scheduler.strip() or len(scheduler) > 500:
            raise InputError(f"--scheduler {scheduler[:80]}: no address; give tcp://HOST:PORT or a scheduler file")
        return scheduler
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"--scheduler {scheduler}: no scheduler file, it cannot be read as JSON ({error})") from None
    address = content.get("address") if isinstance(content, dict) else None
    if not isinstance(address, str) or not address:
        raise InputError(f"--scheduler {scheduler}: no scheduler file, it has no address")
    return address


async def _shake_hands(address: str) -> None:
    from distributed.comm.core import connect

    comm = await connect(address, timeout=_PATIENCE)
    await comm.close()


def _check_versions(client: Client) -> None:
    """See that the processes of a cluster have this package: a task that they cannot read ends a worker."""
    ours = flowcut_napari.__version__
    try:
        for ask in (client.run_on_scheduler, client.run):
            ask(__import__, "flowcut_napari")
        found = {"its scheduler": client.run_on_scheduler(importlib.metadata.version, "flowcut-napari")}
        found |= client.run(importlib.metadata.version, "flowcut-napari")
    except ImportError as error:  # a package that is not found is one, too
        raise InputError(
            f"the cluster cannot import this package ({error}); install flowcut-napari {ours} for all of its processes"
        ) from None
    for where, version in found.items():
        if version != ours:
            raise InputError(f"the cluster has flowcut-napari {version} ({where}), this is {ours}; make them the same")


def _be_quiet() -> None:
    # What goes wrong is said in the outcome of the video that it concerns.
    # Dask gives some of its loggers levels of their own.
    known = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _LOGGERS]
    for name in (*_LOGGERS, *known):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Start threads and processes that never see a Ctrl-C or the end of the terminal; they inherit what is blocked."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    held = {signal.SIGINT, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    # It unblocks what it blocked itself when it starts, so it must be running before.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
