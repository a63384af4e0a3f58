from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_masks import of_letters

from flowcut_napari.core import InputError, load_masks, save_masks
from flowcut_napari.core.decisions import (
    ClipVerdict,
    Decision,
    Decisions,
    HandMask,
    InstanceVerdict,
    Join,
    Relabel,
    Split,
    Stale,
    TrackletVerdict,
    describe_stale,
)
from flowcut_napari.core.rerun import carry_over
from flowcut_napari.core.store import VideoMasks

ALL: tuple[Decision, ...] = (
    ClipVerdict((0, 2), "reject", "ann", "2026-01-01T00:00:00Z"),
    InstanceVerdict((0, 1), "accept"),
    TrackletVerdict((1, 2), "reject"),
    Join((0, 1), (2, 2)),
    Split((1, 1)),
    Relabel((2, 1), 9),
)


@pytest.fixture
def masks() -> VideoMasks:
    return of_letters("AAAA.BBB", "AAAA.BBB", "AAAA.BBB")


def _with_tau(masks: VideoMasks, tau: float) -> VideoMasks:
    return replace(masks, parameters=masks.parameters.with_changes(tau=tau))


def test_every_kind_of_decision_survives_being_saved(masks: VideoMasks, tmp_path: Path) -> None:
    decided = masks.decide(*ALL).with_mask(1, np.eye(1, 8, dtype=bool))
    stale = Stale("0" * 32, HandMask(7, masks.frames[0].instances[0])), Stale("1" * 32, ALL[3])
    decided = replace(decided, decisions=replace(decided.decisions, stale=stale))
    save_masks(decided, tmp_path / "clip.masks.json")
    assert load_masks(tmp_path / "clip.masks.json") == decided


def test_only_what_is_there_can_be_decided_about(masks: VideoMasks) -> None:
    for decision, missing in (
        (ClipVerdict((0, 3), "reject"), "no frame 3"),
        (InstanceVerdict((0, 3), "reject"), "no instance 3 in frame 0"),
        (Join((0, 1), (5, 1)), "no frame 5"),
    ):
        with pytest.raises(InputError, match=missing):
            masks.decide(decision)


def test_masks_are_edited_and_drawn(masks: VideoMasks) -> None:
    mask = np.array([[True, True] + [False] * 6])
    edited = masks.with_mask(1, mask, 2)
    assert [instance.origin for instance in edited.frames[1].instances] == ["cut", "edited"]
    assert np.array_equal(edited.frames[1].instances[1].mask, mask)
    drawn = masks.with_mask(1, mask)
    assert [instance.id for instance in drawn.frames[1].instances] == [1, 2, 3]
    assert drawn.frames[1].instances[2].origin == "drawn"
    again = drawn.with_mask(1, ~mask, 3)
    assert again.frames[1].instances[2].origin == "drawn"
    assert masks.frames[1].instances[1].origin == "cut"


def test_the_number_of_a_drawn_mask_is_never_that_of_a_cut(masks: VideoMasks) -> None:
    more = replace(masks, parameters=masks.parameters.with_changes(max_instances=5))
    assert more.with_mask(0, np.ones((1, 8), bool)).frames[0].instances[-1].id == 6


