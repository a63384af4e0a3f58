"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from flowcut_napari.core.errors import InputError, OutputError

_umask_turn = threading.Lock()
_known_umask: int | None = None


def write_atomically(path: Path, content: str | bytes, check: Callable[[], object] | None = None) -> None:
    """Write a file so that readers see the old one or the whole new one: temporary file, fsync, rename.

    Parameters
    ----------
    path : Path
    content : str or bytes
    check : callable, optional
        Called when all is on disk, right before it takes the place of what is there; what it raises prevents that.

    Raises
    ------
    OutputError
        If it cannot be written; no temporary file stays behind.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
        ) as stream:
            temporary = stream.name
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        # A temporary file is private to its owner; a result is as readable as what it replaces, or any other file.
        os.chmod(temporary, _mode_of(path))
        if check is not None:
            check()
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def read_regular(path: Path) -> tuple[bytes, os.stat_result]:
    """Return what is in a file, and what the system knew of it while it was open.

    Raises
    ------
    InputError
        If it is missing, no regular file, or cannot be read.
    """
    try:
        if path.exists() and not path.is_file():  # to open a pipe would wait for ever
            raise InputError(f"{path}: not a regular file")
        with path.open("rb") as stream:
            return stream.read(), os.fstat(stream.fileno())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:  # what can be no path
        if isinstance(error, InputError):
            raise
        raise InputError(f"{str(path)[:80]!r}: cannot be read ({error})") from None


@contextmanager
def lock_folder(folder: Path, name: str, refusal: str) -> Iterator[None]:
    """Hold the lock file `name` in a folder; it is let go of when the process ends, however it ends.

    Raises
    ------
    InputError
        With the text `refusal`, if another process holds it.
    OutputError
        If the folder cannot be written to.
    """
    path = folder / name
    lock = FileLock(path, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InputError(refusal) from None
    except OSError as error:
        raise OutputError(f"{folder}: cannot write into this folder ({error.strerror or error})") from None
    try:
        yield
    finally:
        # While it is held; a system that does not remove open files keeps it, which does no harm.
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()


@contextmanager
def made_whole(folder: Path, replaceable: Callable[[Path], bool], overwrite: bool = False) -> Iterator[Path]:
    """Give a folder beside the wanted one to write into; at the end it takes the other's place, whole, or goes.

    Parameters
    ----------
    folder : Path
        Not there, empty, or one that may be replaced.
    replaceable : callable
        Tells whether a folder that is there is one that this package made; no other is ever replaced.
    overwrite : bool
        Whether such a folder is replaced.

    Raises
    ------
    InputError
        If something else is in its place, or another process is writing it.
    OutputError
        If it cannot be written.
    """
    folder = Path(os.path.abspath(folder))
    _check_place(folder, replaceable, overwrite)
    part, old, lock = _beside(folder)
    with lock_folder(folder.parent, lock.name, f"{folder}: another process is writing this folder"):
        # Once more: another process may have put something there before this one held the lock.
        _check_place(folder, replaceable, overwrite)
        try:
            # What a run that was killed left behind.
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written ({error.strerror or error})") from None
        try:
            yield part
            _put_in_place(part, folder, old)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _check_place(folder: Path, replaceable: Callable[[Path], bool], overwrite: bool) -> None:
    try:
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise InputError(f"{folder}: is in the way; give another -o")
        if folder.is_dir() and folder.samefile(Path.cwd()):
            raise InputError(f"{folder}: cannot be replaced while you are in it; give a new one with -o")
        if not folder.is_dir() or not any(folder.iterdir()):
            return
    except OSError as error:
        if isinstance(error, InputError):
            raise
        raise OutputError(f"{str(folder)[:200]}: cannot be written ({error.strerror or error})") from None
    if not replaceable(folder):
        raise InputError(f"{folder}: is a folder with other files in it; give a new one with -o")
    if not overwrite:
        raise InputError(f"{folder}: is there already; give another -o, or --overwrite to replace it")


def clear_unfinished(folder: Path) -> None:
    """Clear away what a `made_whole` that was killed left beside a folder, and put back what it was replacing.

    Nothing is touched that another process is writing, nor where it cannot be.
    """
    folder = Path(os.path.abspath(folder))
    part, old, lock = _beside(folder)
    if not any(os.path.lexists(path) for path in (part, old, lock)):
        return
    with contextlib.suppress(InputError, OSError), lock_folder(folder.parent, lock.name, "is being written"):
        if old.is_dir() and not folder.exists():
            old.rename(folder)
        for left in (part, old):
            shutil.rmtree(left, ignore_errors=True)


def _beside(folder: Path) -> tuple[Path, Path, Path]:
    """Return what lies beside a folder while it is made: the new one, the one that it replaces, and the lock."""
    part, old, lock = (folder.parent / f".{folder.name}.{suffix}" for suffix in ("part", "old", "lock"))
    return part, old, lock


def _put_in_place(part: Path, folder: Path, old: Path) -> None:
    try:
        if folder.is_dir():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        try:
            part.rename(folder)
        except OSError:
            if old.is_dir() and not folder.exists():
                old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error})") from None


@contextmanager
def folder_held(folder: Path) -> Iterator[None]:
    """Wait until no other process of this machine holds a folder, and hold it, for the moment that a change takes.

    Where the system cannot hold folders (Windows, some network file systems) this does nothing.
    """
    try:
        import fcntl

        folder.mkdir(parents=True, exist_ok=True)
        number = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def remove_unfinished(folder: Path, prefixes: Collection[str]) -> None:
    """Remove temporary files of `write_atomically` whose writers are gone; `prefixes` are ``.NAME.``."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.endswith(".part") and any(name.startswith(prefix) for prefix in prefixes if name[0] == "."):
                (folder / name).unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Create an output folder and see that files can be made in it, before anything is computed for it.

    Raises
    ------
    OutputError
        If not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"{folder}: cannot write into this folder ({error.strerror or error})") from None


def _mode_of(path: Path) -> int:
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except OSError:  # there is none yet
        return 0o666 & ~_umask()


def _umask() -> int:
    # The only way to read it is to set it, for all threads of the process: of two at a time one would read what the
    # other has set, and leave it so. It is never wider than it was meant to be.
    global _known_umask
    with _umask_turn:
        if _known_umask is None:
            _known_umask = os.umask(0o077)
            os.umask(_known_umask)
        return _known_umask
