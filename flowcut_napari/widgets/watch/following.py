"""Following runs on a thread: what is new in their folders, in pieces small enough that the window goes on living."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flowcut_napari.core.run_events import LOG, STOP, EventFollower, last_lines
from flowcut_napari.core.run_history import RunHistory, RunView
from flowcut_napari.core.run_state import RunState, judge_run
from flowcut_napari.widgets.watch.digest import Digest, digest_of

# Seconds from one look to the next: while somebody looks, when nothing has changed for a while, when nobody does.
_SOON, _LATER, _SELDOM = 0.8, 1.5, 3.0
_QUIET_AFTER = 20.0
# While a long file is read, what is known so far is told so often.
_TELL_SECONDS = 0.3
# After each piece the window has its turn: a thread that computes would hold it up for 5 ms, again and again.
_BREATH = 0.001
# Until what was told is drawn.
_PATIENCE_SECONDS = 0.5


@dataclass(frozen=True, eq=False)
class Watched:
    """What is known of a run.

    Attributes
    ----------
    run : Path
    view : RunView
    state : RunState
    log : tuple of str
        The last lines of its log.
    problem : str
        Why its events cannot be read; empty if they can.
    is_loading : bool
        Whether more of them is about to come.
    digest : Digest
        Its curves.
    """

    run: Path
    view: RunView
    state: RunState
    log: tuple[str, ...] = ()
    problem: str = ""
    is_loading: bool = False
    digest: Digest = field(default_factory=Digest)


@dataclass
class _Followed:
    """A run that is followed, and what was told of it."""

    run: Path
    follower: EventFollower
    history: RunHistory = field(default_factory=RunHistory)
    log: tuple[str, ...] = ()
    digest: Digest = field(default_factory=Digest)
    log_stamp: tuple[int, int] | None = None
    told: tuple[object, ...] | None = None


class Following:
    """Looks at runs again and again, until `stop`.

    Parameters
    ----------
    on_news : callable
        Takes a `Watched` whenever something of a run has changed; called on the thread.
    """

    def __init__(self, on_news: Callable[[Watched], None]) -> None:
        self._on_news = on_news
        self._turn = threading.Condition()
        self._wanted: tuple[Path, ...] = ()
        self._is_seen = True
        self._is_over = False
        self._is_urgent = False
        self._is_new = False
        self._changed_at = 0.0
        self._thread: threading.Thread | None = None
        # Whether what was told of a long file is drawn: two threads at once would wait for each other all the time.
        self._is_drawn = threading.Event()

    def follow(self, runs: Sequence[Path]) -> None:
        """Follow these runs from now on, the first one first."""
        with self._turn:
            self._wanted = tuple(dict.fromkeys(runs))
            self._is_new = True
            if self._thread is None and not self._is_over and self._wanted:
                self._thread = threading.Thread(target=self._work, name="flowcut runs", daemon=True)
                self._thread.start()
        self.look_now()

    def set_seen(self, is_seen: bool) -> None:
        """Say whether somebody looks; else there is time."""
        if is_seen != self._is_seen:
            self._is_seen = is_seen
            if is_seen:
                self.look_now()

    def go_on(self) -> None:
        """Read on: what was told is drawn."""
        self._is_drawn.set()

    def look_now(self) -> None:
        """Look at once, since something has happened."""
        with self._turn:
            self._is_urgent = True
            self._changed_at = time.monotonic()
            self._turn.notify()

    def stop(self) -> None:
        """End the thread, after the piece that it is at. May be called again."""
        with self._turn:
            self._is_over = True
            self._wanted = ()
            self._is_drawn.set()
            self._turn.notify()

    def _pause(self) -> float:
        if not self._is_seen:
            return _SELDOM
        return _SOON if time.monotonic() - self._changed_at < _QUIET_AFTER else _LATER

    def _work(self) -> None:
        known: dict[Path, _Followed] = {}
        while True:
            with self._turn:
                if not self._is_urgent and not self._is_over:
                    self._turn.wait(self._pause())
                self._is_urgent = False
                wanted, is_new = self._wanted, self._is_new
                self._is_new = False
                if self._is_over:
                    return
            known = {run: known.get(run) or _Followed(run, EventFollower(run)) for run in wanted}
            for followed in known.values():
                if is_new:  # whoever asks wants to hear of all of them
                    followed.told = None
                self._look(followed)

    def _look(self, followed: _Followed) -> None:
        follower, history = followed.follower, followed.history
        told_at = time.monotonic()
        while True:
            batch = follower.poll()
            if batch.is_anew:
                history.clear()
            history.add(batch.events)
            if not batch.is_more:
                break
            if self._is_over or followed.run not in self._wanted:
                return
            if time.monotonic() - told_at > _TELL_SECONDS:
                self._is_drawn.clear()
                self._tell(followed, "", is_loading=True)
                if self._is_seen:
                    self._is_drawn.wait(_PATIENCE_SECONDS)
                told_at = time.monotonic()
            time.sleep(_BREATH)
        self._tell(followed, batch.problem)

    def _tell(self, followed: _Followed, problem: str, *, is_loading: bool = False) -> None:
        run, follower = followed.run, followed.follower
        view = followed.history.view(follower.passed_over)
        state = judge_run(view, stop_asked=os.path.exists(run / STOP), changed_at=follower.changed_at)
        self._read_log(followed)
        news = (view.events, view.start, view.end, view.remark, state, followed.log_stamp, problem, is_loading)
        if news == followed.told:
            return
        if followed.told is None or news[0] != followed.told[0]:
            self._changed_at = time.monotonic()
            followed.digest = digest_of(view)
        followed.told = news
        if not self._is_over and run in self._wanted:
            self._on_news(Watched(run, view, state, followed.log, problem, is_loading, followed.digest))

    def _read_log(self, followed: _Followed) -> None:
        try:
            about = os.stat(followed.run / LOG)
            stamp = (about.st_size, about.st_mtime_ns)
        except (OSError, ValueError):
            stamp = None
        if stamp != followed.log_stamp:
            followed.log_stamp = stamp
            followed.log = last_lines(followed.run / LOG) if stamp is not None else ()
