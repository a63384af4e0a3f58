"""The Predict tab with a real process and a tiny network: what goes wrong first, then what it is for."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benches import application, open_bench
from conftest import write_frames
from made_masks import of_masks
from made_predictions import SIZE, box, change_result, write_prediction
from made_results import write_indexed
from made_trained import write_run
from napari_window import started_here, wait, wait_until
from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QWidget

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.run_checkpoints import list_checkpoints
from flowcut_napari.viewer.preferences import Preferences
from flowcut_napari.widgets.predict.controller import PredictController
from flowcut_napari.widgets.predict.desk import next_worst
from flowcut_napari.widgets.predict.errand import Errand
from flowcut_napari.widgets.predict.job import PredictJob, checkpoint_of, suggested_out
from flowcut_napari.widgets.predict.progress import PredictProgress
from flowcut_napari.widgets.predict.widget import PredictTab
from flowcut_napari.widgets.training_desk import training_of
from flowcut_napari.widgets.workbench import Workbench

# As the command says it on a machine that is too small for the model.
OUT_OF_MEMORY = "error: out of memory with 2 frames of 384x640; give a smaller --short-side"
FILES = ["prediction.json", "results.json", "videos.json"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("trained") / "run", {10: 0.5, 20: 0.9, 30: None})


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_frames(tmp_path / "videos" / "clip", 6, SIZE)


def interpreter(folder: Path, before: str = "", command: str = "") -> str:
    """Write a program that stands for the Python of the preferences: it does something first, or something else."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\n{before}\n{command or f"exec {shlex.quote(sys.executable)}"} "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.fixture
def preferences() -> Preferences:
    return Preferences(autosave_seconds=0, device="cpu")


@pytest.fixture
def bench(clip: Path, run: Path, preferences: Preferences) -> Iterator[Workbench]:
    with open_bench(preferences=preferences) as opened:
        opened.set_live(False)
        opened.open(str(clip))
        training_of(opened).watch(run)
        yield opened


@pytest.fixture
def tab(bench: Workbench) -> Iterator[PredictTab]:
    made = PredictTab(bench)
    made.resize(390, 700)
    made.show()
    wait(20)
    yield made
    made.hide()
    made.deleteLater()
    wait(20)


@pytest.fixture
def controller(tab: PredictTab) -> PredictController:
    return tab.controller


def find(tab: PredictTab, name: str) -> Any:
    found = tab.findChild(QWidget, name)
    assert found is not None, name
    return found


def click(tab: PredictTab, name: str) -> None:
    button = find(tab, name)
    assert button.isEnabled(), f"{name} cannot be clicked"
    button.click()


def finished(tab: PredictTab) -> PredictProgress:
    """Wait for a final state, and return it."""
    wait_until(lambda: not tab.controller.progress.is_going_on, "a final state", 60)
    wait(20)
    assert not started_here()
    assert find(tab, "predict").isEnabled()
    assert not find(tab, "cancel_predict").isEnabled()
    assert not find(tab, "predict_progress").isVisible()
    return tab.controller.progress


def predicted(tab: PredictTab) -> None:
    click(tab, "predict")
    progress = finished(tab)
    assert progress.state == "done", progress
    wait_until(lambda: tab.desk.layers is not None and not tab.desk.layers.missing(), "the layers")


def failure(tab: PredictTab) -> str:
    """Return why it failed: one line, which is in sight."""
    progress = finished(tab)
    assert progress.state == "failed", progress
    shown = find(tab, "predict_text")
    assert shown.isVisible()
    assert shown.text().startswith("failed: ")
    assert "\n" not in shown.text() and shown.text().isprintable()
    return str(shown.text().removeprefix("failed: "))


def left_behind(run: Path) -> list[str]:
    """Return what there is of predictions of a run, half-written or whole."""
    folder = run / "predictions"
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def names(bench: Workbench) -> set[str]:
    return {layer.name for layer in bench.viewer.layers}


# What goes wrong.


