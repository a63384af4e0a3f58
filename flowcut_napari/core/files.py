"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from flowcut_napari.core.errors import OutputError


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that readers see the old one or the whole new one: temporary file, fsync, rename.

    Raises
    ------
    OutputError
        If it cannot be written; no temporary file stays behind.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
        ) as stream:
            temporary = stream.name
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        # A temporary file is private to its owner; a result is as readable as any other file.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


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


def _umask() -> int:
    # The only way to read it is to set it.
    value = os.umask(0o022)
    os.umask(value)
    return value
