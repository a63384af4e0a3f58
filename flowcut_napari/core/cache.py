"""Arrays that are costly to compute, kept on disk under a hash of everything they depend on.

Keys hold a hash of the pixels and the identity of the model with the version of its library, so that no entry goes
out of date: a frame that was edited or a folder that was moved finds its own entries and no others. Deleting the
folder at any time is safe, and so are several processes: entries appear by renaming a finished file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs

from flowcut_napari.core.errors import FlowCutWarning, InputError

DEFAULT_LIMIT_GB = 20.0
# Looking through the folder costs as much as some entries: each process does it once in so many bytes.
_TRIM_EVERY = 256_000_000


def cache_root() -> Path:
    """Return the folder of all that can be had again: FLOWCUT_CACHE, or the user's cache folder."""
    value = os.environ.get("FLOWCUT_CACHE")
    return expand_home(value) if value else platformdirs.user_cache_path("flowcut")


def expand_home(path: str | Path) -> Path:
    """Return a path with a leading ``~`` replaced.

    Raises
    ------
    InputError
        If there is no such home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{path}: {error}") from None


def array_digest(array: np.ndarray) -> str:
    """Return a hash of an array's shape, type and values."""
    digest = hashlib.blake2b(f"{array.shape} {array.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class ArrayCache:
    """A folder of arrays that is kept to a limit; the entries used longest ago go first.

    Each process that writes may pass the limit by 256 MB before it looks and deletes.

    Parameters
    ----------
    folder : Path, optional
        Where to keep them; ``cache_root()/arrays`` if not given.
    limit_gb : float
        Size in 10^9 bytes at which old entries are deleted.

    Attributes
    ----------
    trouble : str or None
        Why nothing more is written, once something could not be.
    """

    def __init__(self, folder: Path | None = None, limit_gb: float = DEFAULT_LIMIT_GB) -> None:
        self.folder = folder if folder is not None else cache_root() / "arrays"
        self.limit = int(limit_gb * 1e9)
        self._written_since_trim = 0
        self._lock = threading.Lock()
        self.trouble: str | None = None

    def __reduce__(self) -> tuple[type[ArrayCache], tuple[Path, float]]:
        # Other processes use the same folder through an object of their own.
        return ArrayCache, (self.folder, self.limit / 1e9)

    def check(self) -> str | None:
        """Return why the folder cannot be written, or None, and make room: to be asked before work begins."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            self.trouble = self._trouble(error)
        else:
            self.trim()
        return self.trouble

    def get(self, *key: str) -> np.ndarray | None:
        """Return the array kept under this key, or None."""
        path = self._path(key)
        try:
            array: np.ndarray = np.load(path, allow_pickle=False)
        except OSError:  # none there, or not to be read just now; that does not make it a bad entry
            return None
        except (ValueError, EOFError):  # a damaged entry is as good as none
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return array

    def put(self, array: np.ndarray, *key: str) -> None:
        """Keep an array; a cache that cannot be written warns once and is not asked again."""
        if self.trouble:
            return
        path = self._path(key)
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as stream:
                temporary = stream.name
                np.save(stream, array, allow_pickle=False)
            os.replace(temporary, path)
        except OSError as error:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
            # Windows does not replace a file that another process reads; it holds the same array.
            if not (isinstance(error, PermissionError) and path.exists()):
                self.trouble = self._trouble(error)
                warnings.warn(self.trouble, FlowCutWarning, stacklevel=2)
            return
        with self._lock:
            self._written_since_trim += array.nbytes
            due = self._written_since_trim >= min(self.limit // 10, _TRIM_EVERY)
            if due:
                self._written_since_trim = 0
        if due:
            self.trim()

    def get_or_compute(self, compute: Callable[[], np.ndarray], *key: str) -> np.ndarray:
        """Return the array under this key, computing and keeping it where it is missing."""
        array = self.get(*key)
        if array is None:
            array = compute()
            self.put(array, *key)
        return array

    def size(self) -> int:
        """Return the number of bytes kept."""
        return sum(size for _, size, _ in self._entries())

    def trim(self) -> None:
        """Delete the entries used longest ago until a tenth of the limit is free, if the limit is passed."""
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        if total <= self.limit:
            return
        for _, size, path in entries:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            total -= size
            if total <= self.limit * 9 // 10:
                break

    def clear(self) -> None:
        """Delete every entry."""
        for _, _, path in self._entries():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _entries(self) -> list[tuple[float, int, Path]]:
        """Return (last use, bytes, path) of every entry, half-written ones of other processes included."""
        entries = []
        for pattern in ("??/*.npy", "??/*.part"):
            for path in self.folder.glob(pattern):
                with contextlib.suppress(OSError):  # another process may delete it meanwhile
                    status = path.stat()
                    entries.append((status.st_mtime, status.st_size, path))
        return entries

    def _trouble(self, error: OSError) -> str:
        return f"the cache {self.folder} cannot be written ({error.strerror or error}); going on without it"

    def _path(self, key: tuple[str, ...]) -> Path:
        name = hashlib.blake2b("\0".join(key).encode(), digest_size=16).hexdigest()
        return self.folder / name[:2] / f"{name}.npy"
