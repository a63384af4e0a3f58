"""Work on many items in processes of their own, with results in order and little in memory at once."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.core.workers import end_with_parent

Item = TypeVar("Item")
Done = TypeVar("Done")

# Items that are sent ahead, for each process: one at work, one to follow.
_AHEAD = 2


def in_processes(work: Callable[[Item], Done], items: Iterable[Item], workers: int) -> Iterator[Done]:
    """Give ``work(item)`` of every item, in order.

    Parameters
    ----------
    work : callable
        A function of a module, so that it can be sent to another process.
    items : iterable
        Each is sent when its turn comes near.
    workers : int
        Processes; with 1, or a single item, everything happens in this one. They are spawned: a forked child of a
        process that has used threads or CUDA can hang. A script that asks for more than one must therefore stand under
        ``if __name__ == "__main__"``.

    Raises
    ------
    FlowCutError
        If a process dies.
    """
    workers = min(workers, len(items)) if isinstance(items, Sized) else workers
    if workers <= 1:
        yield from map(work, items)
        return
    from flowcut_napari.core.workers import interrupts_held  # brings the models of stage 1; the processes need none

    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start)
    pending: deque[Future[Done]] = deque()
    try:
        for item in items:
            with interrupts_held():
                pending.append(pool.submit(work, item))
            if len(pending) >= _AHEAD * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool:
        raise FlowCutError("a worker process died, most often for want of memory; try fewer --workers") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start() -> None:
    # The parent decides what an interrupt means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    import cv2

    cv2.setNumThreads(1)