def test_a_run_without_a_checkpoint_says_so_and_another_can_be_chosen(
    tab: PredictTab, tmp_path: Path, run: Path
) -> None:
    (tmp_path / "fresh").mkdir()
    tab.controller.edit("model", str(tmp_path / "fresh"))
    wait_until(lambda: "no checkpoint yet" in find(tab, "model_problem").text(), "why there is none")
    click(tab, "predict")
    assert "no checkpoint yet" in failure(tab)
    tab.controller.edit("model", "")
    predicted(tab)


def test_a_checkpoint_that_is_removed_meanwhile_is_named(tab: PredictTab, run: Path) -> None:
    wait_until(lambda: tab.controller.checkpoints, "the checkpoints")
    tab.controller.edit("checkpoint", "10")
    shutil.rmtree(run / "checkpoints" / "step-00000010")
    click(tab, "predict")
    assert failure(tab) == "there is no checkpoint of step 10 any more; there are 20, 30"
    tab.controller.list_again()
    wait_until(lambda: len(tab.controller.checkpoints) == 2, "the list")
    assert find(tab, "predict_checkpoint").currentText() == "step 10: not there any more"
    assert left_behind(run) == []


def test_a_run_that_goes_while_python_starts_is_one_line(tab: PredictTab, run: Path) -> None:
    click(tab, "predict")
    run.rename(run.with_name("moved"))
    assert str(run) in failure(tab)


def test_damaged_weights_are_one_line(tab: PredictTab, run: Path) -> None:
    model = run / "checkpoints" / "step-00000020" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-100])
    click(tab, "predict")
    assert str(model) in failure(tab)
    assert left_behind(run) == []


@pytest.mark.parametrize(
    ("frames", "says"),
    [("x", "frames x"), ("9::", "frame"), ("1:2:0", "frames 1:2:0"), ("3:3", "frame"), (":" * 9, "frames")],
)
def test_frames_that_cannot_be_are_one_line(tab: PredictTab, frames: str, says: str) -> None:
    line = find(tab, "predict_frames")
    line.setFocus()
    line.setText(frames)
    line.editingFinished.emit()
    click(tab, "predict")
    assert says in failure(tab)
    assert "--frames" not in tab.controller.progress.text


def test_a_frame_that_cannot_be_read_is_named_and_nothing_stays(tab: PredictTab, clip: Path, run: Path) -> None:
    (clip / "00003.png").write_bytes((clip / "00003.png").read_bytes()[:100])
    click(tab, "predict")
    assert "00003.png" in failure(tab)
    assert left_behind(run) == []


def test_a_video_that_goes_meanwhile_is_one_line(tab: PredictTab, clip: Path, run: Path) -> None:
    clip.rename(clip.with_name("moved"))
    click(tab, "predict")
    assert str(clip) in failure(tab)
    assert left_behind(run) == []


def test_being_killed_is_told_and_nothing_half_written_stays(tab: PredictTab, run: Path) -> None:
    click(tab, "predict")
    wait_until(lambda: tab.controller.progress.stage == "loading", "the process at work", 60)
    for process in started_here():
        process.send_signal(signal.SIGKILL)
    assert "SIGKILL, as a system does that runs out of memory" in failure(tab)
    assert left_behind(run) == []
    predicted(tab)
    assert left_behind(run) == ["clip-step-20"]


def test_being_killed_while_it_writes_leaves_the_earlier_prediction_whole(tab: PredictTab, run: Path) -> None:
    predicted(tab)
    out = run / "predictions" / "clip-step-20"
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    # As the command leaves it that is killed in the middle of writing.
    part = out.parent / f".{out.name}.part"
    part.mkdir()
    (part / "results.json").write_text('[{"video_id":')
    (out.parent / f".{out.name}.lock").touch()
    click(tab, "predict")
    wait_until(lambda: tab.controller.progress.stage == "loading", "the process at work", 60)
    for process in started_here():
        process.send_signal(signal.SIGKILL)
    failure(tab)
    assert left_behind(run) == ["clip-step-20"]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert tab.desk.prediction is not None  # what was seen is still seen


