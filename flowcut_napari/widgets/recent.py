"""What was used last (datasets that were opened, runs that were started), kept from one window to the next."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from typing import Literal

import platformdirs

from flowcut_napari.core.errors import OutputError
from flowcut_napari.core.files import write_atomically

Kind = Literal["datasets", "runs"]
_MOST = 8


def recent_path(kind: Kind) -> Path:
    """Return where they are kept."""
    return platformdirs.user_state_path("flowcut") / f"{kind}.json"


class Recent:
    """Paths, the latest first.

    Parameters
    ----------
    kind : {"datasets", "runs"}
    is_kept : bool
        Whether they are read from the disk and written there.
    """

    def __init__(self, kind: Kind, is_kept: bool) -> None:
        self._kind, self._is_kept = kind, is_kept
        self.paths: list[str] = _read(kind) if is_kept else []

    def put(self, path: str) -> None:
        """Put a path first."""
        self.paths = [path, *(other for other in self.paths if other != path)][:_MOST]
        if self._is_kept:
            content = json.dumps({"schema": f"flowcut.{self._kind}/1", self._kind: self.paths}, indent=1) + "\n"
            # To wait for the disk would be seen.
            threading.Thread(target=_write, args=(recent_path(self._kind), content)).start()


def _read(kind: Kind) -> list[str]:
    # A list of what one could open anyway: without it nothing is lost.
    try:
        content = json.loads(recent_path(kind).read_text(encoding="utf-8"))
        paths = content[kind] if content["schema"] == f"flowcut.{kind}/1" else []
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return [path for path in paths if isinstance(path, str)][:_MOST] if isinstance(paths, list) else []


def _write(path: Path, content: str) -> None:
    with contextlib.suppress(OutputError):
        write_atomically(path, content)
