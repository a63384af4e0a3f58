"""The datasets that were opened last, kept from one window to the next."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path

import platformdirs

from flowcut_napari.core.errors import OutputError
from flowcut_napari.core.files import write_atomically

_MOST = 8


def recent_path() -> Path:
    """Return where they are kept."""
    return platformdirs.user_state_path("flowcut") / "datasets.json"


class RecentDatasets:
    """Paths of datasets, the latest first.

    Parameters
    ----------
    is_kept : bool
        Whether they are read from the disk and written there.
    """

    def __init__(self, is_kept: bool) -> None:
        self._is_kept = is_kept
        self.paths: list[str] = _read() if is_kept else []

    def put(self, path: str) -> None:
        """Put a path first."""
        self.paths = [path, *(other for other in self.paths if other != path)][:_MOST]
        if self._is_kept:
            content = json.dumps({"schema": "flowcut.datasets/1", "datasets": self.paths}, indent=1) + "\n"
            # To wait for the disk would be seen.
            threading.Thread(target=_write, args=(content,)).start()


def _read() -> list[str]:
    # A list of what one could open anyway: without it nothing is lost.
    try:
        content = json.loads(recent_path().read_text(encoding="utf-8"))
        paths = content["datasets"] if content["schema"] == "flowcut.datasets/1" else []
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return [path for path in paths if isinstance(path, str)][:_MOST] if isinstance(paths, list) else []


def _write(content: str) -> None:
    with contextlib.suppress(OutputError):
        write_atomically(recent_path(), content)
