"""Where the tests find data, and a home of their own: nothing of the user's is read or written."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# The fixtures of tests that call the command line, and of those that open a window.
pytest_plugins = ["command_line", "napari_window"]

REPOSITORY = Path(__file__).resolve().parent.parent
# Set before anything imports: matrices of tests are small, and threads only get in each other's way.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
# Under nohup hangups are ignored, and in the background of a shell Ctrl-C, in all that is started from here, too; some
# tests are about both.
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NAPARI_CONFIG", str(home / "napari.yaml"))
    monkeypatch.setenv("FLOWCUT_CACHE", str(home / "cache"))
    monkeypatch.delenv("FLOWCUT_WEIGHTS", raising=False)


def data_path(*parts: str) -> Path:
    """Return a path in FLOWCUT_TEST_DATA, or skip the test with the reason."""
    root = Path(os.environ.get("FLOWCUT_TEST_DATA", REPOSITORY.parent / "shared"))
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not there; set FLOWCUT_TEST_DATA to the folder of test data")
    return path


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def sample_clip() -> Path:
    return REPOSITORY / "sample_data"


def write_frames(folder: Path, count: int, size: tuple[int, int] = (48, 64), suffix: str = ".png") -> Path:
    """Write a clip in which a bright textured square moves over textured ground; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    height, width = size
    ground = random.integers(40, 120, (height, width, 3), dtype=np.uint8)
    side = height // 3
    patch = random.integers(150, 255, (side, side, 3), dtype=np.uint8)
    for index in range(count):
        frame = ground.copy()
        left = (2 + 2 * index) % (width - side)
        frame[side : 2 * side, left : left + side] = patch
        Image.fromarray(frame).save(folder / f"{index:05d}{suffix}")
    return folder