class TestInterpreters:
    """Those of the preferences that are not what they should be."""

    @pytest.fixture
    def preferences(self, request: pytest.FixtureRequest, tmp_path: Path) -> Preferences:
        makes: Callable[[Path], str] = request.param
        return Preferences(autosave_seconds=0, device="cpu", interpreter=makes(tmp_path))

    @pytest.mark.parametrize("preferences", [lambda folder: str(folder / "no" / "python")], indirect=True)
    def test_one_that_is_not_there(self, tab: PredictTab) -> None:
        click(tab, "predict")
        text = failure(tab)
        assert "cannot be started" in text and "Preferences > FlowCut" in text

    @staticmethod
    def _without_torch(folder: Path) -> str:
        (folder / "sitecustomize.py").write_text(
            "import sys\n"
            "class Missing:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name == 'torch':\n"
            "            raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"
            "sys.meta_path.insert(0, Missing())\n"
        )
        return interpreter(folder, f"export PYTHONPATH={shlex.quote(str(folder))}")

    @pytest.mark.parametrize("preferences", [_without_torch], indirect=True)
    def test_one_without_torch(self, tab: PredictTab, run: Path) -> None:
        click(tab, "predict")
        text = failure(tab)
        assert "has no torch; install it there" in text
        assert tab._bench.preferences.interpreter in text
        assert left_behind(run) == []

    @pytest.mark.parametrize(
        "preferences",
        [lambda folder: interpreter(folder, command="echo 'Segmentation fault' >&2; kill -SEGV $$; :")],
        indirect=True,
    )
    def test_one_that_crashes(self, tab: PredictTab) -> None:
        click(tab, "predict")
        assert "SIGSEGV" in failure(tab)

    @pytest.mark.parametrize(
        "preferences",
        [
            lambda folder: interpreter(
                folder,
                command=f"echo {shlex.quote(OUT_OF_MEMORY)} >&2; exit 2; :",
            )
        ],
        indirect=True,
    )
    def test_one_that_runs_out_of_memory(self, tab: PredictTab) -> None:
        click(tab, "predict")
        text = failure(tab)
        assert text.startswith("out of memory with 2 frames of 384x640")
        assert "CPU (Device)" in text

    @pytest.mark.parametrize("preferences", [lambda folder: interpreter(folder, "ulimit -f 1")], indirect=True)
    def test_a_disk_without_room(self, tab: PredictTab, run: Path) -> None:
        click(tab, "predict")
        text = failure(tab)
        assert "cannot be written" in text
        assert "clip-step-20" in text
        assert left_behind(run) == []

    @pytest.mark.parametrize(
        "preferences",
        [
            lambda folder: interpreter(
                folder, 'echo "not json"; echo "[1]"; echo \'{"event": 3}\'; echo \'{"event":"frames"}\''
            )
        ],
        indirect=True,
    )
    def test_one_that_says_more_than_it_should(self, tab: PredictTab) -> None:
        predicted(tab)


# Cancel, and the end of the window.


@pytest.mark.parametrize("stage", ["starting", "loading", "encoding"])
def test_cancel_leaves_no_process_and_nothing_written(
    tab: PredictTab, bench: Workbench, run: Path, tmp_path: Path, stage: str
) -> None:
    bench.open(str(write_frames(tmp_path / "videos" / "long", 400, SIZE)))
    click(tab, "predict")
    wait_until(lambda: tab.controller.progress.stage == stage, stage, 60)
    assert started_here()
    click(tab, "cancel_predict")
    assert not find(tab, "cancel_predict").isEnabled()
    progress = finished(tab)
    assert progress.state == "cancelled"
    assert find(tab, "predict_text").text() == "cancelled; nothing was written"
    assert left_behind(run) == []
    assert tab.desk.prediction is None
    bench.open(str(tmp_path / "videos" / "clip"))
    predicted(tab)


def test_a_window_that_closes_takes_the_process_along(tab: PredictTab, bench: Workbench, run: Path) -> None:
    click(tab, "predict")
    wait_until(lambda: tab.controller.progress.stage == "loading", "the process at work", 60)
    bench.shutdown()
    bench.shutdown()
    wait_until(lambda: not started_here(), "no process")
    wait_until(lambda: left_behind(run) == [], "nothing half-written")


