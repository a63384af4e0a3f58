"""Predicting in a real window: what is painted and how it is looked at; pages and processes stay apart."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from conftest import REPOSITORY
from made_trained import write_run
from napari_window import Window, close, layer_names, settle, started_here, wait, wait_until

from flowcut_napari.core import open_video
from flowcut_napari.core.prediction_files import read_prediction
from flowcut_napari.core.reference_masks import read_ground_truth
from flowcut_napari.widgets.menu import show_panel
from flowcut_napari.widgets.training_desk import training_of

pytestmark = pytest.mark.gui


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("trained") / "run", {10: 0.5})


@pytest.fixture
def predicting(window: Window, trained: Path, tmp_path: Path) -> Window:
    """A window with the bundled clip and a run that is watched, the Predict tab in sight."""
    window.open_sample()
    training_of(window.bench).watch(Path(shutil.copytree(trained, tmp_path / "run")))
    show_tab(window, "Predict")
    wait_until(lambda: tab_of(window).controller.checkpoints, "the checkpoints")
    return window


def at_work() -> set[int]:
    """Return the processes that predict."""
    found = set()
    for process in started_here():
        with contextlib.suppress(psutil.Error):  # gone meanwhile
            if "predict" in process.cmdline():
                found.add(process.pid)
    return found


def tab_of(window: Window) -> Any:
    return window.panel.training.predict


def show_tab(window: Window, word: str) -> None:
    window.panel.training.show_tab(word)
    wait(50)


def predict(window: Window) -> Path:
    """Predict on the clip, and return where the results are."""
    tab = tab_of(window)
    window.click("predict")
    wait_until(lambda: not tab.controller.progress.is_going_on, "the end", 120)
    assert tab.controller.progress.state == "done", tab.controller.progress
    wait_for_layers(window)
    wait_until(lambda: tab.desk.ious, "the IoU with the ground truth of the clip")
    assert not at_work()
    return Path(tab.controller.progress.out)


def wait_for_layers(window: Window) -> None:
    desk = tab_of(window).desk
    wait_until(lambda: desk.layers is not None and not desk.layers.missing(), "the layers")
    wait(100)


def drawn(window: Window, name: str) -> np.ndarray:
    """Return what is in the canvas of a layer of labels."""
    return np.array(window.viewer.layers[name]._slice.image.raw)


def seen(window: Window) -> set[str]:
    return {layer.name for layer in window.viewer.layers if layer.visible}


def test_the_clip_is_predicted_painted_and_compared(predicting: Window, tmp_path: Path) -> None:
    out = predict(predicting)
    assert out == tmp_path / "run" / "predictions" / "toys-step-10"
    tab, viewer = tab_of(predicting), predicting.viewer
    video = open_video(REPOSITORY / "sample_data" / "JPEGImages" / "toys")
    prediction = read_prediction(out, video)
    # The scores of a network that learnt nothing.
    scores = [track.score for track in prediction.tracks]
    low, high = scores[-1], scores[2]
    for threshold, frame in ((low, 0), (high, 0), (low, 17), (high, 17)):
        viewer.dims.set_current_step(0, frame)
        tab.desk.set_threshold(threshold)
        wait(100)
        assert np.array_equal(drawn(predicting, "predictions"), prediction.paint(frame, threshold))
        assert len(viewer.layers["predictions"].features) == prediction.count(threshold)
    assert seen(predicting) == {"toys", "predictions"}
    predicting.click("mode beside")
    wait_for_layers(predicting)
    assert {"predictions", "ground truth", "frame of ground truth", "captions"} <= seen(predicting)
    truth = read_ground_truth(REPOSITORY / "sample_data" / "Annotations" / "toys", video)
    assert np.array_equal(drawn(predicting, "ground truth"), truth.paint(17))
    picture = viewer.screenshot(canvas_only=True, flash=False)
    assert picture.std() > 10  # something is to be seen
    predicting.click("mode differences")
    wait_for_layers(predicting)
    found, wanted = prediction.paint(17, high) > 0, truth.paint(17) > 0
    assert np.array_equal(drawn(predicting, "differences") == 1, found & wanted)
    assert np.array_equal(drawn(predicting, "differences") == 2, wanted & ~found)
    assert np.array_equal(drawn(predicting, "differences") == 3, found & ~wanted)
    predicting.click("next_worst")
    wait(100)
    worst = min(tab.desk.ious, key=lambda frame: tab.desk.ious[frame])
    assert predicting.bench.frame in {frame for frame, iou in tab.desk.ious.items() if iou >= tab.desk.ious[worst]}
    predicting.click("mode blend")
    wait(100)
    assert seen(predicting) == {"toys", "predictions"}


def test_each_page_finds_the_canvas_as_it_left_it(predicting: Window) -> None:
    predict(predicting)
    predicting.click("mode beside")
    wait_for_layers(predicting)
    pages, panel = predicting.panel.pages, predicting.panel
    before = set(layer_names(predicting.viewer))
    for page in (panel.tabs, panel.curate, panel.dataset_tabs, panel.tabs):
        pages.show_page(page)
        wait(300)
        assert seen(predicting) == {"toys", "masks"}
        assert not {"predictions", "captions", "ground truth"} & set(layer_names(predicting.viewer))
        pages.show_page(panel.training)
        wait_for_layers(predicting)
        assert {"predictions", "ground truth", "captions"} <= seen(predicting)
        assert "masks" not in seen(predicting)
        assert set(layer_names(predicting.viewer)) == before
    show_tab(predicting, "Watch")
    wait(300)
    assert seen(predicting) == {"toys", "masks"}


def test_cancel_leaves_no_process_and_nothing_written(predicting: Window, tmp_path: Path) -> None:
    tab = tab_of(predicting)
    predicting.click("predict")
    wait_until(lambda: tab.controller.progress.stage in ("loading", "encoding"), "the process at work", 60)
    assert at_work()
    predicting.click("cancel_predict")
    wait_until(lambda: tab.controller.progress.state == "cancelled", "the end", 20)
    assert not at_work()
    folder = tmp_path / "run" / "predictions"
    assert not folder.exists() or not list(folder.iterdir())
    assert seen(predicting) == {"toys", "masks"}
    predict(predicting)


def test_a_window_that_closes_while_it_predicts_ends_the_process(predicting: Window, tmp_path: Path) -> None:
    predicting.click("predict")
    wait_until(lambda: tab_of(predicting).controller.progress.stage == "loading", "the process at work", 60)
    close(predicting.viewer)
    wait_until(lambda: not started_here(), "no process", 8)
    folder = tmp_path / "run" / "predictions"

    def is_whole_or_nothing() -> bool:
        # A machine under load sees the stage so late that all is written when the window closes.
        return not folder.exists() or all((left / "prediction.json").is_file() for left in folder.iterdir())

    wait_until(is_whole_or_nothing, "nothing half-written", 20)


def test_a_panel_that_is_closed_takes_its_layers_along_and_the_next_one_shows_them(predicting: Window) -> None:
    predict(predicting)
    predicting.viewer.window.remove_dock_widget(predicting.panel.parent())
    wait_until(lambda: seen(predicting) == {"toys", "masks"}, "the video")
    again = show_panel(predicting.viewer)
    again.training.show_tab("Predict")
    wait_until(lambda: "predictions" in seen(predicting), "the predictions")


def test_masks_are_made_again_after_predicting(predicting: Window) -> None:
    predict(predicting)
    predicting.panel.pages.show_page(predicting.panel.tabs)
    predicting.viewer.dims.set_current_step(0, 9)
    settle(predicting.bench)
    assert seen(predicting) == {"toys", "masks"}


def test_the_window_goes_on_living(predicting: Window, record_property: Callable[[str, object], None]) -> None:
    """The longest stall of the event loop while predicting, and the time of a step, are noted."""
    predict(predicting)
    steps = []
    for frame in range(1, 24):
        predicting.viewer.dims.set_current_step(0, frame)
        wait(1)
        data = predicting.viewer.layers["predictions"].data
        data._kept.clear()
        began = time.perf_counter()
        data.frame(frame)
        steps.append(time.perf_counter() - began)
    record_property("milliseconds a frame", 1e3 * float(np.median(steps)))
    assert np.median(steps) < 0.05
