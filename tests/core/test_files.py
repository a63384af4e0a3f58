from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from flowcut_napari.core import InputError
from flowcut_napari.core.files import write_atomically
from flowcut_napari.core.masks_file import MasksFile
from flowcut_napari.core.store import load_masks

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="files have no such modes there")

# What each write asks for; writing itself would leave the threads little chance to meet.
_THREADS_AT_ONCE = """
import os, sys, threading
from pathlib import Path
from flowcut_napari.core import files
sys.setswitchinterval(1e-6)
os.umask(0o077)
together = threading.Barrier(8)
def ask():
    together.wait()
    for _ in range(3000):
        files._umask()
threads = [threading.Thread(target=ask) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
files.write_atomically(Path(sys.argv[1]), "x")
print(oct(os.umask(0)))
"""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_threads_that_write_at_once_leave_the_umask_as_it_is(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _THREADS_AT_ONCE, str(tmp_path / "private")], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "0o77"
    assert mode_of(tmp_path / "private") == 0o600


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_file_that_is_replaced_is_as_readable_as_before(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "private"
    path.write_text("old")
    path.chmod(mode)
    write_atomically(path, "new")
    assert (path.read_text(), mode_of(path)) == ("new", mode)


def test_a_new_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    write_atomically(tmp_path / "ours", "x")
    (tmp_path / "theirs").touch()
    assert mode_of(tmp_path / "ours") == mode_of(tmp_path / "theirs")


@pytest.mark.parametrize("read", [load_masks, MasksFile.open], ids=["load", "open"])
@pytest.mark.parametrize("kind", ["no path", "missing", "folder", "pipe"])
def test_masks_that_cannot_be_read_are_said_alike_however_they_are_opened(
    tmp_path: Path, read: object, kind: str
) -> None:
    path = tmp_path / ("a\0b" if kind == "no path" else "a.masks.json")
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    words = {"no path": "cannot be read", "missing": "no such file"}.get(kind, "not a regular file")
    with pytest.raises(InputError, match=words):
        read(path)  # type: ignore[operator]
