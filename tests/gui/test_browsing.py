"""Clips of a dataset in a real window: pages turn, the panel is closed, the window is closed."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_masks import write_clip
from napari_window import Window, close, wait, wait_until

from flowcut_napari.core.dataset import ExportPlan, export_dataset
from flowcut_napari.core.parameters import CurationParameters
from flowcut_napari.core.sources import find_masks
from flowcut_napari.widgets.menu import show_panel

pytestmark = pytest.mark.gui
CLIP = ["dataset clip", "dataset masks"]


@pytest.fixture
def browsing(window: Window, tmp_path: Path) -> Window:
    """A window with the bundled clip, and a dataset whose first clip is in the canvas."""
    write_clip(tmp_path / "videos", tmp_path / "out", 4, "boat")
    export_dataset(find_masks([tmp_path / "out"]), tmp_path / "dataset", ExportPlan(CurationParameters()))
    window.open_sample()
    window.panel.pages.show_page(window.panel.dataset_tabs)
    tabs = window.panel.dataset_tabs
    tabs.setCurrentIndex([tabs.tabText(place) for place in range(tabs.count())].index("Browse"))
    window.panel.browse.open(str(tmp_path / "dataset"))
    wait_until(lambda: seen(window) == CLIP, "a clip")
    return window


def seen(window: Window) -> list[str]:
    return [layer.name for layer in window.viewer.layers if layer.visible]


def test_each_page_finds_the_canvas_as_it_left_it(browsing: Window) -> None:
    pages = browsing.panel.pages
    video = ["toys", "masks"]
    for page, layers in (
        (browsing.panel.tabs, video),
        (browsing.panel.dataset_tabs, CLIP),
        (browsing.panel.curate, video),  # there are no pairs to be shown yet
        (browsing.panel.dataset_tabs, CLIP),
        (browsing.panel.tabs, video),
    ):
        pages.show_page(page)
        wait(300)
        assert seen(browsing) == layers


def test_the_canvas_fits_two_wide_frames_into_a_high_window_one_below_another(browsing: Window) -> None:
    height, width = browsing.viewer.layers["dataset masks"].data.shape
    assert (height > 2 * 48, width) == (True, 64)


def test_a_panel_that_is_closed_takes_its_clip_along(browsing: Window) -> None:
    dock = browsing.panel.parent()
    browsing.viewer.window.remove_dock_widget(dock)
    wait_until(lambda: seen(browsing) == ["toys", "masks"], "the video")
    again = show_panel(browsing.viewer)
    assert again is not browsing.panel
    again.pages.show_page(again.dataset_tabs)
    again.dataset_tabs.setCurrentIndex(1)
    wait_until(lambda: seen(browsing) == CLIP, "the clip")


def test_a_window_may_be_closed_with_a_clip_in_it(browsing: Window) -> None:
    close(browsing.viewer)
    assert browsing.bench.is_shut
