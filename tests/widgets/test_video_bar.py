from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from benches import open_bench
from conftest import write_frames
from napari.utils.notifications import Notification, notification_manager
from napari_window import wait, wait_until

from flowcut_napari.core import open_video
from flowcut_napari.core.video import Video, VideoEntry
from flowcut_napari.widgets.video_bar import VideoBar
from flowcut_napari.widgets.workbench import Workbench


@pytest.fixture
def bench() -> Iterator[Workbench]:
    with open_bench() as opened:
        opened.set_live(False)
        yield opened


@pytest.fixture
def bar(bench: Workbench) -> VideoBar:
    return VideoBar(bench)


def _entry(folder: Path, go_on: threading.Event) -> VideoEntry:
    """Something that takes as long to open as it is told to."""

    def open_slowly() -> Video:
        go_on.wait(10)
        return open_video(folder)

    return VideoEntry(folder.name, str(folder), open_slowly)


def _finding(entry: VideoEntry) -> Callable[[], tuple[VideoEntry, Video, list[VideoEntry]]]:
    return lambda: (entry, entry.open(), [entry])


def test_what_was_chosen_last_is_looked_at_however_long_what_was_before_takes(
    bench: Workbench, bar: VideoBar, tmp_path: Path
) -> None:
    go_on = threading.Event()
    bar._in_background(_finding(_entry(write_frames(tmp_path / "long", 2), go_on)))
    assert (bar.open_button.isEnabled(), bar.videos.isEnabled(), bar.text.text()) == (False, False, "opening …")
    bar.open(str(write_frames(tmp_path / "short", 2)))
    wait_until(lambda: bench.video is not None, "a video")
    assert (bar.open_button.isEnabled(), bar.videos.isEnabled()) == (True, True)
    go_on.set()
    wait(200)
    assert bench.video is not None
    assert bench.video.name == "short"


def test_a_video_that_was_dropped_meanwhile_stays(bench: Workbench, bar: VideoBar, tmp_path: Path) -> None:
    go_on = threading.Event()
    bar._in_background(_finding(_entry(write_frames(tmp_path / "long", 2), go_on)))
    bench.open(str(write_frames(tmp_path / "dropped", 2)))
    assert bar.open_button.isEnabled()
    assert "opening" not in bar.text.text()
    go_on.set()
    wait(200)
    assert bench.video is not None
    assert bench.video.name == "dropped"


def test_whatever_goes_wrong_is_said_and_another_can_be_opened(bar: VideoBar, tmp_path: Path) -> None:
    told: list[Notification] = []
    notification_manager.notification_ready.connect(told.append)
    broken = VideoEntry("broken", "nowhere", partial(int, "no number"))  # type: ignore[arg-type]
    bar._in_background(_finding(broken))
    wait_until(lambda: bool(told), "a notification")
    notification_manager.notification_ready.disconnect(told.append)
    assert told[0].message.startswith("the video cannot be opened (ValueError: invalid literal")
    assert bar.open_button.isEnabled()
    assert bar.text.text().startswith("no video")
