"""A masks file that a window changes again and again, while others may change it too: autosave without a stall.

Each state is written whole or not at all, on a thread, the newest first. What another program wrote meanwhile is never
written over, and work that cannot be saved in its place goes to the recovery folder (`recovery`).
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flowcut_napari.core.errors import FlowCutError, InputError, OutputError
from flowcut_napari.core.files import folder_held, read_regular, remove_unfinished, write_atomically
from flowcut_napari.core.masks_text import MasksEncoder
from flowcut_napari.core.recovery import drop_copy, keep_copy, new_copy, recovery_folder
from flowcut_napari.core.store import VideoMasks, parse_masks

# A folder that another process holds, or a network that is gone, must not keep a window from closing.
_CLOSE_SECONDS = 10.0


@dataclass(frozen=True)
class SaveState:
    """Whether all that was asked for is on disk.

    Attributes
    ----------
    kind : str
        ``saved``, ``saving``, ``failed`` (it cannot be written), or ``conflict`` (another program changed the file).
    text : str
        One line why; with ``saved`` something to be said once, or nothing.
    kept_at : Path or None
        Where the work lies instead, if it could be put there.
    """

    kind: Literal["saved", "saving", "failed", "conflict"]
    text: str = ""
    kept_at: Path | None = None


class MasksFile:
    """The file of one document. Calls return at once unless they say otherwise; they come from one thread.

    In a window: `open` on a thread (reading takes a while), `save` after every action, `close` at the end. On
    ``failed`` offer `retry` and `save_elsewhere`, on ``conflict`` `overwrite`, `reload` and `save_elsewhere`; every
    further `save` tries again by itself. `state` is ``saved`` when the window may close without a question.
    """

    def __init__(
        self, path: Path, seen: _Seen, masks: VideoMasks, on_state: Callable[[SaveState], None] | None = None
    ) -> None:
        self.path = path
        # Those of the thread, which alone writes.
        self._real = Path(os.path.realpath(path))
        # None: whatever is at the path may be replaced.
        self._seen: _Seen | None = seen
        self._copy: Path | None = None
        self._encoder = MasksEncoder()
        self._encoder.encode(masks)
        self._latest = self._on_disk = masks
        self._on_state = on_state
        self._state = self._told = SaveState("saved")
        self._is_wanted = self._replaces_theirs = self._is_elsewhere = self._is_closed = False
        self._thread: threading.Thread | None = None
        self._turn = threading.Condition()
        self._telling = threading.RLock()
        atexit.register(self.close)

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], on_state: Callable[[SaveState], None] | None = None
    ) -> tuple[MasksFile, VideoMasks]:
        """Read a masks file, to be changed; takes as long as `load_masks`.

        Parameters
        ----------
        path : str or path
        on_state : callable, optional
            Called with each new state, on whatever thread it comes about.

        Raises
        ------
        InputError
            If it cannot be read; see `load_masks`.
        """
        path = Path(path)
        content, seen = _read(path)
        masks = parse_masks(content, path)
        real = Path(os.path.realpath(path))
        with folder_held(real.parent):  # what a process left behind that was killed while it wrote
            remove_unfinished(real.parent, [f".{real.name}."])
        return cls(path, seen, masks, on_state), masks

    @property
    def state(self) -> SaveState:
        """What is known of the last state that was asked for."""
        return self._state

    def save(self, masks: VideoMasks) -> None:
        """Write these masks; if another write goes on, after it. Of several that wait only the newest is written."""
        with self._turn:
            if masks is self._on_disk and self._state.kind == "saved":
                return
            self._latest = masks
            self._want()
        self._tell()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait, at most so long, until nothing goes on any more; return whether all is on disk."""
        with self._turn:
            self._turn.wait_for(lambda: self._thread is None, seconds)
            return self._state.kind == "saved"

    def retry(self) -> None:
        """Try once more to write what could not be written."""
        self.save(self._latest)

    def overwrite(self) -> None:
        """Put ours in the place of what another program wrote, which is kept in the recovery folder."""
        with self._turn:
            self._replaces_theirs = True
            self._want()
        self._tell()

    def save_elsewhere(self, path: str | os.PathLike[str]) -> None:
        """Write to another file from now on; what is there is replaced: ask before."""
        with self._turn:
            self.path = Path(path)
            self._is_elsewhere = True
            self._want()
        self._tell()

    def reload(self, check: Callable[[VideoMasks], None] | None = None) -> VideoMasks:
        """Return what is in the file now, and go on from there; ours is kept in the recovery folder. Takes a while.

        `check` sees them first, and may refuse them by an error.

        Raises
        ------
        FlowCutError
            If theirs cannot be read or ours cannot be kept; then nothing has changed.
        """
        with self._turn:
            if not self._turn.wait_for(lambda: self._thread is None, _CLOSE_SECONDS):
                raise OutputError(f"{self.path}: is still being written")
            content, seen = _read(self._real)
            masks = parse_masks(content, self.path)
            if check is not None:
                check(masks)
            if self._state.kind != "saved":
                copy = self._copy or new_copy(self._real)
                keep_copy(self._encoder.encode(self._latest), copy, self._real, "put aside")
                self._copy = None
            self._seen, self._latest, self._on_disk = seen, masks, masks
            self._encoder.encode(masks)
            self._state = SaveState("saved")
        self._tell()
        return masks

    def close(self, seconds: float = _CLOSE_SECONDS) -> None:
        """Wait until all is on disk, at most so long; what is not is in the recovery folder then.

        May be called again.
        """
        atexit.unregister(self.close)
        if self._is_closed:
            return
        self._is_closed = True
        if not self.wait(seconds):
            # An encoder of its own: the thread may be at work with the other one.
            self._keep(MasksEncoder().encode(self._latest), is_in_use=False)

    def _want(self) -> None:
        if self._is_closed:
            raise ValueError(f"{self.path}: closed")
        self._is_wanted = True
        self._state = SaveState("saving", kept_at=self._copy)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"save {self.path.name}", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._turn:
                if not self._is_wanted:
                    self._thread = None
                    self._turn.notify_all()
                    return
                masks, replaces_theirs = self._latest, self._replaces_theirs
                if self._is_elsewhere:
                    self._real, self._seen = Path(os.path.realpath(self.path)), None
                self._is_wanted = self._replaces_theirs = self._is_elsewhere = False
            state = self._write(masks, replaces_theirs)
            with self._turn:
                if not self._is_wanted:
                    self._state = state
            self._tell()

    def _tell(self) -> None:
        # One after the other, and always what is so now: what is told last is right.
        with self._telling:
            state = self._state
            if self._on_state is not None and state != self._told:
                self._told = state
                self._on_state(state)

    def _write(self, masks: VideoMasks, replaces_theirs: bool) -> SaveState:
        content = b""
        try:
            content = self._encoder.encode(masks)
            text = self._put(content, replaces_theirs)
        except _ConflictError as error:
            return self._kept_state("conflict", str(error), content)
        except OutputError as error:
            return self._kept_state("failed", str(error), content)
        except Exception as error:  # noqa: BLE001  # whatever it is: that nothing is saved must be said
            return self._kept_state("failed", f"{self.path}: not saved ({type(error).__name__}: {error})", content)
        self._on_disk = masks
        if self._copy is not None:
            drop_copy(self._copy)
            self._copy = None
        return SaveState("saved", text)

    def _put(self, content: bytes, replaces_theirs: bool) -> str:
        """Write the file; return what is to be said about it."""
        if not self._real.parent.is_dir():
            raise OutputError(f"{self.path}: its folder is not there any more")
        with folder_held(self._real.parent):
            if replaces_theirs:
                self._take_up_theirs()
            # Before anything is written, and once more at the last moment: not everybody holds the folder.
            text = self._check(content)
            write_atomically(self._real, content, check=lambda: self._check(content))
            self._seen = _Seen(_signature(os.stat(self._real)), _digest(content))
        return text

    def _check(self, content: bytes) -> str:
        """See that the file is as we left it; return what is to be said if it was taken away."""
        try:
            status = os.stat(self._real)
        except FileNotFoundError:
            return f"{self.path.name} was taken away; it is written again" if self._seen is not None else ""
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be looked at ({error.strerror or error})") from None
        if not stat.S_ISREG(status.st_mode):
            raise OutputError(f"{self.path}: is not a regular file any more")
        if not os.access(self._real, os.W_OK):
            raise OutputError(f"{self.path}: is read-only")
        if self._seen is None or self._seen.signature == _signature(status):
            return ""
        try:
            theirs, seen = _read(self._real)
        except InputError as error:
            raise OutputError(str(error)) from None
        if seen.digest != self._seen.digest and theirs != content:
            raise _ConflictError(f"{self.path.name} was changed by another program; nothing of that is overwritten")
        self._seen = seen
        return ""

    def _take_up_theirs(self) -> None:
        with contextlib.suppress(InputError):  # gone meanwhile
            theirs, seen = _read(self._real)
            keep_copy(theirs, new_copy(self._real), self._real, "replaced")
            self._seen = seen

    def _kept_state(self, kind: Literal["failed", "conflict"], text: str, content: bytes) -> SaveState:
        kept_at = self._keep(content) if content else self._copy
        if kept_at is None:
            text = f"{text}; it cannot be kept in {recovery_folder()} either"
        return SaveState(kind, text, kept_at)

    def _keep(self, content: bytes, is_in_use: bool = True) -> Path | None:
        copy = self._copy or new_copy(self._real)
        try:
            keep_copy(content, copy, self._real, "unsaved", is_in_use)
        except FlowCutError:
            # An older copy is not what it is about.
            return None
        self._copy = copy
        return copy


def wait_for_all(files: Iterable[MasksFile], seconds: float) -> list[MasksFile]:
    """Wait, at most so long for all files together; return those that are not on disk."""
    end = time.monotonic() + seconds
    return [file for file in files if not file.wait(max(0.0, end - time.monotonic()))]


def close_all(files: Iterable[MasksFile], seconds: float = _CLOSE_SECONDS) -> None:
    """Close files, waiting at most so long for all of them together; see `MasksFile.close`."""
    end = time.monotonic() + seconds
    for file in files:
        file.close(max(0.0, end - time.monotonic()))


@dataclass(frozen=True)
class _Seen:
    """What a file was when it was last read or written."""

    signature: tuple[int, ...]
    digest: bytes


class _ConflictError(OutputError):
    """Another program changed the file."""


def _read(path: Path) -> tuple[bytes, _Seen]:
    content, status = read_regular(path)
    return content, _Seen(_signature(status), _digest(content))


def _signature(status: os.stat_result) -> tuple[int, ...]:
    # The time of change, too: some programs set the other one back.
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content).digest()