def test_the_tab_may_go_while_it_works(bench: Workbench, run: Path) -> None:
    first = PredictTab(bench)
    first.show()
    click(first, "predict")
    first.hide()
    first.deleteLater()
    wait(50)
    second = PredictTab(bench)
    second.show()
    wait_until(lambda: second.desk.prediction is not None, "the result", 60)
    wait_until(lambda: "predictions" in names(bench), "its layer")
    second.hide()
    second.deleteLater()
    wait(50)
    assert "predictions" not in names(bench)


def test_another_video_meanwhile_gets_nothing_of_it(
    tab: PredictTab, bench: Workbench, run: Path, clip: Path, tmp_path: Path
) -> None:
    click(tab, "predict")
    bench.open(str(write_frames(tmp_path / "videos" / "dog", 3, (40, 56))))
    assert bench.video is not None and bench.video.name == "dog"
    progress = finished(tab)
    assert progress.state == "done"
    assert tab.desk.prediction is None
    assert "No predictions of this video" in find(tab, "prediction_summary").text()
    assert "predictions" not in names(bench)
    bench.open(str(clip))
    assert tab.desk.prediction is not None
    wait_until(lambda: "predictions" in names(bench), "the layer")
    assert bench.viewer.layers["predictions"].data.shape == (6, *SIZE)


# What it is for.


def test_the_window_predicts_what_the_command_does(
    tab: PredictTab, bench: Workbench, run: Path, clip: Path, tmp_path: Path
) -> None:
    stages: list[str] = []
    tab.controller.changed.connect(lambda: stages.append(tab.controller.progress.stage))
    texts: list[str] = []
    tab.controller.changed.connect(lambda: texts.append(find(tab, "predict_text").text()))
    predicted(tab)
    assert list(dict.fromkeys(stages)) == ["starting", "loading", "encoding", "decoding", "writing"]
    assert any("of 6 frames" in text for text in texts)
    out = run / "predictions" / "clip-step-20"
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert "run/predictions/clip-step-20" in find(tab, "predict_text").text()
    other = tmp_path / "other"
    command = [sys.executable, "-m", "flowcut_napari", "predict", run, clip, "-o", other, "--device", "cpu"]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    assert (other / "results.json").read_bytes() == (out / "results.json").read_bytes()
    assert json.loads((out / "prediction.json").read_text())["model"]["step"] == 20  # the best


def test_the_copied_command_writes_the_same_folder(tab: PredictTab, run: Path, clip: Path) -> None:
    application()
    wait_until(lambda: tab.controller.checkpoints, "the checkpoints")
    click(tab, "copy_predict")
    words = shlex.split(QGuiApplication.clipboard().text())
    assert words[:2] == ["flowcut", "predict"]
    subprocess.run([sys.executable, "-m", "flowcut_napari", *words[1:]], check=True, capture_output=True)
    assert left_behind(run) == ["clip-step-20"]


def test_checkpoints_are_listed_as_the_run_writes_them(tab: PredictTab, run: Path) -> None:
    box_of = find(tab, "predict_checkpoint")
    wait_until(lambda: box_of.count() == 5, "the checkpoints")
    assert [box_of.itemText(place) for place in range(5)] == [
        "best: step 20, AP 90.0",
        "last: step 30",
        "step 30",
        "step 20, AP 90.0",
        "step 10, AP 50.0",
    ]
    box_of.setCurrentIndex(1)
    box_of.activated.emit(1)
    source = run / "checkpoints" / "step-00000030"
    target = Path(shutil.copytree(source, source.with_name("step-00000040")))
    state = json.loads((target / "state.json").read_text())
    (target / "state.json").write_text(json.dumps({**state, "step": 40}))
    tab.controller.list_again()
    wait_until(lambda: box_of.count() == 6, "the new one")
    assert box_of.currentText() == "last: step 40"
    assert tab.controller.job().checkpoint == "40"


