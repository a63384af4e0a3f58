"""The Runs tab without a window: what it lists, and what can be done with a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import made_events as made
import pytest
from benches import open_bench
from napari_window import wait, wait_until
from qtpy.QtCore import QCoreApplication, QEvent, Qt

from flowcut_napari.widgets.runs.controller import runs_of
from flowcut_napari.widgets.runs.table import COLUMNS
from flowcut_napari.widgets.runs.widget import RunsTab
from flowcut_napari.widgets.training_desk import training_of
from flowcut_napari.widgets.workbench import Workbench

NAMES = [column.name for column in COLUMNS]


@pytest.fixture
def bench() -> Iterator[Workbench]:
    with open_bench() as opened:
        yield opened


@pytest.fixture
def tab(bench: Workbench) -> Iterator[RunsTab]:
    made_tab = RunsTab(bench)
    made_tab.resize(390, 700)
    made_tab.show()
    yield made_tab
    made_tab.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    wait(10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    stopped = {"event": "stopped", "step": 500, "reason": "SIGTERM"}
    runs: dict[str, list[dict[str, Any]]] = {
        "alpha": [made.start(steps=1000), *made.training(1000), made.done(1000)],
        "beta": [made.start(), *made.training(500), stopped],
        "Gamma": [made.start(**made.alive()), *made.training(2500)],
        "group/delta": [made.start(), made.step(1), {"event": "error", "reason": "no <b>GPU</b>\n"}],
    }
    for name, events in runs.items():
        made.write_run(tmp_path / name, events)
    return tmp_path


def list_in(tab: RunsTab, folder: Path) -> None:
    tab.controller.set_folder(folder)
    wait_until(lambda: not tab.controller.is_looking, "the runs", 10)


def column(tab: RunsTab, name: str) -> list[str]:
    """Return a column as it is sorted."""
    place = NAMES.index(name)
    return [tab.sorted.index(row, place).data() for row in range(tab.sorted.rowCount())]


# What cannot be.


@pytest.mark.parametrize("name", ["missing", "a_file", "no\0path", "x" * 5000])
def test_a_folder_that_cannot_be_looked_through_is_one_line(tab: RunsTab, tmp_path: Path, name: str) -> None:
    (tmp_path / "a_file").touch()
    list_in(tab, tmp_path / name)
    assert "cannot be looked through" in tab.said.text()
    assert "\n" not in tab.said.text()
    assert tab.sorted.rowCount() == 0


def test_damaged_runs_are_rows_that_say_what_is_wrong(tab: RunsTab, folder: Path) -> None:
    (folder / "broken").mkdir()
    (folder / "broken" / "events.jsonl").write_bytes(b"\0\xff" * 500 + b"\n")
    list_in(tab, folder)
    tab.choose(folder / "broken")
    assert "lines of events.jsonl are no events of a run" in tab.details.text()
    assert not tab.resume.isEnabled() and not tab.predict.isEnabled()
    assert tab.watch.isEnabled()


def test_a_run_that_goes_while_it_is_chosen(tab: RunsTab, folder: Path) -> None:
    list_in(tab, folder)
    tab.choose(folder / "beta")
    (folder / "beta").rename(folder / ".hidden")
    tab.controller.look()
    wait_until(lambda: "beta" not in column(tab, "run"), "it is gone", 10)
    assert tab.chosen is None
    assert not tab.watch.isEnabled() and not tab.details.isVisible()
    for act in (tab._watch, tab._resume, tab._predict, tab._open_folder):
        act()


# What it lists.


def test_each_run_is_a_row(tab: RunsTab, folder: Path) -> None:
    list_in(tab, folder)
    assert column(tab, "run") == ["alpha", "beta", "Gamma", "group/delta"]
    assert column(tab, "state") == ["done", "stopped", "training", "failed"]
    assert column(tab, "step") == ["1,000", "500", "2,500", "1"]
    assert column(tab, "AP")[3] == ""
    assert tab.said.text().startswith("4 runs, 1 at work · tick")


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("step", ["group/delta", "beta", "alpha", "Gamma"]),
        ("AP", ["group/delta", "beta", "alpha", "Gamma"]),
        ("state", ["Gamma", "group/delta", "beta", "alpha"]),
    ],
)
def test_rows_are_sorted_by_what_they_mean(tab: RunsTab, folder: Path, name: str, order: list[str]) -> None:
    list_in(tab, folder)
    tab.table.sortByColumn(NAMES.index(name), Qt.SortOrder.AscendingOrder)
    assert column(tab, "run") == order
    tab.table.sortByColumn(NAMES.index(name), Qt.SortOrder.DescendingOrder)
    assert column(tab, "run") == order[::-1]


def test_what_is_new_appears_and_the_chosen_run_stays_chosen(tab: RunsTab, folder: Path) -> None:
    list_in(tab, folder)
    tab.choose(folder / "beta")
    made.add(folder / "Gamma", made.step(2520))
    made.write_run(folder / "aaa", [made.start(), made.step(1)])
    wait_until(lambda: "2,520" in column(tab, "step") and "aaa" in column(tab, "run"), "what is new", 10)
    assert tab.chosen is not None and tab.chosen.name == "beta"


def test_nothing_is_looked_at_while_nobody_looks(tab: RunsTab, folder: Path) -> None:
    list_in(tab, folder)
    assert tab.controller._timer.isActive()
    tab.hide()
    assert not tab.controller._timer.isActive()
    made.add(folder / "Gamma", made.step(2520))
    tab.show()
    wait_until(lambda: "2,520" in column(tab, "step"), "what is new", 10)


def test_names_are_shown_as_they_are(tab: RunsTab, tmp_path: Path) -> None:
    made.write_run(tmp_path / "runs" / "<b>x</b>\n", [made.start(device="<i>GPU</i>\n"), made.step(1)])
    list_in(tab, tmp_path / "runs")
    assert column(tab, "run") == [r"<b>x</b>\n"]
    tip = tab.sorted.index(0, 0).data(Qt.ItemDataRole.ToolTipRole)
    assert "&lt;b&gt;x" in tip
    tab.choose(tmp_path / "runs" / "<b>x</b>\n")
    assert tab.details.textFormat() == Qt.TextFormat.PlainText


def test_another_folder_takes_the_place_of_one_that_is_being_read(tab: RunsTab, folder: Path, tmp_path: Path) -> None:
    tab.controller.set_folder(folder)
    tab.controller.set_folder(folder / "group")
    wait_until(lambda: column(tab, "run") == ["delta"], "the other folder", 10)
    wait(300)
    assert column(tab, "run") == ["delta"]
    tab.folder.setText(str(folder))
    tab.folder.editingFinished.emit()
    wait_until(lambda: len(column(tab, "run")) == 4, "what was typed", 10)


def test_the_folder_of_the_first_run_that_is_watched_is_suggested(bench: Workbench, tab: RunsTab, folder: Path) -> None:
    assert tab.said.text() == "Choose a folder in which runs are."
    training_of(bench).watch(folder / "alpha")
    wait_until(lambda: len(column(tab, "run")) == 4, "its sisters", 10)
    assert tab.folder.text() == str(folder)
    again = RunsTab(bench)
    assert again.folder.text() == str(folder)
    assert again.controller is runs_of(bench)
    again.deleteLater()


# What can be done with a run.


def test_a_double_click_watches_a_run(bench: Workbench, tab: RunsTab, folder: Path) -> None:
    list_in(tab, folder)
    wanted: list[str] = []
    training_of(bench).tab_wanted.connect(wanted.append)
    tab.table.doubleClicked.emit(tab.sorted.index(1, 3))
    assert training_of(bench).run == folder / "beta"
    assert wanted == ["Watch"]
    bold = [tab.sorted.index(row, 0).data(Qt.ItemDataRole.FontRole) is not None for row in range(4)]
    assert bold == [False, True, False, False]


def test_ticked_runs_are_compared(bench: Workbench, tab: RunsTab, folder: Path) -> None:
    list_in(tab, folder)
    role = Qt.ItemDataRole.CheckStateRole
    for row in (0, 3):
        assert tab.sorted.setData(tab.sorted.index(row, 0), Qt.CheckState.Checked.value, role)
    assert training_of(bench).compared == (folder / "alpha", folder / "group/delta")
    tab.sorted.setData(tab.sorted.index(0, 0), Qt.CheckState.Unchecked.value, role)
    assert training_of(bench).compared == (folder / "group/delta",)
    training_of(bench).compare([])
    assert Qt.CheckState(tab.sorted.index(3, 0).data(role)) == Qt.CheckState.Unchecked


def test_resume_and_predict_are_asked_for_where_there_is_a_checkpoint(
    bench: Workbench, tab: RunsTab, folder: Path
) -> None:
    list_in(tab, folder)
    training = training_of(bench)
    resumed: list[Path] = []
    tabs: list[str] = []
    training.resume_wanted.connect(resumed.append)
    training.tab_wanted.connect(tabs.append)
    can = {}
    for name in ("alpha", "beta", "Gamma", "group/delta"):
        tab.choose(folder / name)
        can[name] = (tab.resume.isEnabled(), tab.predict.isEnabled())
    assert can == {
        "alpha": (False, True),
        "beta": (True, True),
        "Gamma": (False, True),
        "group/delta": (False, False),
    }
    tab.choose(folder / "beta")
    tab.resume.click()
    assert resumed == [folder / "beta"]
    tab.predict.click()
    assert (training.run, tabs) == (folder / "beta", ["Predict"])


def test_the_menu_of_a_row_offers_the_same_and_never_to_delete(tab: RunsTab, folder: Path) -> None:
    list_in(tab, folder)
    point = tab.table.visualRect(tab.sorted.index(1, 0)).center()
    menu = tab.menu_at(point)
    assert menu is not None
    assert [action.text() for action in menu.actions()] == ["Watch", "Resume", "Predict", "Folder"]
    menu.actions()[0].trigger()
    assert tab.training.run == folder / "beta"
    assert tab.menu_at(tab.table.rect().bottomLeft()) is None
