"""Evaluating in a real window: a click leads to the worst frame, and what is drawn there can be seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_results import write_indexed
from napari_window import Window, close, wait, wait_until
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from flowcut_napari.core.preview import COLOURS
from flowcut_napari.viewer.truth_layer import NAME
from flowcut_napari.widgets.evaluate.widget import EvaluateTab

pytestmark = pytest.mark.gui
WORST = 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two grey sequences; of ``cat`` the third frame is found worst."""
    labels = np.zeros((4, 90, 120), dtype=np.uint8)
    labels[:, 20:70, 30:90] = 1
    found = labels.copy()
    found[WORST, :, 40:] = 0
    for name, predicted in (("cat", found), ("dog", labels)):
        write_indexed(tmp_path / "DAVIS" / "Annotations_unsupervised" / "480p" / name, labels)
        write_indexed(tmp_path / "found" / name, predicted)
        frames = tmp_path / "DAVIS" / "JPEGImages" / "480p" / name
        frames.mkdir(parents=True)
        for place in range(len(labels)):
            Image.fromarray(np.full((90, 120, 3), 40 * place, np.uint8)).save(frames / f"{place:05d}.jpg")
    return tmp_path


@pytest.fixture
def tab(window: Window, root: Path) -> Any:
    window.bench.set_live(False)
    tab = EvaluateTab(window.bench)
    window.viewer.window.add_dock_widget(tab, name="Evaluate", area="right", tabify=True)
    controller = tab.controller
    for name, value in (("kind", "davis"), ("ground_truth", root / "DAVIS"), ("predictions", root / "found")):
        controller.edit(name, str(value))
    wait(100)
    return tab


def _evaluate(tab: Any) -> None:
    QTest.mouseClick(tab.start, Qt.MouseButton.LeftButton)
    wait_until(lambda: not tab.controller.progress.is_going_on, "the evaluation", 60)
    assert tab.controller.progress.state == "done", tab.text.text()
    wait(100)


def _click(tab: Any, row: int) -> None:
    place = tab.videos.visualRect(tab.videos.model().index(row, 0)).center()
    QTest.mouseClick(tab.videos.viewport(), Qt.MouseButton.LeftButton, pos=place)


def test_a_click_shows_the_worst_frame_with_the_ground_truth_as_an_outline(window: Window, tab: Any) -> None:
    _evaluate(tab)
    _click(tab, 0)
    wait_until(lambda: NAME in window.viewer.layers, "the ground truth")
    assert (window.bench.video.name, window.bench.frame) == ("cat", WORST)
    wait(300)
    canvas = window.viewer.screenshot(flash=False)[..., :3].astype(int)
    near = np.abs(canvas - np.array(COLOURS[0])).sum(axis=-1) < 60
    grey = np.abs(canvas - 40 * WORST).sum(axis=-1) < 12
    # An outline, not an area: the frame is seen within it.
    assert 100 < near.sum() < 0.5 * grey.sum()
    rows, columns = np.nonzero(near)
    middle = grey[(rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2]
    assert middle
    _click(tab, 1)
    wait_until(lambda: window.bench.video.name == "dog", "the other sequence")
    wait_until(lambda: NAME in window.viewer.layers, "its ground truth")
    assert [layer.name for layer in window.viewer.layers if layer.visible] == ["dog", NAME]


def test_the_tab_fits_the_panel_and_every_number_can_be_read_in_either_theme(window: Window, tab: Any) -> None:
    tab.controller.edit("missing_as_empty", True)
    _evaluate(tab)
    tab.resize(tab.minimumSizeHint().width(), tab.height())
    assert tab.minimumSizeHint().width() <= 376
    for theme, is_dark in (("light", False), ("dark", True)):
        window.viewer.theme = theme
        wait(300)
        ours, theirs = (tab.numbers.item(row, 1) for row in (0, 2))
        faint = theirs.foreground().color()
        assert (faint.lightness() > 128) is is_dark
        assert faint.alpha() < 255
        assert ours.font().bold() and not theirs.font().bold()


def test_a_window_that_is_closed_during_an_evaluation_leaves_nothing(window: Window, tab: Any) -> None:
    QTest.mouseClick(tab.start, Qt.MouseButton.LeftButton)
    wait_until(lambda: tab.controller.pid is not None, "a process")
    close(window.viewer)
    assert tab.controller.pid is None


def test_a_video_can_be_opened_when_the_panel_was_closed_meanwhile(window: Window, tab: Any) -> None:
    _evaluate(tab)
    window.viewer.window.remove_dock_widget(window.panel.parent())
    wait(200)
    _click(tab, 0)
    wait_until(lambda: NAME in window.viewer.layers, "the ground truth")
    assert window.viewer.dims.current_step[0] == WORST
