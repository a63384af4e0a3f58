"""What needs a canvas to go wrong: tools of the brush, frames without masks, and panels that come and go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_masks import write_clip
from napari_window import Window, wait, wait_until
from test_curating import canvas, click, drag, middle, open_masks, point, press

from flowcut_napari.core import load_masks, save_masks
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.widgets.curate.actions import ACTIONS

pytestmark = pytest.mark.gui


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Masks of a moving square and a still one on each of eight frames."""
    write_clip(tmp_path / "videos", tmp_path / "masks", 8)
    return tmp_path / "masks" / "clip.masks.json"


@pytest.fixture
def gappy(path: Path) -> Path:
    """The same on frames 0 and 5 only."""
    masks = load_masks(path)
    save_masks(replace(masks, frames=masks.frames[::5]), path)
    return path


def shown(window: Window) -> np.ndarray:
    return np.array(window.viewer.layers["objects"]._slice.image.raw)


def picture(window: Window) -> np.ndarray:
    wait(120)
    return np.asarray(window.viewer.screenshot(flash=False))


def reopen(window: Window) -> None:
    """Close the panel by its X, and open it again from the menu."""
    from qtpy.QtCore import QCoreApplication, QEvent
    from qtpy.QtWidgets import QDockWidget

    from flowcut_napari.widgets.menu import show_panel

    dock = window.panel
    while not isinstance(dock, QDockWidget):
        dock = dock.parent()
    dock.titleBarWidget().close_button.click()
    for _ in range(5):
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        wait(20)
    window.panel = show_panel(window.viewer)
    wait(50)


def test_every_key_on_every_frame_of_a_video_with_few_masks_leaves_the_window_alive(
    window: Window, gappy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qtpy.QtWidgets import QInputDialog

    monkeypatch.setattr(QInputDialog, "getInt", lambda *_: (9, True))
    desk = open_masks(window, gappy)
    monkeypatch.setattr(window.bench.live, "refine", lambda *_: 0)
    start = desk.masks
    for frame in (3, 5, 7, 0):
        for action in ACTIONS:
            window.viewer.dims.set_current_step(0, frame)
            press(window, "Down")
            press(window, action.key)
            press(window, "6")
    assert desk.document.history.count > 5
    assert desk.flush() and load_masks(gappy) == desk.masks
    while desk.document.history.count:
        press(window, "Ctrl+Z")
    assert desk.masks == start


def test_nothing_stays_on_the_canvas_of_what_is_painted_on_a_frame_without_masks(window: Window, gappy: Path) -> None:
    desk = open_masks(window, gappy)
    click(window, *middle(desk, (0, 1)))
    window.viewer.dims.set_current_step(0, 3)
    before = picture(window)
    said: list[str] = []
    window.bench.remarked.connect(said.append)
    press(window, "2")
    drag(window, (10, 10), (30, 40))
    press(window, "6")
    assert said and not shown(window).any() and desk.document.history.count == 0
    # The brush's own circle follows the mouse.
    window.viewer.layers["objects"].mode = "pan_zoom"
    wait_until(lambda: np.array_equal(picture(window)[20:, :-20], before[20:, :-20]), "the canvas as it was", 10)


def _polygon(window: Window, desk: Any) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    window.viewer.layers["objects"].mode = "polygon"
    for place in ((2, 30), (2, 60), (12, 60), (12, 30)):
        click(window, *place)
    QTest.mouseDClick(canvas(window), Qt.MouseButton.LeftButton, pos=point(window, 7, 31))
    wait(50)


def _fill(window: Window, desk: Any) -> None:
    press(window, "4")
    click(window, 1, 1)


def _erase(window: Window, desk: Any) -> None:
    press(window, "1")
    y, x = middle(desk, (0, 1))
    drag(window, (y, x), (y + 4, x))


def _brush_through_time(window: Window, desk: Any) -> None:
    window.viewer.layers["objects"].n_edit_dimensions = 3
    press(window, "2")
    drag(window, (6, 20), (6, 30))


@pytest.mark.parametrize("use", [_polygon, _fill, _erase, _brush_through_time])
def test_what_a_tool_leaves_is_saved_seen_and_undone(
    window: Window, path: Path, use: Callable[[Window, Any], None]
) -> None:
    desk = open_masks(window, path)
    start, before = desk.masks, shown(window)
    click(window, *middle(desk, (0, 1)))
    use(window, desk)
    press(window, "6")
    assert desk.document.history.count == 1
    after = shown(window)
    assert (after != before).any()
    _equal(after, desk.masks, desk)
    assert desk.flush() and load_masks(path) == desk.masks
    press(window, "Ctrl+Z")
    assert desk.masks == start
    np.testing.assert_array_equal(shown(window), before)


def _equal(labels: np.ndarray, masks: VideoMasks, desk: Any) -> None:
    made = np.zeros_like(labels)
    for _, identity, mask in desk.view.objects(0):
        made[mask] = identity
    np.testing.assert_array_equal(labels, made)


def test_a_panel_that_is_opened_again_has_the_history_and_one_press_is_one_action(window: Window, path: Path) -> None:
    desk = open_masks(window, path)
    press(window, "R")
    for count in (2, 3, 4):
        reopen(window)
        assert window.panel.curate.desk is desk
        press(window, "F3")
        wait_until(lambda: "objects" in window.viewer.layers, "the match view")
        window.viewer.dims.set_current_step(0, count)
        press(window, "R")
        assert desk.document.history.count == count
    for count in (3, 2, 1, 0):
        press(window, "Ctrl+Z")
        assert desk.document.history.count == count


def test_two_windows_share_no_keys_and_no_choice(windows: Callable[[], Window], path: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "videos", tmp_path / "masks", 5, "other")
    first, second = windows(), windows()
    one, two = open_masks(first, path), open_masks(second, tmp_path / "masks" / "other.masks.json")
    press(first, "A")
    press(first, "Down")
    assert (one.document.history.count, two.document.history.count) == (1, 0)
    press(second, "R")
    press(second, "G")
    assert (one.document.history.count, two.document.history.count) == (1, 1)
    assert one.view.gap == 1 and one.selection and not two.selection
