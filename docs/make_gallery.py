"""Take the pictures of docs/workbench.md in a real window: ``make gallery``.

They show the bundled clip, at the size of a laptop's screen; needs a display (tests/gui/with-display.sh gives one).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

IMAGES = Path(__file__).parent / "images" / "workbench"
SIZE = (1280, 800)
FRAME = 6


def main() -> None:
    """Write docs/images/workbench/*.jpg."""
    import napari
    from qtpy.QtTest import QTest

    def until(condition: Callable[[], object], seconds: float = 60) -> None:
        for _ in range(int(seconds * 20)):
            if condition():
                return
            QTest.qWait(50)
        raise TimeoutError("the window did not get there")

    def take(name: str) -> None:
        QTest.qWait(400)
        picture = Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)).convert("RGB")
        picture.save(IMAGES / f"{name}.jpg", quality=88, optimize=True)

    IMAGES.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    _, panel = viewer.window.add_plugin_dock_widget("flowcut-napari", "FlowCut")
    bench, tabs = panel.bench, panel.tabs
    bench.set_parameters(
        bench.parameters.preset("handmade").with_changes(alpha=0.8, gap=4, max_instances=2, max_eigenvalue=1.0)
    )
    panel.video_bar.open_sample()
    until(lambda: bench.video)
    viewer.dims.set_current_step(0, FRAME)
    until(lambda: bench.results.is_complete(FRAME) and bench.results.flow_picture(FRAME) is not None)
    until(lambda: bench.layers["seeds"])
    take("tune")
    panel.tune.controller.edit("max_instances", 3)  # one too many, which the story tells
    until(lambda: bench.results.is_complete(FRAME) and bench.layers["cut 3"])
    tabs.setCurrentWidget(area_of(panel.story))
    panel.view_bar.show_role("eigenvector 1")
    take("story")
    panel.tune.controller.edit("max_instances", 2)
    until(lambda: bench.results.is_complete(FRAME))
    panel.view_bar.show_role("masks")
    tabs.setCurrentWidget(area_of(panel.probe))
    panel.probe.button.setChecked(True)
    panel.probe.controller.probe((9, 14))
    until(lambda: panel.probe.controller.row)
    panel.probe.controller.compare((14, 18))
    take("probe")
    panel.probe.button.setChecked(False)
    take_sweep(panel, take, until)
    tabs.setCurrentWidget(area_of(panel.run))
    with tempfile.TemporaryDirectory() as folder:
        panel.run.out.setText(folder)
        panel.run.run()
        until(lambda: panel.run.controller.progress.done >= 10)
        panel.run.out.setText("~/flowcut-masks")  # where it goes is nobody's business but the reader's own
        take("run")
        until(lambda: not panel.run.controller.progress.is_going_on)
        take_curating(panel, take, until)
        take_dataset(panel, Path(folder), take, until)
        take_training(panel, Path(folder), take, until)
        panel.pages.show_page(tabs)
    tabs.setCurrentWidget(area_of(panel.tune))
    panel.tune.controller.choose_preset("flowcut")
    until(lambda: bench.trouble)
    take("missing_weights")
    viewer.close()


def take_sweep(panel: Any, take: Callable[[str], None], until: Callable[..., None]) -> None:
    """Take the map of a sweep over the bundled clip."""
    sweep = panel.sweep
    panel.tabs.setCurrentWidget(area_of(sweep))
    with tempfile.TemporaryDirectory() as folder:
        sweep.out.setText(folder)
        sweep.start.click()
        until(lambda: sweep.controller.progress.state == "done", 300)
        # Where it goes is nobody's business but the reader's own.
        sweep.out.setText("~/flowcut-sweep")
        sweep.truth.setText("~/toys")
        take("sweep")


def take_curating(panel: Any, take: Callable[[str], None], until: Callable[[Callable[[], object]], None]) -> None:
    """Take the match view with a mask that was rejected, a pair with a verdict, and the table of keys."""
    from flowcut_napari.widgets.curate.actions import BY_NAME

    desk = panel.curate.desk
    until(lambda: desk.document)
    panel.pages.show_page(panel.curate)
    until(lambda: desk.layers and desk.layers.is_shown)
    for frame, verdict in ((2, "accept_clip"), (3, "accept_clip"), (16, "reject_clip")):
        desk.go(frame, 1)
        BY_NAME[verdict].act(desk)
    desk.go(17, 2)
    desk.select_next()
    BY_NAME["delete_mask"].act(desk)
    desk.go(FRAME, 4)
    desk.select(None)
    desk.select_next()
    desk.select_next(add=True)
    panel.show_remark("")
    take("curate")
    desk.go(17, 2)
    desk.select(desk.keys_in_sight()[0])
    take("left_out")
    panel.curate.tabs.setCurrentIndex(1)
    take("keys")
    panel.curate.tabs.setCurrentIndex(0)


def take_dataset(
    panel: Any, folder: Path, take: Callable[[str], None], until: Callable[[Callable[[], object]], None]
) -> None:
    """Take the Export tab with its counts and a dataset that was made, and a clip of it in the Browse tab."""
    from qtpy.QtTest import QTest

    export, browse = panel.export, panel.browse
    panel.pages.show_page(panel.dataset_tabs)
    export.controller.edit("out", str(folder / "dataset"))
    until(lambda: export.controller.counting.counts and not export.controller.counting.is_counting)
    export.export()
    until(lambda: export.controller.progress.state == "done")
    QTest.qWait(500)  # until the place was looked at once more
    # Where it goes is nobody's business but the reader's own.
    export.out.setText("~/dataset")
    export.text.setText(export.text.text().replace(str(folder), "~"))
    take("export")
    export.browse_wanted.emit(folder / "dataset")
    until(lambda: browse.desk.dataset is not None)
    browse.next_clip()
    until(lambda: "dataset clip" in [layer.name for layer in panel.bench.viewer.layers])
    browse.path.setEditText("~/dataset")
    take("browse")


def take_training(panel: Any, folder: Path, take: Callable[[str], None], until: Callable[..., None]) -> None:
    """Take a run before it starts, at work, done and failed, the list of runs, predictions and their evaluation."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QLabel

    from flowcut_napari.core.sample import sample_folder

    training = panel.training
    train, watch, predict, evaluate = training.train, training.watch, training.predict, training.evaluate
    controller = train.controller
    panel.pages.show_page(training)
    until(lambda: controller.about)
    for name, value in (
        ("configuration", "tiny"),
        ("dataset", str(folder / "dataset")),
        ("run", str(folder / "runs" / "toys-1")),
        ("device", "cpu"),
    ):
        controller.edit(name, value)
    for name, text in (
        ("run.evaluate", str(folder / "dataset")),
        ("run.evaluate_clips", "6"),
        ("run.log_every", "1"),
        ("optimizer.steps", "120"),
    ):
        controller.change(name, text)
    controller.check(estimate=True)
    until(lambda: controller.findings.measured)
    for label in (train.dataset.line, train.run.line, train.evaluate.line, train.command):
        label.setText(label.text().replace(str(folder), "~"))
    take("train")
    train.start()
    until(lambda: watch.controller.state.step >= 45, 600)
    take("watch")
    until(lambda: watch.controller.state.state == "done" and not controller.launcher.at_work, 900)
    watch.parentWidget().parentWidget().ensureWidgetVisible(watch.strip)
    take("learning")
    # A run that is killed says so.
    controller.edit("run", str(folder / "runs" / "toys-2"))
    controller.change("optimizer.lr", "2e-3")
    train.start()
    until(lambda: watch.controller.state.step >= 20, 600)
    controller.launcher.kill(folder / "runs" / "toys-2")
    until(lambda: watch.controller.state.state == "failed" and not controller.launcher.at_work)
    watch.parentWidget().parentWidget().verticalScrollBar().setValue(0)
    take("failed")
    training.show_tab("Runs")
    until(lambda: training.runs.table.model().rowCount() == 2)
    controller.desk.watch(folder / "runs" / "toys-1")
    take("runs")
    controller.desk.compare([folder / "runs" / "toys-2"])
    training.show_tab("Watch")
    until(lambda: watch.controller.compared)
    watch.parentWidget().parentWidget().verticalScrollBar().setValue(0)
    take("compare")
    training.show_tab("Predict")
    predict.controller.predict()
    until(lambda: predict.desk.prediction is not None and not predict.controller.progress.is_going_on, 300)
    out = predict.controller.progress.out
    predict.desk.set_threshold(0.3)

    def take_predict(name: str) -> None:
        QTest.qWait(1000)
        predict.summary.setText(predict.summary.text().replace(str(folder), "~"))
        for label in predict.findChildren(QLabel):
            label.setText(label.text().replace(str(folder), "~"))
        take(name)

    take_predict("predict")
    predict.desk.set_mode("beside")
    take_predict("beside")
    predict.desk.set_mode("differences")
    take_predict("differences")
    training.show_tab("Evaluate")
    for name, value in (("kind", "ytvis"), ("ground_truth", str(sample_folder() / "instances.json"))):
        evaluate.controller.edit(name, value)
    evaluate.take_predictions(out)
    evaluate.evaluate()
    until(lambda: evaluate.controller.progress.state == "done", 120)
    # The click that opens a video at its worst frame.
    place = evaluate.videos.visualRect(evaluate.videos.model().index(0, 0)).center()
    QTest.mouseClick(evaluate.videos.viewport(), Qt.MouseButton.LeftButton, pos=place)
    until(lambda: "ground truth" in [layer.name for layer in panel.bench.viewer.layers])
    QTest.qWait(1000)
    for line in (evaluate.ground_truth, evaluate.predictions):
        line.setText(line.text().replace(str(folder), "~").replace(str(sample_folder()), "~/toys"))
    take("evaluate")


def area_of(tab: object) -> object:
    """Return the scroll area that a tab lies in."""
    return tab.parentWidget().parentWidget()  # type: ignore[attr-defined]  # a widget of Qt


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(HOME=home, NAPARI_CONFIG=f"{home}/napari.yaml", FLOWCUT_CACHE=f"{home}/cache")
        os.environ.pop("FLOWCUT_WEIGHTS", None)
        main()
