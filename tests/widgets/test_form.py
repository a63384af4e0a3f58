from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import pytest
from benches import application, value_of
from pydantic import BaseModel, Field

from flowcut_napari.core import CutParameters
from flowcut_napari.core.parameters import PresetName
from flowcut_napari.widgets.tune.controller import METHOD, MODELS, MORE
from flowcut_napari.widgets.tune.form import ModelForm, Range

FIELDS = CutParameters.model_fields
NUMBERS = [name for name, field in FIELDS.items() if field.annotation in (int, float)]


@pytest.fixture
def form() -> Iterator[ModelForm]:
    application()
    made = ModelForm(CutParameters, list(FIELDS), {"features": ["dino", "handmade"]})
    yield made
    made.deleteLater()


@pytest.fixture
def edits(form: ModelForm) -> list[tuple[str, Any]]:
    heard: list[tuple[str, Any]] = []
    form.edited.connect(lambda name, value: heard.append((name, value)))
    return heard


def test_the_forms_of_the_tab_hold_every_parameter_once() -> None:
    assert sorted([*METHOD, *MODELS, *MORE]) == sorted(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_every_control_says_what_it_is_what_it_may_be_and_what_it_is_at_first(form: ModelForm, name: str) -> None:
    control, field = form.controls[name], FIELDS[name]
    assert control.objectName() == name
    assert control.accessibleName() == field.title
    tip = control.toolTip()
    assert field.description is not None
    assert tip.lower().startswith(field.description.lower())
    if name in NUMBERS:
        bounds = Range.of(field)
        ends = f"From {bounds.least:g} to {bounds.limit:.6g}" if bounds.limit < 1e9 else f"{bounds.least:g} or more"
        assert ends in tip
        assert f"{field.default:g} if not chosen" in tip


@pytest.mark.parametrize("name", NUMBERS)
def test_the_bounds_of_a_number_are_those_of_its_field(name: str) -> None:
    bounds = Range.of(FIELDS[name])
    for value in (bounds.least, bounds.limit):
        CutParameters(**{name: FIELDS[name].annotation(value)})
    # So near to what is refused that nobody can tell.
    beyond = 1 if FIELDS[name].annotation is int else bounds.step + 1e-9
    with pytest.raises(ValueError, match=name):
        CutParameters(**{name: bounds.least - beyond})
    if bounds.limit < 1e9:
        with pytest.raises(ValueError, match=name):
            CutParameters(**{name: bounds.limit + beyond})


EXTREME = CutParameters(
    features="vit_small_patch16_224.dino",
    flow="raft-small",
    alpha=0.0,
    tau=0.995,
    gap=10_000,
    max_instances=50,
    min_area=0.9,
    max_overlap=1.0,
    crf=False,
    crf_min_iou=0.0,
    min_flow=12345.67,
    height=32,
    width=8192,
    flow_updates=100,
    eps=0.05,
)


@pytest.mark.parametrize("values", [*(CutParameters.preset(name) for name in get_args(PresetName)), EXTREME])
def test_values_are_shown_as_they_are_and_nobody_is_told(
    form: ModelForm, edits: list[Any], values: CutParameters
) -> None:
    form.show_values(values)
    for name, control in form.controls.items():
        expected = getattr(values, name)
        shown = value_of(control)
        assert shown == (pytest.approx(expected, abs=1e-6) if isinstance(expected, float) else expected), name
    assert edits == []


@pytest.mark.parametrize("name", NUMBERS)
def test_a_moved_control_tells_a_value_that_its_field_takes(form: ModelForm, edits: list[Any], name: str) -> None:
    # One is at its end if not chosen, and would tell nothing of going there.
    form.show_values(CutParameters(max_eigenvalue=0.5))
    control: Any = form.controls[name]
    kind = FIELDS[name].annotation
    for value in (control.maximum(), control.minimum()):
        control.setValue(value)
        (told_name, told) = edits[-1]
        assert (told_name, type(told)) == (name, kind)
        assert told == pytest.approx(value)
        CutParameters(**{name: told})
    assert len(edits) == 2


def test_a_slider_tells_round_numbers(form: ModelForm, edits: list[Any]) -> None:
    form.controls["tau"].setValue(0.1 + 0.2)  # type: ignore[attr-defined]
    assert edits == [("tau", 0.3)]


def test_boxes_and_lists_tell_what_is_chosen(form: ModelForm, edits: list[Any]) -> None:
    form.show_values(CutParameters())
    form.controls["crf"].click()  # type: ignore[attr-defined]
    flow: Any = form.controls["flow"]
    flow.setCurrentIndex(flow.findText("dis"))
    flow.activated.emit(flow.currentIndex())
    features: Any = form.controls["features"]
    features.setCurrentText("  vit_tiny_patch16_224 ")
    features.lineEdit().editingFinished.emit()
    assert edits == [("crf", False), ("flow", "dis"), ("features", "vit_tiny_patch16_224")]


def test_a_slider_widens_for_what_a_file_says_and_keeps_what_it_can_do(form: ModelForm) -> None:
    gap: Any = form.controls["gap"]
    assert gap.maximum() == 12
    form.show_values(CutParameters(gap=300))
    assert (gap.value(), gap.maximum()) == (300, 300)
    form.show_values(CutParameters(gap=3))
    assert gap.value() == 3


def test_any_model_makes_a_form() -> None:
    class Soup(BaseModel):
        salt: float = Field(0.5, gt=0, lt=1, description="how much salt")
        noodles: bool = Field(True, title="Noodles")
        kind: Literal["tomato", "pea"] = "pea"

    application()
    form = ModelForm(Soup, ["kind", "salt", "noodles"], {})
    form.show_values(Soup(salt=0.25, kind="tomato"))
    assert {name: value_of(control) for name, control in form.controls.items()} == {
        "kind": "tomato",
        "salt": 0.25,
        "noodles": True,
    }
    assert form.controls["salt"].toolTip().startswith("How much salt. From ")
