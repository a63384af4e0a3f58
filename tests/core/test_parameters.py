from __future__ import annotations

import pytest
from pydantic import ValidationError

from flowcut_napari.core import CutParameters
from flowcut_napari.core.parameters import one_line


def test_the_defaults_are_those_of_the_paper() -> None:
    parameters = CutParameters()
    assert parameters == CutParameters.preset("flowcut")
    assert (parameters.alpha, parameters.tau, parameters.gap, parameters.max_instances) == (0.7, 0.15, 4, 3)
    assert (parameters.features, parameters.flow, parameters.flow_updates) == ("dino", "raft-large", 20)
    assert (parameters.height, parameters.width, parameters.crf) == (360, 640, True)


@pytest.mark.parametrize(
    ("name", "alpha", "tau", "instances"),
    [("locate", 0.7, 0.35, 1), ("maskcut", 1.0, 0.15, 3), ("tokencut", 1.0, 0.2, 1)],
)
def test_presets_hold_the_values_of_their_papers(name: str, alpha: float, tau: float, instances: int) -> None:
    parameters = CutParameters.preset(name)
    assert (parameters.alpha, parameters.tau, parameters.max_instances) == (alpha, tau, instances)


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown preset 'best': choose one of flowcut, .*handmade"):
        CutParameters.preset("best")


@pytest.mark.parametrize(
    "changes",
    [
        {"alpha": -0.1},
        {"alpha": 1.1},
        {"alpha": float("nan")},
        {"tau": 1.0},
        {"tau": -0.01},
        {"gap": 0},
        {"max_instances": 0},
        {"eps": 0},
        {"min_area": 1.0},
        {"flow": "farneback"},
        {"colour": "red"},
    ],
)
def test_values_out_of_range_are_refused_in_one_line(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        CutParameters(**changes)  # type: ignore[arg-type]
    text = one_line(caught.value)
    assert next(iter(changes)) in text
    assert "\n" not in text


def test_changes_are_validated_and_the_original_stays() -> None:
    parameters = CutParameters()
    assert parameters.with_changes(tau=0.3).tau == 0.3
    assert parameters.tau == 0.15
    with pytest.raises(ValidationError):
        parameters.with_changes(tau=2)
    with pytest.raises(ValidationError):
        parameters.tau = 0.3  # type: ignore[misc]


def test_a_portrait_frame_is_worked_at_upright() -> None:
    parameters = CutParameters()
    assert parameters.frame_size(480, 854) == (360, 640)
    assert parameters.frame_size(1280, 720) == (640, 360)
    assert parameters.frame_size(500, 500) == (360, 640)


def test_parameters_survive_json() -> None:
    parameters = CutParameters.preset("handmade").with_changes(alpha=0.42)
    assert CutParameters.model_validate_json(parameters.model_dump_json()) == parameters
