"""Ending a run: asked by a file, after the step that it is at; or made to, at once, with all of its processes."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

import psutil

from flowcut_napari.core.errors import InputError, OutputError
from flowcut_napari.core.run_events import EVENTS, STOP, EventFollower
from flowcut_napari.core.run_history import RunHistory
from flowcut_napari.core.run_records import RunStart
from flowcut_napari.core.run_state import find_process, is_this_machine
from flowcut_napari.core.times import utc

# Until a process that was killed is gone.
_PATIENCE_SECONDS = 5.0
KILLED = "it was killed by hand; what was done since its last checkpoint is lost"
# By which clocks may differ.
_SLACK = 2.0
_LAUNCHERS = ("torchrun", "torch.distributed.run", "torch.distributed.launch")


def stop_run(run: Path) -> None:
    """Ask a run to save and end after the step that it is at.

    Raises
    ------
    InputError
        If it is no run.
    OutputError
        If it cannot be asked.
    """
    if not os.path.isfile(run / EVENTS):
        raise InputError(f"{run}: no run that could be stopped; it has no {EVENTS}")
    path = run / STOP
    if os.path.isdir(path):
        raise OutputError(f"{path}: is a folder, where a stop file would be; remove it")
    try:
        path.touch()
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); end the run instead") from None


def kill_run(run: Path) -> int:
    """End a run of this machine at once, with all processes that it started, and a torchrun that started it.

    Only a process is ended that is, by number and time, the one that the last start of the run names. What was done
    since its last checkpoint is lost.

    Returns
    -------
    int
        How many processes were ended.

    Raises
    ------
    InputError
        If its process is not there, not on this machine, or not surely the one.
    OutputError
        If it cannot be ended.
    """
    start = last_start(run)
    if start is None or start.pid is None:
        raise InputError(f"{run}: its events name no process that could be ended")
    if not start.host or start.process_started is None:
        raise InputError(f"{run}: its events do not tell surely which process it is; stop it by its stop file")
    if not is_this_machine(start):
        raise InputError(f"{run}: runs on {start.host}; end it there, or stop it by its stop file")
    process = find_process(start)
    if process is None:
        raise InputError(f"{run}: its process {start.pid} is not there any more")
    if process.pid in {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}:
        raise InputError(f"{run}: runs in this very program; stop it by its stop file")
    try:
        count = _end_all(_launcher_of(process) or process)
        note_end(run, KILLED, since=start.time or 0.0)
        return count
    except psutil.NoSuchProcess:
        raise InputError(f"{run}: its process {start.pid} is not there any more") from None
    except psutil.AccessDenied as error:
        raise OutputError(f"{run}: process {error.pid} belongs to another user, who has to end it") from None


def note_end(run: Path, reason: str, *, since: float) -> None:
    """Add to the events of a run why it ended, if they do not say it: for the list of runs, and other windows.

    Nothing is added to a run that was begun earlier, or is at work: what was started then was refused, such as a second
    process in the same folder, and that is not how the run ended. Where it cannot be written nothing is raised: it is
    what a full disk is like.

    Parameters
    ----------
    run : Path
    reason : str
        In one line.
    since : float
        When it was started, in seconds since 1970: earlier ends are not its own.
    """
    follower, history = EventFollower(run, last_steps=0), RunHistory(is_tail=True)
    while True:
        batch = follower.poll(1 << 20)
        history.add(batch.events)
        if not batch.is_more:
            break
    start, end = history.view().start, history.view().end
    if end is not None and not _is_before(end.time, since):
        return
    if start is not None and (_is_before(start.time, since) or find_process(start) is not None):
        return
    event = {
        "event": "error",
        "time": utc(time.time()),
        "reason": reason,
        "told_by": "whoever started or ended it",
    }
    with contextlib.suppress(OSError), (run / EVENTS).open("ab+") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - 1))
        # A run that was killed may have left half a line.
        is_whole = stream.read(1) in (b"", b"\n")
        stream.write((b"" if is_whole else b"\n") + json.dumps(event).encode() + b"\n")


def _is_before(moment: float | None, since: float) -> bool:
    return moment is not None and moment < since - _SLACK


def last_start(run: Path) -> RunStart | None:
    """Return what the last start of a run says; None if it never started."""
    follower, found = EventFollower(run, last_steps=0), None
    while True:
        batch = follower.poll(1 << 20)
        for event in batch.events:
            if event["event"] == "start":
                found = RunStart.of(event)
        if not batch.is_more:
            return found


def _launcher_of(process: psutil.Process) -> psutil.Process | None:
    """Return the torchrun that started a process; anything else, such as a shell, is not its launcher."""
    parent = process.parent()
    if parent is None or parent.pid in {os.getpid(), *(other.pid for other in psutil.Process().parents())}:
        return None
    try:
        words = parent.cmdline()
    except psutil.Error:
        return None
    # python .../torchrun ..., or python -m torch.distributed.run ...: what it runs, not what it is given.
    program = words[1:4] if words and "python" in os.path.basename(words[0]).lower() else words[:1]
    return parent if any(os.path.basename(word) in _LAUNCHERS for word in program) else None


def kill_tree(root: psutil.Process) -> list[psutil.Process]:
    """Kill a process and its descendants, also those with sessions of their own; return them without waiting.

    None of them can start another meanwhile.

    Raises
    ------
    psutil.Error
        If the process is gone already, or one of them cannot be killed.
    """
    found: dict[int, psutil.Process] = {}
    fresh = [root]
    while fresh:
        for process in fresh:
            found[process.pid] = process
            try:
                process.suspend()
            except psutil.Error:  # what of it that cannot be killed either is said below
                if not _is_there(root):
                    raise
        fresh = [child for child in root.children(recursive=True) if child.pid not in found]
    denied: psutil.AccessDenied | None = None
    for process in found.values():
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied as error:
            denied = error
    if denied is not None:
        raise denied
    return list(found.values())


def _end_all(root: psutil.Process) -> int:
    """Kill a process and its descendants, and wait until they are gone."""
    found = kill_tree(root)
    # Those of others are not ours to be waited for, but to be looked at until they are gone.
    end = time.monotonic() + _PATIENCE_SECONDS
    while (left := [process for process in found if _is_there(process)]) and time.monotonic() < end:
        time.sleep(0.02)
    if left:
        raise OutputError(f"process {left[0].pid} does not end; it may wait for a disk or a GPU driver")
    return len(found)


def _is_there(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
