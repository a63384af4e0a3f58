"""Pictures of every tab, kept in tests/output: no text is cut off, nothing has to be scrolled sideways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import data_path
from made_masks import write_clip
from napari_window import OUTPUT, Window, settle, wait, wait_until
from PIL import Image

pytestmark = pytest.mark.gui

SIZES = [(1280, 800), (1920, 1080)]


def tab_names(window: Window) -> list[str]:
    tabs = window.panel.tabs
    return [tabs.tabText(place) for place in range(tabs.count())]


def keep_picture(window: Window, name: str) -> np.ndarray:
    """Save what the whole window looks like, and return it."""
    wait(150)
    picture = window.viewer.screenshot(canvas_only=False, flash=False)
    OUTPUT.mkdir(exist_ok=True)
    Image.fromarray(picture).save(OUTPUT / f"{name}.png")
    return picture


def colours(picture: np.ndarray) -> int:
    return len(np.unique(picture[::3, ::3, :3].reshape(-1, 3), axis=0))


def cut_off(panel: Any) -> list[str]:
    """Return the texts of the panel that do not fit where they stand."""
    from qtpy.QtWidgets import QAbstractButton, QLabel

    found = []
    for widget in [*panel.findChildren(QLabel), *panel.findChildren(QAbstractButton)]:
        if not widget.isVisible() or not widget.text():
            continue
        if isinstance(widget, QLabel) and widget.wordWrap():
            if widget.heightForWidth(widget.width()) > widget.height():
                found.append(f"{widget.objectName()}: {widget.text()!r} needs more lines")
        elif widget.sizeHint().width() > widget.width():
            found.append(f"{widget.text()!r} needs {widget.sizeHint().width()} px, has {widget.width()}")
    return found


def sideways(tabs: Any) -> list[str]:
    """Return the tabs whose content is wider than the place it has."""
    from qtpy.QtWidgets import QScrollArea

    areas = [area for area in tabs.findChildren(QScrollArea) if area.isVisible()]
    return [
        f"{area.widget().objectName()}: {area.widget().minimumSizeHint().width()} in {area.viewport().width()} px"
        for area in areas
        if area.widget().minimumSizeHint().width() > area.viewport().width()
    ]


def look_through(window: Window, name: str, size: tuple[int, int]) -> None:
    """Keep a picture of every tab, and check each."""
    viewer = window.viewer
    faults = []
    for tab in tab_names(window):
        window.show_tab(tab)
        if tab == "Probe":
            window.click("probe")
            rows, cols = window.bench.grid
            window.panel.probe.controller.probe((rows // 2, cols // 2))
            wait_until(lambda: window.bench.probed is not None, "the probe")
            window.panel.probe.controller.compare((rows // 2, cols // 2 + 3))
        picture = keep_picture(window, f"{name}_{tab.lower()}_{size[0]}")
        assert picture.shape[:2] == (size[1], size[0])
        faults += [f"{tab}: {fault}" for fault in (*cut_off(window.panel), *sideways(window.panel.tabs))]
        if tab == "Probe":
            window.click("probe")
    assert colours(viewer.screenshot(canvas_only=True, flash=False)) > 1000
    # The video is what one came to see.
    canvas = viewer.window._qt_viewer.canvas.native
    assert canvas.width() > 0.28 * size[0]
    assert faults == []


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_tab_with_the_sample_can_be_read(window: Window, size: tuple[int, int]) -> None:
    window.viewer.window.resize(*size)
    window.open_sample()
    window.find("max_instances").setValue(3)
    settle(window.bench)
    look_through(window, "sample", size)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_tab_with_a_real_sequence_can_be_read(window: Window, size: tuple[int, int]) -> None:
    place = data_path("data", "davis16")
    window.viewer.window.resize(*size)
    window.panel.open(f"{place}::dog")
    wait_until(lambda: window.bench.video is not None, "the sequence")
    window.find("max_instances").setValue(3)
    settle(window.bench)
    look_through(window, "dog", size)


def test_the_panel_without_a_video_and_with_a_notice_can_be_read(window: Window) -> None:
    keep_picture(window, "empty_1280")
    assert cut_off(window.panel) == []
    window.open_sample()
    window.panel.tune.controller.choose_preset("flowcut")
    wait_until(window.find("notice").isVisible, "a notice")
    keep_picture(window, "missing_1280")
    assert cut_off(window.panel) == []


def test_every_tab_can_be_read_in_a_window_as_small_as_napari_opens_it(window: Window) -> None:
    window.viewer.window.resize(1089, 630)
    window.open_sample()
    settle(window.bench)
    look_through(window, "small", (1089, 630))


@pytest.mark.parametrize("size", [(1089, 630), *SIZES], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_pages_for_curating_and_for_datasets_can_be_read(
    window: Window, tmp_path: Path, size: tuple[int, int]
) -> None:
    write_clip(tmp_path, tmp_path / "masks", 12)
    window.viewer.window.resize(*size)
    window.panel.open(str(tmp_path / "masks" / "clip.masks.json"))
    desk = window.panel.curate.desk
    wait_until(lambda: desk.document is not None, "the document")
    window.click("page Curate")
    wait(300)
    desk.select_next()
    desk.select_next(add=True)
    window.click("reject_clip")
    desk.flush()
    wait(100)
    faults = []
    for page, tabs in (("Curate", window.panel.curate.tabs), ("Dataset", window.panel.dataset_tabs)):
        window.click(f"page {page}")
        for place in range(tabs.count()):
            tabs.setCurrentIndex(place)
            wait(300)
            tab = tabs.tabText(place)
            keep_picture(window, f"{tab.lower()}_{size[0]}")
            faults += [f"{tab}: {fault}" for fault in cut_off(window.panel)]
            faults += [f"{tab}: {fault}" for fault in sideways(tabs)]
    assert faults == []
