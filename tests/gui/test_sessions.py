from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from made_masks import write_clip
from napari_window import Window, wait_until

from flowcut_napari.core import CutParameters, load_masks
from flowcut_napari.viewer.session import Session, SessionVideo, read_session, write_session
from flowcut_napari.viewer.window_session import windows_folder
from flowcut_napari.widgets.curate.desk import curation_of

pytestmark = pytest.mark.gui


@pytest.fixture
def masks_path(tmp_path: Path) -> Path:
    write_clip(tmp_path / "videos", tmp_path / "out")
    return tmp_path / "out" / "clip.masks.json"


@pytest.fixture
def session(tmp_path: Path, masks_path: Path) -> Path:
    item = SessionVideo(video=load_masks(masks_path).video, masks=str(masks_path), frame=4)
    path = tmp_path / "work.flowcut.json"
    write_session(Session(videos=(item,), current=0, parameters=CutParameters.preset("handmade"), page="Curate"), path)
    return path


def is_open(window: Window, path: Path) -> None:
    wait_until(lambda: curation_of(window.bench).path == path and window.bench.frame == 4, "what was open", 20)


def test_a_session_that_is_dropped_on_the_window_opens_all_of_it(
    window: Window, session: Path, masks_path: Path
) -> None:
    window.viewer.open(str(session), plugin="flowcut-napari")
    is_open(window, masks_path)
    wait_until(lambda: window.panel.pages.current is window.panel.curate, "the page that was seen")
    assert window.said == []


def test_masks_that_are_dropped_ask_where_their_video_is(window: Window, masks_path: Path) -> None:
    shutil.move(masks_path.parent.parent / "videos" / "clip", masks_path.parent / "away")
    window.viewer.open(str(masks_path), plugin="flowcut-napari")
    bar = window.find("offers")
    wait_until(bar.isVisible, "the question")
    assert "The video clip is not at" in bar.text.text() and "Where is it now?" in bar.text.text()
    assert window.said == []
    window.click("leave_video")
    assert not bar.isVisible() and window.bench.video is None


def test_a_window_that_is_killed_is_offered_again_in_the_next(
    windows: Callable[[], Window], session: Path, masks_path: Path
) -> None:
    def kept() -> list[Path]:
        return list(windows_folder().glob("*.json"))

    with subprocess.Popen([sys.executable, "-m", "flowcut_napari", "gui", str(session)]) as process:
        wait_until(lambda: kept() and read_session(kept()[0]).videos[0].frame == 4, "the session to be kept", 60)
        process.kill()
    window = windows()
    bar = window.find("offers")
    wait_until(bar.isVisible, "the offer")
    assert "FlowCut ended unexpectedly" in bar.text.text() and "with clip open" in bar.text.text()
    window.click("restore_window")
    is_open(window, masks_path)
    assert not bar.isVisible()
