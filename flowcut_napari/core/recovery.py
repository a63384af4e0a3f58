"""Where work goes that cannot be saved in its place, so that it is found again after the window is gone.

Each copy is a masks file with a small json beside it that says where it belongs. No copy is written over by another
process, and taking one up writes over nothing that is not kept here in turn.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import platformdirs
import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flowcut_napari.core.errors import InputError, OutputError
from flowcut_napari.core.files import folder_held, write_atomically
from flowcut_napari.core.store import SUFFIX, parse_masks
from flowcut_napari.core.video import safe_name

# ``unsaved``: lies nowhere else. ``put aside``: the user took another version. ``replaced``: the user's version took
# its place.
Kind = Literal["unsaved", "put aside", "replaced"]
_NOTE = ".about.json"
_MOST = 50


class _Process(BaseModel):
    number: int
    started: float


class _Note(BaseModel):
    """What stands beside a copy."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["flowcut.recovery/1"] = Field("flowcut.recovery/1", alias="schema")
    path: Path
    kind: Kind
    at: datetime
    user: _Process | None


@dataclass(frozen=True)
class RecoveryItem:
    """Work that was kept apart.

    Attributes
    ----------
    copy : Path
        The masks file in the recovery folder.
    path : Path
        Where it belongs.
    kind : str
        ``unsaved``, ``put aside`` or ``replaced``.
    at : datetime
        When it was kept, UTC.
    is_in_use : bool
        Whether a process is still at work on it and may save it in its place yet.
    """

    copy: Path
    path: Path
    kind: Kind
    at: datetime
    is_in_use: bool

    @property
    def name(self) -> str:
        """Name of the file that it belongs to, without its suffix."""
        return self.path.name.removesuffix(SUFFIX)


def recovery_folder() -> Path:
    """Return where work is kept that cannot be saved in its place."""
    return platformdirs.user_state_path("flowcut") / "recovery"


def new_copy(path: Path) -> Path:
    """Return a place for a copy of what belongs at `path`, one that nobody else writes to."""
    stem = safe_name(path.name.removesuffix(SUFFIX))[:100]
    return recovery_folder() / f"{stem}-{secrets.token_hex(6)}{SUFFIX}"


def keep_copy(content: bytes, copy: Path, path: Path, kind: Kind, is_in_use: bool = False) -> None:
    """Write a copy, or write it again.

    Parameters
    ----------
    content : bytes
        Of the masks file.
    copy : Path
        From `new_copy`.
    path : Path
        Where it belongs.
    kind : str
    is_in_use : bool
        Whether this process is still at work on it, and may save it in its place yet.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    user = _Process(number=os.getpid(), started=_started(os.getpid())) if is_in_use else None
    note = _Note(path=path, kind=kind, at=datetime.now(UTC), user=user)
    # The note first: a copy without one could not be offered.
    write_atomically(_note_of(copy), note.model_dump_json(by_alias=True, indent=1) + "\n")
    write_atomically(copy, content)
    _forget_oldest()


def list_recovery() -> list[RecoveryItem]:
    """Return what was kept, newest first; what is damaged is passed over."""
    items = []
    with contextlib.suppress(OSError):
        for note_path in recovery_folder().glob(f"*{_NOTE}"):
            copy = note_path.with_name(note_path.name.removesuffix(_NOTE) + SUFFIX)
            try:
                note = _Note.model_validate_json(note_path.read_text(encoding="utf-8"))
            except (OSError, ValueError, ValidationError):
                continue
            if copy.is_file():
                items.append(RecoveryItem(copy, note.path, note.kind, note.at, _is_alive(note.user)))
    return sorted(items, key=lambda item: item.at, reverse=True)


def kept_of(path: str | os.PathLike[str]) -> list[RecoveryItem]:
    """Return the versions of one masks file that were kept and nobody is at work on, newest first."""
    real = os.path.realpath(path)
    return [item for item in list_recovery() if not item.is_in_use and os.path.realpath(item.path) == real]


def take_recovery(item: RecoveryItem, path: str | os.PathLike[str] | None = None) -> Path:
    """Put work that was kept back in its place, or at `path`, and forget the copy; return where it is.

    What is there and holds something else is kept in the recovery folder in turn.

    Raises
    ------
    InputError
        If the copy cannot be read, or its process is still at work on it; it stays where it is.
    OutputError
        If it cannot be written there; it stays where it is.
    """
    target = Path(path) if path is not None else item.path
    if item.is_in_use:
        raise InputError(f"{item.name}: another window is still at work on this")
    try:
        content = item.copy.read_bytes()
    except OSError as error:
        raise InputError(f"{item.copy}: cannot be read ({error.strerror or error})") from None
    parse_masks(content, item.copy)
    if not target.parent.is_dir():
        raise OutputError(f"{target}: its folder is not there any more")
    with folder_held(target.parent):
        try:
            there = target.read_bytes() if target.exists() else content
        except OSError as error:
            raise OutputError(f"{target}: cannot be read, so it is not replaced ({error.strerror or error})") from None
        if there != content:
            keep_copy(there, new_copy(target), target, "replaced")
        write_atomically(target, content)
    drop_recovery(item)
    return target


def drop_recovery(item: RecoveryItem) -> None:
    """Forget work that was kept."""
    drop_copy(item.copy)


def drop_copy(copy: Path) -> None:
    """Remove a copy and its note."""
    for path in (copy, _note_of(copy)):
        with contextlib.suppress(OSError):
            path.unlink()


def _note_of(copy: Path) -> Path:
    return copy.with_name(copy.name.removesuffix(SUFFIX) + _NOTE)


def _forget_oldest() -> None:
    """Bound the number of copies; what is nowhere else goes last."""
    items = sorted(list_recovery(), key=lambda item: (item.kind == "unsaved", item.at), reverse=True)
    for item in items[_MOST:]:
        if not item.is_in_use:
            drop_recovery(item)


def _started(number: int) -> float:
    return psutil.Process(number).create_time()


def _is_alive(process: _Process | None) -> bool:
    try:
        # Numbers of processes are used again.
        return process is not None and abs(_started(process.number) - process.started) < 2
    except psutil.Error:
        return False