def test_another_watched_run_is_taken_unless_one_was_chosen(tab: PredictTab, bench: Workbench, tmp_path: Path) -> None:
    other = tmp_path / "other run"
    training_of(bench).watch(other)
    assert tab.controller.model == other
    assert "other run" in find(tab, "predict_model").placeholderText()
    tab.controller.edit("model", str(tmp_path / "mine"))
    training_of(bench).watch(tmp_path / "third")
    assert tab.controller.model == tmp_path / "mine"
    training_of(bench).watch(None)
    tab.controller.edit("model", "")
    wait(20)
    assert tab.controller.model is None
    assert not find(tab, "predict").isEnabled()
    assert "no run is watched" in find(tab, "model_problem").text().lower()


def test_a_weights_file_is_predicted_with_and_results_lie_beside_it(tab: PredictTab, run: Path, tmp_path: Path) -> None:
    weights = tmp_path / "zoo" / "net.safetensors"
    weights.parent.mkdir()
    shutil.copy(run / "checkpoints" / "step-00000010" / "model.safetensors", weights)
    tab.controller.edit("model", str(weights))
    predicted(tab)
    assert sorted(path.name for path in (weights.parent / "predictions" / "clip-net").iterdir()) == FILES


def test_some_frames_alone(tab: PredictTab, run: Path, bench: Workbench) -> None:
    tab.controller.edit("frames", "1::2")
    predicted(tab)
    assert left_behind(run) == ["clip-step-20-1__2"]
    assert tab.desk.prediction is not None
    assert tab.desk.prediction.frames == (1, 3, 5)
    tab.desk.set_threshold(0.0)
    array = bench.viewer.layers["predictions"].data
    assert not array[0].any() and array[1].any()