@pytest.mark.parametrize(
    ("frame", "mask", "number", "message"),
    [
        (9, np.ones((1, 8), bool), None, "frame 9 has no masks to change"),
        (0, np.ones((1, 8), bool), 7, "frame 0 has no instance 7"),
        (0, np.ones((2, 8), bool), None, "1x8, and not empty; this one is bool, 2x8"),
        (0, np.ones((1, 8), np.uint8), None, "this one is uint8"),
        (0, np.zeros((1, 8), bool), 1, "not empty"),
    ],
)
def test_masks_that_do_not_fit_are_refused(
    masks: VideoMasks, frame: int, mask: np.ndarray, number: int | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        masks.with_mask(frame, mask, number)


def test_a_run_with_the_same_parameters_keeps_everything(masks: VideoMasks) -> None:
    decided = masks.with_mask(0, np.eye(1, 8, dtype=bool), 1).with_mask(2, np.eye(1, 8, dtype=bool)).decide(*ALL)
    assert carry_over(decided, masks) == decided


def test_a_run_with_others_makes_it_stale_and_the_first_parameters_bring_it_back(masks: VideoMasks) -> None:
    decided = masks.with_mask(0, np.eye(1, 8, dtype=bool), 1).decide(*ALL)
    other = carry_over(decided, _with_tau(masks, 0.3))
    assert other.frames == masks.frames
    assert other.decisions.made == ()
    assert {item.basis for item in other.decisions.stale} == {decided.basis}
    assert describe_stale(other.decisions.stale) == "6 decisions and 1 mask made by hand"
    assert other.has_hand_work()
    further = carry_over(other.decide(InstanceVerdict((0, 2), "reject")), _with_tau(masks, 0.2))
    assert describe_stale(further.decisions.stale) == "7 decisions and 1 mask made by hand"
    back = carry_over(further, masks)
    assert (back.frames, back.decisions.made) == (decided.frames, decided.decisions.made)
    assert [item.what for item in back.decisions.stale] == [InstanceVerdict((0, 2), "reject")]


def test_what_names_frames_that_a_new_run_left_out_waits_for_them(masks: VideoMasks) -> None:
    decided = masks.with_mask(2, np.eye(1, 8, dtype=bool), 1).decide(*ALL)
    fewer = carry_over(decided, replace(masks, frames=masks.frames[:2]))
    assert fewer.decisions.made == (ALL[1], ALL[2], ALL[4])
    assert len(fewer.decisions.stale) == 4
    whole = carry_over(fewer, masks)
    assert whole.frames == decided.frames
    assert set(whole.decisions.made) == set(decided.decisions.made)
    assert whole.decisions.stale == ()


def test_another_video_or_model_under_the_same_name_makes_it_stale(masks: VideoMasks) -> None:
    decided = masks.decide(ALL[1])
    other_video = replace(masks, video=replace(masks.video, fingerprint="other"))
    other_model = replace(masks, provenance={**masks.provenance, "flow": {"name": "dis", "sha256": "x"}})
    for new in (other_video, other_model):
        assert carry_over(decided, new).decisions.made == ()
    elsewhere = replace(masks, provenance={**masks.provenance, "created": "later", "device": "cuda"})
    assert carry_over(decided, elsewhere).decisions.made == (ALL[1],)


def test_decisions_beside_masks_that_were_exchanged_are_stale(masks: VideoMasks, tmp_path: Path) -> None:
    path = tmp_path / "clip.masks.json"
    save_masks(masks.decide(ALL[1]), path)
    content = json.loads(path.read_text())
    content["parameters"]["tau"] = 0.3
    path.write_text(json.dumps(content))
    loaded = load_masks(path)
    assert loaded.decisions == Decisions((), (Stale(masks.basis, ALL[1]),))


def _broken(**changes: Any) -> dict[str, Any]:
    good = {"kind": "instance", "instance": [0, 1], "verdict": "accept", "by": "", "at": ""}
    return {**good, **changes}


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        (_broken(kind="vote"), "a decision of the kind 'vote'"),
        (_broken(instance=[0]), "not enough values"),
        (_broken(instance=[0, "1"]), "'1' where a whole number belongs"),
        (_broken(instance=[0, True]), "True where a whole number belongs"),
        (_broken(instance=[7, 1]), "a decision about frame 7, which is not there"),
        (_broken(instance=[0, 5]), "a decision about instance 5 in frame 0"),
        (_broken(verdict="maybe"), "the verdict 'maybe'"),
        (_broken(by=3), "3 where a text belongs"),
        (_broken(more=1), "with the fields"),
        ({"kind": "instance"}, "with the fields"),
        ({"kind": "identity", "instance": [0, 1], "identity": 0, "by": "", "at": ""}, "identities start at 1"),
        ({"kind": "join", "first": [1, 1], "second": [0, 1], "by": "", "at": ""}, "is not before"),
    ],
)
def test_damaged_decisions_are_refused_in_one_line(
    masks: VideoMasks, tmp_path: Path, decision: dict[str, Any], message: str
) -> None:
    path = tmp_path / "clip.masks.json"
    save_masks(masks, path)
    content = json.loads(path.read_text())
    content["decisions"] = {"basis": masks.basis, "made": [decision], "stale": []}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as caught:
        load_masks(path)
    assert "\n" not in str(caught.value)
