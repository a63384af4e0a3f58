"""The sessions of windows while they run, so that what was open is offered again after one that ended unexpectedly."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from flowcut_napari.core.errors import DamagedFileError, FlowCutError
from flowcut_napari.viewer.session import Session, read_session, write_session

_DAYS, _MOST = 30, 20


def windows_folder() -> Path:
    """Return where they are kept."""
    return platformdirs.user_state_path("flowcut") / "windows"


class WindowSession:
    """What is open in one window, on disk as long as it runs. Its lock goes with the process, however that ends.

    All methods may be called on any thread.
    """

    def __init__(self) -> None:
        self._path = windows_folder() / f"{os.getpid()}-{secrets.token_hex(6)}.json"
        self._lock = _lock_of(self._path)
        self._turn = threading.Lock()
        self._is_ended = False

    def keep(self, session: Session) -> None:
        """Write what is open now; takes a moment.

        Raises
        ------
        OutputError
            If it cannot be written.
        OSError
            If the folder cannot be made.
        """
        with self._turn:
            if self._is_ended:
                return
            if not session.videos:
                self._path.unlink(missing_ok=True)
                return
            if not self._lock.is_locked:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._lock.acquire()
            write_session(session, self._path)

    def end(self) -> None:
        """Forget it: the window ends as it should. May be called again."""
        with self._turn:
            self._is_ended = True
            _remove(self._path, self._lock)


@dataclass(frozen=True)
class CrashedWindow:
    """A window that ended unexpectedly. Nobody else is offered it as long as this process holds it.

    Attributes
    ----------
    session : Session
        What was open in it.
    at : datetime
        When it was last seen, local time.
    """

    session: Session
    at: datetime
    _path: Path
    _lock: FileLock

    def forget(self) -> None:
        """Do not offer it again."""
        _remove(self._path, self._lock)

    def release(self) -> None:
        """Leave it to whoever looks next: nobody has answered."""
        _release(self._lock)


def crashed_windows() -> list[CrashedWindow]:
    """Return the windows that ended unexpectedly, the last one first, and hold them.

    What is damaged goes, and what nobody wanted for a month or lies behind twenty others.
    """
    found = []
    with contextlib.suppress(OSError):
        for path in windows_folder().glob("*.json"):
            lock = _lock_of(path)
            try:
                lock.acquire(timeout=0)
            except (Timeout, OSError):  # the window lives, or somebody else has taken it
                continue
            try:
                at = datetime.fromtimestamp(path.stat().st_mtime)
                found.append(CrashedWindow(read_session(path), at, path, lock))
            except DamagedFileError:
                _remove(path, lock)
            except (FlowCutError, OSError):  # such as that of a newer version, which may offer it yet
                _release(lock)
    found.sort(key=lambda window: window.at, reverse=True)
    oldest = datetime.now() - timedelta(days=_DAYS)
    kept = [window for window in found[:_MOST] if window.at >= oldest]
    for window in found[len(kept) :]:
        window.forget()
    return kept


def _lock_of(path: Path) -> FileLock:
    # It is taken and let go of on different threads.
    return FileLock(path.with_suffix(".lock"), thread_local=False)


def _remove(path: Path, lock: FileLock) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    _release(lock)


def _release(lock: FileLock) -> None:
    # While it is held: another process might have it else.
    with contextlib.suppress(OSError):
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()
