from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benches import SMALL, open_bench, value_of
from conftest import write_frames
from qtpy.QtGui import QGuiApplication

from flowcut_napari.core import CutParameters
from flowcut_napari.core.parameters import PRESETS
from flowcut_napari.widgets.tune.widget import TuneTab
from flowcut_napari.widgets.workbench import Workbench

HANDMADE = CutParameters.preset("handmade")


@pytest.fixture
def bench() -> Iterator[Workbench]:
    with open_bench(HANDMADE) as opened:
        yield opened


@pytest.fixture
def tab(bench: Workbench) -> Iterator[TuneTab]:
    made = TuneTab(bench)
    yield made
    made.deleteLater()


def _controls(tab: TuneTab) -> dict[str, Any]:
    return {name: control for form in tab.forms for name, control in form.controls.items()}


def _heard(signal: Any) -> list[tuple[Any, ...]]:
    heard: list[tuple[Any, ...]] = []
    signal.connect(lambda *values: heard.append(values))
    return heard


def _shows(tab: TuneTab, parameters: CutParameters) -> bool:
    return all(
        value_of(control) == pytest.approx(getattr(parameters, name), abs=1e-6)
        if isinstance(getattr(parameters, name), float)
        else value_of(control) == getattr(parameters, name)
        for name, control in _controls(tab).items()
    )


def test_it_begins_with_what_is_set(tab: TuneTab) -> None:
    assert _shows(tab, HANDMADE)
    assert tab.preset.currentText() == "handmade"
    assert tab._changes.text() == "as the preset has it"
    assert not tab.reset.isEnabled()


def test_a_moved_control_changes_that_parameter_and_no_other(tab: TuneTab, bench: Workbench) -> None:
    changed = _heard(bench.parameters_changed)
    _controls(tab)["tau"].setValue(0.2)
    _controls(tab)["crf"].click()
    assert bench.parameters == HANDMADE.with_changes(tau=0.2, crf=False)
    assert len(changed) == 2
    assert tab._changes.text() == "changed: Tau, CRF"
    assert tab.reset.isEnabled()


def test_controls_follow_parameters_set_elsewhere(tab: TuneTab, bench: Workbench) -> None:
    other = TuneTab(bench)
    wanted = SMALL.with_changes(alpha=0.9, max_instances=20, flow="raft-small", features="dino")
    changed = _heard(bench.parameters_changed)
    bench.set_parameters(wanted)
    assert _shows(tab, wanted)
    assert _shows(other, wanted)
    assert bench.parameters == wanted
    assert len(changed) == 1
    _controls(other)["tau"].setValue(0.11)
    assert value_of(_controls(tab)["tau"]) == pytest.approx(0.11)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_all_that_it_names(tab: TuneTab, bench: Workbench, name: str) -> None:
    _controls(tab)["min_area"].setValue(0.1)
    tab.preset.setCurrentText(name)
    tab.preset.activated.emit(tab.preset.currentIndex())
    assert bench.parameters == CutParameters.preset(name)
    assert _shows(tab, CutParameters.preset(name))
    assert tab._changes.text() == "as the preset has it"


def test_reset_goes_back_to_the_preset_that_was_chosen(tab: TuneTab, bench: Workbench) -> None:
    tab.controller.choose_preset("maskcut")
    # So much of TokenCut that it is the closest preset now.
    for name, value in (("tau", 0.2), ("max_instances", 1), ("min_flow", 0.5)):
        tab.controller.edit(name, value)
    tab.reset.click()
    assert bench.parameters == CutParameters.preset("maskcut")
    assert tab.preset.currentText() == "maskcut"


def test_a_refused_value_is_told_in_one_line_and_changes_nothing(tab: TuneTab, bench: Workbench) -> None:
    remarks = _heard(bench.remarked)
    features = _controls(tab)["features"]
    features.setCurrentText("   ")
    features.lineEdit().editingFinished.emit()
    assert bench.parameters == HANDMADE
    assert features.currentText() == "handmade"
    ((text,),) = remarks
    assert text.startswith("features is ''")
    assert "\n" not in text
    tab.controller.edit("alpha", 1.5)
    tab.controller.edit("eps", 0)
    assert (bench.parameters, len(remarks)) == (HANDMADE, 3)


def test_what_plays_no_part_without_flow_cannot_be_moved(tab: TuneTab, bench: Workbench) -> None:
    controls = _controls(tab)
    for alpha, is_on in ((1.0, False), (0.99, True)):
        bench.set_parameters(HANDMADE.with_changes(alpha=alpha))
        assert [controls[name].isEnabled() for name in ("gap", "min_flow", "tau")] == [is_on, is_on, True]


def test_every_button_and_list_has_a_name_and_a_tip(tab: TuneTab) -> None:
    from qtpy.QtWidgets import QComboBox, QPushButton

    for kind in (QPushButton, QComboBox):
        for widget in tab.findChildren(kind):
            if widget.objectName() or not widget.parent().inherits("QCollapsible"):
                assert widget.toolTip() or widget.parent().objectName() == "more", widget.objectName()


def test_what_is_copied_makes_the_same_masks(tab: TuneTab, bench: Workbench, tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "my clip", 3)
    bench.open(str(folder))
    bench.set_parameters(HANDMADE.with_changes(tau=0.21, height=180))
    remarks = _heard(bench.remarked)
    tab.findChild(object, "copy_command").click()
    words = shlex.split(QGuiApplication.clipboard().text())
    assert words[:3] == ["flowcut", "masks", str(folder)]
    assert words[words.index("--tau") + 1] == "0.21"
    tab.findChild(object, "copy_python").click()
    code = QGuiApplication.clipboard().text()
    assert f"open_video({str(folder)!r})" in code
    assert "tau=0.21, height=180" in code
    assert len(remarks) == 2


def test_the_device_is_where_models_are_run(tab: TuneTab, bench: Workbench) -> None:
    tab.device.setCurrentText("cpu")
    tab.device.lineEdit().editingFinished.emit()
    assert bench.machine.device == "cpu"
    tab.device.setCurrentText("  ")
    tab.device.lineEdit().editingFinished.emit()
    assert bench.machine.device == "auto"


@pytest.mark.parametrize(
    ("file", "features", "flow", "model"),
    [
        ("dino_deitsmall16_pretrain.pth", "handmade", "dis", "dino"),
        ("anything.pth", "vit_tiny_patch16_224", "dis", "vit_tiny_patch16_224"),
        ("raft_small.pth", "handmade", "raft-small", "raft-small"),
        ("RAFT-things.pth", "handmade", "dis", "raft-large"),
    ],
)
def test_weights_go_to_the_model_that_their_file_names(
    tab: TuneTab, bench: Workbench, file: str, features: str, flow: str, model: str
) -> None:
    bench.set_parameters(HANDMADE.with_changes(features=features, flow=flow))
    tab.controller.give_weights(Path(file))
    assert bench.machine.weights == {model: Path(file)}


def test_the_gap_goes_as_far_as_the_video(tab: TuneTab, bench: Workbench, tmp_path: Path) -> None:
    bench.open(str(write_frames(tmp_path / "short", 6)))
    assert _controls(tab)["gap"].maximum() == 5
    assert bench.parameters == HANDMADE
    bench.set_parameters(HANDMADE.with_changes(gap=9))
    assert value_of(_controls(tab)["gap"]) == 9
