"""The Train tab without a screen: what is set, what is known of it, and the command that comes of it."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benches import open_bench
from made_interpreters import interpreter, without
from made_runs import run, write_clips
from napari_window import wait, wait_until

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.run_list import list_runs
from flowcut_napari.viewer.preferences import Preferences
from flowcut_napari.widgets.recent import Recent
from flowcut_napari.widgets.session.offers import OfferList
from flowcut_napari.widgets.train import closing
from flowcut_napari.widgets.train.controller import train_of
from flowcut_napari.widgets.train.findings import Findings
from flowcut_napari.widgets.train.parameters import BackendAbout
from flowcut_napari.widgets.train.settings import TrainSettings, suggested_run
from flowcut_napari.widgets.train.still_going import StillGoing
from flowcut_napari.widgets.train.widget import TrainTab
from flowcut_napari.widgets.training_desk import training_of
from flowcut_napari.widgets.workbench import Workbench
from flowcut_training.config import config_names
from flowcut_training.machine import describe_parameters, list_devices, versions

pytestmark = pytest.mark.usefixtures("nothing_is_left")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def bench() -> Iterator[Workbench]:
    with open_bench() as bench:
        yield bench


@functools.cache
def about() -> BackendAbout:
    """Return what an interpreter like this one answers; to ask it takes seconds, which one test below does."""
    document = {"versions": versions(), "devices": list_devices(), "parameters": describe_parameters()}
    return BackendAbout.read({**document, "configurations": config_names()})


def with_tab(bench: Workbench, *, asks: bool = False) -> TrainTab:
    """Return the tab, seen, once the interpreter has answered."""
    train_of(bench).about = None if asks else about()
    tab = TrainTab(bench)
    tab.show()
    wait_until(lambda: not tab.controller.is_asking, "an answer of the interpreter", 60)
    return tab


def checked(tab: TrainTab) -> Findings:
    wait_until(lambda: tab.controller.findings != Findings() and not tab.controller.findings.is_checking, "a check", 60)
    return tab.controller.findings


def remarks(bench: Workbench) -> list[str]:
    said: list[str] = []
    bench.remarked.connect(said.append)
    return said


# Settings, without any widget.


def test_the_command_says_all_that_is_set(tmp_path: Path) -> None:
    settings = TrainSettings(
        str(tmp_path / "my data"), str(tmp_path / "run"), "tiny", {"optimizer.lr": "1e-3"}, "w.pth", "cpu"
    )
    words = settings.command().arguments
    assert words[:7] == (
        "train",
        str(tmp_path / "my data"),
        "-o",
        str(tmp_path / "run"),
        "--config",
        "tiny",
        "--device",
    )
    assert words[-2:] == (f"cutler={Path('w.pth').absolute()}", "optimizer.lr=1e-3")
    assert settings.checking(estimate=False)[-2:] == ["--check", "--no-estimate"]


def test_going_on_says_neither_configuration_nor_first_weights(tmp_path: Path) -> None:
    words = TrainSettings("data", str(tmp_path), "tiny", {}, "w.pth", resume=True).command().arguments
    assert "--resume" in words and "--config" not in words and "--weights" not in words


def test_several_processes_take_the_gpus_from_the_chosen_one_on() -> None:
    command = TrainSettings("data", "run", device="cuda:2", processes=2).command()
    assert (command.gpus, command.processes) == ((2, 3), 2)
    assert command.arguments[-2:] == ("--device", "cuda")
    assert TrainSettings("data", "run", device="cpu", processes=2).command().gpus == ()
    assert TrainSettings("data", "run", device="cuda:2").command().arguments[-1] == "cuda:2"


def test_without_a_dataset_there_is_no_command() -> None:
    with pytest.raises(InputError, match="choose a dataset"):
        TrainSettings(run="run").command()


def test_the_suggested_folder_is_the_first_that_is_free(tmp_path: Path) -> None:
    data = tmp_path / "dogs"
    assert suggested_run(data) == tmp_path / "runs" / "dogs-1"
    (tmp_path / "runs" / "dogs-1").mkdir(parents=True)
    assert suggested_run(data) == tmp_path / "runs" / "dogs-1"
    (tmp_path / "runs" / "dogs-1" / "log.txt").write_text("")
    (tmp_path / "runs" / "dogs-2").write_text("a file")
    assert suggested_run(data / "annotations.json") == tmp_path / "runs" / "dogs-3"
    # Not the place of one that was removed, nor what only looks like one.
    for name in ("dogs-12", "dogs-13a", "dogs-013", "cats-20"):
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "log.txt").write_text("")
    assert suggested_run(data) == tmp_path / "runs" / "dogs-13"


def test_however_many_runs_there_are_the_disk_is_asked_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 40):
        (tmp_path / "runs" / f"dogs-{number}" / "checkpoints").mkdir(parents=True)
    looks: list[Any] = []
    look = os.listdir
    monkeypatch.setattr(os, "listdir", lambda place: looks.append(place) or look(place))
    assert suggested_run(tmp_path / "dogs").name == "dogs-40" and len(looks) == 2


@pytest.mark.parametrize("document", [None, {}, {"versions": 3}, {"devices": [], "parameters": [{}]}])
def test_an_answer_of_another_version_is_refused_in_one_line(document: Any) -> None:
    with pytest.raises(InputError) as caught:
        BackendAbout.read(document)
    assert "\n" not in str(caught.value)


def test_what_is_no_finding_changes_nothing() -> None:
    for event in ({}, {"event": "dataset"}, {"event": "estimate", "device": 3}, {"event": []}):
        assert Findings().taking(event) == Findings()


# The tab, with the real interpreter.


def test_a_dataset_is_counted_and_a_missing_one_is_a_problem(bench: Workbench, dataset: Path, tmp_path: Path) -> None:
    tab = with_tab(bench)
    assert not tab.button.isEnabled() and tab.said.text().startswith("Choose a dataset")
    tab.controller.edit("configuration", "tiny")
    tab.controller.edit("run", str(tmp_path / "run"))
    tab.controller.edit("dataset", str(dataset))
    assert "clips" in checked(tab).dataset and "scratch" in tab.said.text()
    assert tab.button.isEnabled()
    assert f"flowcut train {dataset}" in tab.command.text()
    tab.controller.edit("dataset", str(tmp_path / "gone"))
    assert tab.said.text() == ""  # what was found was of another one
    assert "no such file" in checked(tab).problems[0]
    assert "✗" in tab.said.text() and not tab.button.isEnabled()


def test_a_run_folder_that_is_emptied_is_suggested_again(bench: Workbench, dataset: Path, tmp_path: Path) -> None:
    tab = with_tab(bench)
    tab.controller.edit("dataset", str(dataset))
    suggested = tab.run.line.text()
    for typed, shown in ((str(tmp_path / "mine"), str(tmp_path / "mine")), ("", suggested)):
        tab.run.line.setText(typed)
        tab.run.line.editingFinished.emit()
        assert tab.run.line.text() == shown
    assert tab.controller.settings.run == ""


def test_an_estimate_tells_time_and_memory_beforehand(bench: Workbench, dataset: Path, tmp_path: Path) -> None:
    tab = with_tab(bench)
    for name, value in (("configuration", "tiny"), ("run", str(tmp_path / "run")), ("dataset", str(dataset))):
        tab.controller.edit(name, value)
    checked(tab)
    tab.estimate.click()
    found = checked(tab).measured
    assert found is not None and found.steps == 60 and found.memory_gib is not None
    assert "for 60 steps" in tab.measured.text() and "GiB" in tab.measured.text()
    tab.controller.change("optimizer.steps", "70")
    assert tab.measured.text() == ""


def test_a_parameter_is_changed_in_a_row_or_in_the_table_and_taken_back(bench: Workbench) -> None:
    tab, said = with_tab(bench), remarks(bench)
    line = tab.lines["optimizer.lr"]
    assert line.text() == "1e-06"
    line.setText("1e-4")
    line.editingFinished.emit()
    assert tab.controller.settings.changes == {"optimizer.lr": "1e-4"}
    assert line.font().bold() and "(1 changed)" in tab.more.text()
    tab.more.setChecked(True)
    tab.table.edited.emit("model.backbone", "resnet18")
    tab.table.edited.emit("optimizer.lr", "")
    assert tab.controller.settings.changes == {"model.backbone": "resnet18"}
    assert said == []
    wrong = (
        ("model.backbone", "vgg"),
        ("optimizer.steps", "0"),
        ("data.flip", "nan"),
        ("optimizer.lr", "x"),
    )
    for name, text in wrong:
        tab.controller.change(name, text)
    assert [text.partition(" ")[0].rstrip(":") for text in said] == [name for name, _ in wrong]
    assert tab.controller.settings.changes == {"model.backbone": "resnet18"}
    tab.controller.change("optimizer.steps", "60")
    assert said[-1] == "", "what was refused before is not said any more"
    tab.controller.change("optimizer.steps", "")
    tab.controller.change("no.such", "1")
    assert tab.controller.settings.changes == {"model.backbone": "resnet18"}


def test_a_folder_with_a_run_offers_to_go_on_and_locks_what_it_cannot_change(
    bench: Workbench, dataset: Path, tmp_path: Path
) -> None:
    run(dataset, tmp_path / "run", "steps=1", "preview_every=0")
    tab = with_tab(bench)
    tab.controller.edit("dataset", str(dataset))
    tab.controller.edit("run", str(tmp_path / "run"))
    wait_until(lambda: tab.controller.holds_run, "the folder looked at")
    assert not tab.resume.isHidden()
    assert "tick Go on with it" in checked(tab).problems[0]
    tab.resume.setChecked(True)
    assert checked(tab).problems == ()
    assert "Goes on from step 1" in tab.said.text() and tab.button.text() == "Go on"
    assert not tab.lines["optimizer.lr"].isEnabled() and tab.lines["optimizer.steps"].isEnabled()


def test_what_was_changed_for_a_new_run_is_kept_from_one_that_goes_on(bench: Workbench, tmp_path: Path) -> None:
    tab = with_tab(bench)
    controller = tab.controller
    for name, value in (("dataset", "/data"), ("run", str(tmp_path)), ("weights", "/w.pth")):
        controller.edit(name, value)
    controller.change("optimizer.batch", "8")
    controller.change("run.keep", "9")
    assert "--weights cutler=/w.pth" in tab.command.text() and "batch=8" in tab.command.text()
    controller.edit("resume", True)
    assert tab.command.text().endswith("--resume run.keep=9")
    assert tab.lines["optimizer.batch"].text() == "" and "(1 changed)" in tab.more.text()
    # What the configuration has is not what the run has: it is said.
    controller.change("optimizer.steps", "5000")
    assert "optimizer.steps=5000" in tab.command.text()
    controller.edit("resume", False)
    assert "batch=8" in tab.command.text()


def test_a_file_of_weights_is_given_only_where_weights_are_named(bench: Workbench) -> None:
    tab = with_tab(bench)
    tab.controller.edit("dataset", "/data")
    tab.controller.edit("weights", "/w.pth")
    tab.controller.change("run.init", "scratch")
    assert "--weights" not in tab.command.text()
    tab.controller.edit("configuration", "tiny")  # which starts from scratch
    tab.controller.change("run.init", "dino-resnet50")
    assert "--weights dino-resnet50=/w.pth" in tab.command.text()
    tab.controller.change("run.init", "")
    assert "--weights" not in tab.command.text()


def test_what_is_being_typed_stays_while_something_else_is_learnt(bench: Workbench) -> None:
    tab = with_tab(bench)
    tab.activateWindow()
    for line in (tab.lines["optimizer.steps"], tab.dataset.line, tab.init.lineEdit()):
        line.setFocus()
        wait_until(line.hasFocus, "the focus")
        line.setText("12")
        line.setModified(True)  # as keys do
        tab.controller.settings_changed.emit()
        assert line.text() == "12"
    steps = tab.lines["optimizer.steps"]
    steps.setText("0")
    steps.setModified(True)
    steps.editingFinished.emit()
    assert steps.text() == "12"  # what cannot be is taken back all the same


def test_two_panels_show_one_training(bench: Workbench) -> None:
    first, second = with_tab(bench), with_tab(bench)
    first.controller.edit("dataset", "/somewhere")
    assert second.dataset.line.text() == "/somewhere"


def test_without_torch_the_tab_says_what_to_install(tmp_path: Path) -> None:
    program = without(tmp_path, "torch")
    with open_bench(preferences=Preferences(autosave_seconds=0, interpreter=program)) as bench:
        tab = with_tab(bench, asks=True)
        assert f"{program} -m pip install torch" in tab.said.text()
        assert not tab.button.isEnabled()
        # It is asked again after something was installed.
        Path(program).write_text(Path(interpreter(tmp_path / "good", 'exec "$PYTHON" "$@"')).read_text())
        tab.refresh.click()
        wait_until(lambda: tab.controller.about, "another answer", 60)
        assert "PyTorch" in tab.versions.text() and "pip" not in tab.said.text()


# Runs, with real processes.


def started(bench: Workbench, dataset: Path, folder: Path, *changes: tuple[str, str]) -> TrainTab:
    tab = with_tab(bench)
    for name, value in (("configuration", "tiny"), ("dataset", str(dataset)), ("run", str(folder)), ("device", "cpu")):
        tab.controller.edit(name, value)
    for name, text in (("run.log_every", "1"), ("loss.points", "32"), *changes):
        tab.controller.change(name, text)
    tab.start()
    return tab


def state(folder: Path) -> str:
    found = list_runs(folder)
    return found[0].state.state if found else "none"


def until_over(tab: TrainTab, folder: Path, seconds: float = 120) -> None:
    wait_until(lambda: not tab.controller.launcher.at_work, f"the end of {folder}", seconds)
    wait_until(lambda: not tab.controller.desk.launch_of(folder).is_alive, "its end told")  # type: ignore[union-attr]


def test_a_run_is_started_watched_stopped_and_gone_on_with(bench: Workbench, dataset: Path, tmp_path: Path) -> None:
    folder, desk = tmp_path / "run", training_of(bench)
    wanted: list[str] = []
    desk.tab_wanted.connect(wanted.append)
    tab = started(bench, dataset, folder, ("optimizer.steps", "5"), ("run.checkpoint_every", "100"))
    assert desk.run == folder and wanted == ["Watch"]
    assert desk.launch_of(folder).is_alive  # type: ignore[union-attr]
    # The next one gets a folder of its own.
    assert tab.controller.settings.folder != folder
    tab.controller.launcher.stop(folder)
    until_over(tab, folder)
    assert state(folder) == "stopped"
    desk.resume_wanted.emit(folder)
    wait_until(lambda: tab.controller.launcher.at_work == (folder,), "it going on")
    until_over(tab, folder)
    assert state(folder) == "done"


def test_the_same_folder_is_not_trained_in_twice(bench: Workbench, dataset: Path, tmp_path: Path) -> None:
    folder, said = tmp_path / "run", remarks(bench)
    tab = started(bench, dataset, folder, ("optimizer.steps", "100000"))
    tab.controller.edit("run", str(folder))
    tab.start()
    assert said == [f"{folder}: is being trained already; choose another folder"]
    tab.controller.launcher.kill(folder)
    until_over(tab, folder)
    assert state(folder) == "failed"


def test_a_dataset_that_vanishes_ends_the_run_with_its_name(bench: Workbench, dataset: Path, tmp_path: Path) -> None:
    tab = started(bench, tmp_path / "gone", tmp_path / "run")
    until_over(tab, tmp_path / "run")
    launch = training_of(bench).launch_of(tmp_path / "run")
    assert launch is not None and "gone: no such file or folder" in launch.reason


def test_a_run_without_a_dataset_in_its_events_cannot_be_gone_on_with_from_here(
    bench: Workbench, tmp_path: Path
) -> None:
    said = remarks(bench)
    TrainTab(bench)
    (tmp_path / "events.jsonl").write_text('{"event": "start", "dataset": "relative/ds"}\n')
    training_of(bench).resume_wanted.emit(tmp_path)
    wait_until(lambda: said, "a word")
    (tmp_path / "events.jsonl").unlink()
    training_of(bench).resume_wanted.emit(tmp_path)
    wait_until(lambda: len(said) == 2, "another word")
    assert "was trained on relative/ds" in said[0] and "do not say on what" in said[1]


def test_a_run_goes_on_with_a_dataset_whatever_its_name(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    TrainTab(bench)
    monkeypatch.setattr(train_of(bench).launcher, "start", given.append)
    place = tmp_path / "a\u00a0b\nc=d"
    (tmp_path / "events.jsonl").write_text(
        json.dumps({"event": "start", "dataset": str(place), "device": "cpu"}) + "\n"
    )
    training_of(bench).resume_wanted.emit(tmp_path)
    wait_until(lambda: given, "a start")
    assert given[0].arguments[1] == str(place)


def test_a_window_that_goes_without_a_question_leaves_nothing(dataset: Path, tmp_path: Path) -> None:
    with open_bench() as bench:
        started(bench, dataset, tmp_path / "run", ("optimizer.steps", "100000"))
        wait_until(lambda: state(tmp_path / "run") == "running", "it at work", 120)
    # `open_bench` sees to it that all processes are gone; it had the time to save.
    assert state(tmp_path / "run") == "stopped"


@pytest.mark.parametrize("choice", ["leave", "stay", "stop"])
def test_closing_while_training_asks_and_does_as_told(
    bench: Workbench, dataset: Path, tmp_path: Path, choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked = tmp_path / "run", []
    monkeypatch.setattr(closing, "ask", lambda window, runs: asked.append(runs) or choice)
    assert closing.may_let_go(bench, None) and not asked
    tab = started(bench, dataset, folder, ("optimizer.steps", "100000"))
    wait_until(lambda: state(folder) == "running", "it at work", 120)
    assert closing.may_let_go(bench, None) == (choice != "stay")
    assert asked == [(folder,)]
    if choice == "stop":
        assert state(folder) == "stopped" and not tab.controller.launcher.at_work
        return
    assert state(folder) == "running"
    if choice == "leave":
        tab.controller.launcher.shutdown()
        wait(300)
        assert state(folder) == "running"
        # The next window finds it.
        offers, recent = OfferList(), Recent("runs", is_kept=False)
        recent.put(str(folder))
        other = training_of(bench)
        other._launches.clear()
        StillGoing(other, offers, recent).look()
        wait_until(lambda: offers.items, "an offer")
        assert "still being trained" in offers.items[0].text
        offers.items[0].actions["watch_run"][1]()
        assert other.run == folder and not offers.items
    (folder / "stop").touch()
    wait_until(lambda: state(folder) == "stopped", "its end", 60)


def test_what_is_over_is_not_offered(bench: Workbench, dataset: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path / "run", "steps=1", "preview_every=0")
    offers, recent = OfferList(), Recent("runs", is_kept=False)
    for path in (tmp_path / "run", tmp_path / "nothing"):
        recent.put(str(path))
    found: list[Any] = []
    looking = StillGoing(training_of(bench), offers, recent)
    looking._found.connect(found.append)
    looking.look()
    wait_until(lambda: found, "looked through")
    assert found == [[]] and offers.items == []