def test_results_never_go_into_a_dataset_and_never_over_those_of_another_video(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    first = suggested_out(run, 20, "clip", "/a/clip")
    assert first == run / "predictions" / "clip-step-20"
    first.mkdir(parents=True)
    (first / "prediction.json").write_text(json.dumps({"videos": [{"path": "/a/clip"}]}))
    assert suggested_out(run, 20, "clip", "/a/clip") == first
    assert suggested_out(run, 20, "clip", "/b/clip") == run / "predictions" / "clip-step-20-2"
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    (dataset / "dataset.json").write_text("{}")
    (dataset / "net.pth").write_text("")
    out = suggested_out(dataset / "net.pth", None, "clip", "/a/clip")
    assert Path.home() in out.parents and dataset not in out.parents


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_run_that_cannot_be_written_to_is_left_alone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir(mode=0o500)
    assert Path.home() in suggested_out(run, 20, "clip", "/a/clip").parents


def test_a_step_stands_for_its_checkpoint(run: Path) -> None:
    found = list_checkpoints(run)
    assert [checkpoint_of(found, which).step for which in ("best", "last", "10")] == [20, 30, 10]
    with pytest.raises(InputError, match="no checkpoint of step 15"):
        checkpoint_of(found, "15")


def test_an_option_that_begins_with_a_minus_is_still_a_value() -> None:
    job = PredictJob(Path("r"), "", "v", Path("o"), "-3:", "cuda:1")
    assert job.arguments()[-4:] == ["--frames=-3:", "--device", "cuda:1", "--overwrite"]


# Looking.


@pytest.fixture
def seen(tab: PredictTab, bench: Workbench, tmp_path: Path) -> PredictTab:
    """A prediction of two tracks, opened from a folder, with ground truth and pseudo-masks."""
    assert bench.video is not None
    first, second = box(4, 4, 20, 20), box(24, 30, 20, 20)
    tracks = [(0.9, [first] * 6), (0.5, [second, second, None, None, second, second])]
    folder = write_prediction(tmp_path / "earlier", bench.video, tracks)
    numbers = np.zeros((6, *SIZE), np.uint8)
    numbers[:, 4:24, 4:24] = 1
    numbers[3, 24:44, 30:50] = 2  # which is not predicted in this frame
    truth = write_indexed(tmp_path / "truth", numbers)
    tab.controller.open(str(folder))
    assert finished(tab).state == "done"
    tab.desk.open_truth(truth)
    wait_until(lambda: tab.desk.ious, "the IoU")
    bench.take_saved(of_masks([{1: first}] * 6, "clip", SIZE))
    wait_until(lambda: len(tab.desk.kinds) == 2, "both references")
    wait_until(lambda: tab.desk.layers is not None and not tab.desk.layers.missing(), "the layers")
    return tab


def painted(tab: PredictTab, frame: int) -> set[int]:
    return set(np.unique(tab._bench.viewer.layers["predictions"].data[frame])) - {0}


def test_predictions_made_earlier_are_opened(seen: PredictTab, bench: Workbench) -> None:
    assert find(seen, "prediction_summary").text() == "step 7 · 2 instances · 6 frames at 12.0/s, as one clip"
    assert painted(seen, 0) == {1, 2} and painted(seen, 2) == {1}


def test_what_cannot_be_opened_is_one_line_and_what_was_seen_stays(
    seen: PredictTab, bench: Workbench, tmp_path: Path
) -> None:
    before = seen.desk.prediction
    seen.controller.open(str(tmp_path / "nowhere"))
    assert "no such folder" in failure(seen)
    change_result(tmp_path / "earlier", score="high")
    seen.controller.open(str(tmp_path / "earlier"))
    assert "its score is" in failure(seen)
    assert seen.desk.prediction is before
    assert painted(seen, 0) == {1, 2}


def test_predictions_of_another_size_are_refused(tab: PredictTab, bench: Workbench, tmp_path: Path, clip: Path) -> None:
    assert bench.video is not None
    folder = write_prediction(tmp_path / "earlier", bench.video, [(0.9, [box(1, 1, 9, 9)] * 6)])
    bench.open(str(write_frames(tmp_path / "large" / "clip", 6, (60, 80))))
    tab.controller.open(str(folder))
    assert "64x48; the video that is open is 80x60" in failure(tab)
    assert tab.desk.prediction is None


def test_the_threshold_is_that_of_the_slider_and_of_the_paper(seen: PredictTab) -> None:
    slider = find(seen, "score_threshold")
    assert slider.value() == pytest.approx(0.3)
    assert find(seen, "threshold 0.3").isChecked()
    assert find(seen, "threshold_text").text() == "2 of 2 shown"
    click(seen, "threshold 0.8")
    assert slider.value() == pytest.approx(0.8)
    assert painted(seen, 0) == {1}
    assert find(seen, "threshold_text").text() == "1 of 2 shown"
    slider.setValue(0.5)  # the score of the second: of at least this score
    assert painted(seen, 0) == {1, 2}
    assert not find(seen, "threshold 0.8").isChecked()
    slider.setValue(0.51)
    assert painted(seen, 0) == {1}
    slider.setValue(1.0)
    assert painted(seen, 0) == set()


def test_a_chosen_track_is_seen_alone_and_once_more_all(seen: PredictTab, bench: Workbench) -> None:
    table, layer = find(seen, "tracks"), bench.viewer.layers["predictions"]
    assert [table.item(0, column).text() for column in range(3)] == ["1", "0.900", "6 of 6"]
    assert table.item(1, 2).text() == "4 of 6"
    place = table.visualItemRect(table.item(1, 0)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert layer.show_selected_label and layer.selected_label == 2
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert not layer.show_selected_label
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    click(seen, "threshold 0.8")  # which it does not reach: then all are seen
    assert not layer.show_selected_label
    assert not table.selectedIndexes()


def test_modes_and_references_are_those_of_the_buttons(seen: PredictTab, bench: Workbench) -> None:
    def wait_for_layers() -> None:
        wait_until(lambda: seen.desk.layers is not None and not seen.desk.layers.missing(), "the layers")

    click(seen, "mode beside")
    wait_for_layers()
    assert {"predictions", "pseudo-masks", "ground truth", "captions"} <= names(bench)
    click(seen, "mode differences")
    wait_for_layers()
    assert find(seen, "legend").isVisible()
    layer = bench.viewer.layers["differences"]
    assert set(np.unique(layer.data[0])) == {0, 1, 3}
    assert set(np.unique(layer.data[3])) == {0, 1, 2}
    assert set(np.unique(layer.data[2])) == {0, 1}
    reference = find(seen, "reference")
    reference.setCurrentIndex(reference.findText("pseudo-masks"))
    reference.activated.emit(reference.currentIndex())
    assert set(np.unique(layer.data[3])) == {0, 1}
    click(seen, "mode blend")
    assert not find(seen, "legend").isVisible()
    assert not layer.visible


def test_the_iou_is_shown_and_the_worst_frame_is_found(seen: PredictTab, bench: Workbench) -> None:
    ious = seen.desk.ious
    assert ious[2] == 1.0
    assert ious[0] == ious[3] == pytest.approx(0.5)
    assert find(seen, "iou_text").text() == "IoU here 0.50, mean 0.58"
    for wanted in (1, 3, 4, 5, 2, 0):
        click(seen, "next_worst")
        assert bench.frame == wanted
    click(seen, "threshold 0.8")
    assert seen.desk.ious[0] == 1.0
    click(seen, "next_worst")
    assert bench.frame == 1  # after frame 0, of equals the next
    strip = find(seen, "iou_strip")
    place = QPointF((4.5 / 6) * strip.width(), 10).toPoint()
    QTest.mouseClick(strip, Qt.MouseButton.LeftButton, pos=place)
    assert bench.frame == 4


def test_from_a_frame_without_a_reference_the_worst_comes_next() -> None:
    assert next_worst({1: 0.5, 3: 0.2}, 0) == 3
    assert next_worst({}, 0) is None


def test_ground_truth_that_does_not_fit_is_said_and_the_other_stays(
    seen: PredictTab, bench: Workbench, tmp_path: Path
) -> None:
    before = seen.desk.view.truth
    seen.desk.open_truth(write_indexed(tmp_path / "small", np.ones((6, 9, 9), np.uint8)))
    wait_until(lambda: find(seen, "reference_problem").isVisible(), "why not")
    assert "9x9, the video that is open is 64x48" in find(seen, "reference_problem").text()
    assert seen.desk.view.truth is before
    assert seen.desk.ious


def test_out_of_sight_nothing_of_it_is_in_the_canvas(seen: PredictTab, bench: Workbench) -> None:
    mine = bench.viewer.add_labels(np.zeros((6, *SIZE), np.uint8), name="mine")
    click(seen, "mode beside")
    wait_until(lambda: "captions" in names(bench), "the layers")
    seen.hide()
    wait(50)
    assert names(bench) == {"clip", "mine"}
    assert mine.visible
    seen.show()
    wait_until(lambda: "captions" in names(bench), "the layers again")
    bench.viewer.layers.clear()
    wait(50)
    click(seen, "threshold 0.8")
    seen.hide()
    wait(50)


def test_a_deleted_layer_comes_back_with_a_mode(seen: PredictTab, bench: Workbench) -> None:
    bench.viewer.layers.remove("predictions")
    click(seen, "threshold 0.8")
    wait(50)
    assert "predictions" not in names(bench)
    click(seen, "mode blend")
    wait_until(lambda: "predictions" in names(bench), "the layer")


def test_of_errands_only_the_last_answer_counts(bench: Workbench) -> None:
    errand = Errand(bench)
    found: list[Any] = []
    failed: list[str] = []
    errand.done.connect(found.append)
    errand.failed.connect(failed.append)
    wanted: list[bool] = []

    def slow(is_wanted: Callable[[], bool]) -> str:
        while is_wanted():
            pass
        wanted.append(is_wanted())
        return "old"

    errand.start(slow)
    errand.start(lambda _: "new")
    wait_until(lambda: found, "an answer")
    wait(50)
    assert found == ["new"] and wanted == [False]

    def fails(_: Callable[[], bool]) -> None:
        raise InputError("no")

    errand.start(fails)
    wait_until(lambda: failed == ["no"], "why not")
    errand.start(slow)
    errand.drop()
    wait_until(lambda: len(wanted) == 2, "its end")
    assert found == ["new"]
