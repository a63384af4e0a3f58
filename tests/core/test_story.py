from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flowcut_napari.core import CutParameters, iterative_cut
from flowcut_napari.core.bench import synthetic_features
from flowcut_napari.core.ncut import Cut, IterativeCut
from flowcut_napari.core.pseudo_masks import FrameMasks, Instance, Rejected
from flowcut_napari.core.story import tell_cut, tell_mask, tell_rejected, tell_stop

PARAMETERS = CutParameters(max_instances=3, max_overlap=0.5, min_area=0.01, crf_min_iou=0.5)


def _cut(iteration: int, columns: slice, overlap: float = 0.0, eigengap: float = 0.2) -> Cut:
    mask = np.zeros((10, 10), dtype=bool)
    mask[:, columns] = True
    return Cut(iteration, mask, mask, mask.astype(float), (0, columns.start), 0.123456, eigengap, overlap)


FIRST, SECOND = _cut(1, slice(0, 4)), _cut(2, slice(6, 8))


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (IterativeCut((FIRST,) * 3, "max_instances"), "stopped after 3: that is as many as asked for"),
        (
            IterativeCut((FIRST, SECOND), "duplicate", _cut(3, slice(0, 5), overlap=0.8)),
            "stopped after 2: the third cut covers 100% of mask 1 again (IoU 0.80, above 0.5)",
        ),
        (
            IterativeCut((FIRST, SECOND), "duplicate", _cut(3, slice(7, 8), overlap=0.6)),
            "stopped after 2: the third cut covers 50% of mask 2 again (IoU 0.60, above 0.5)",
        ),
        (
            IterativeCut((FIRST,), "too_small", _cut(2, slice(0, 0))),
            "stopped after 1: the second cut covers 0.00% of the patches, not more than 1.00%",
        ),
        (
            IterativeCut((), "degenerate", _cut(1, slice(0, 4), eigengap=3e-9)),
            "stopped after 0: the first cut has no definite direction (eigengap 3.0e-09), any split would do as well",
        ),
        (IterativeCut((FIRST,), "too_small"), "stopped after 1: every patch is in a mask"),
        (IterativeCut((FIRST,) * 11, "degenerate", _cut(12, slice(0, 4))), "the 12th cut has no definite direction"),
    ],
)
def test_the_end_of_the_cuts_is_told_with_its_numbers(result: IterativeCut, words: str) -> None:
    text = tell_stop(result, PARAMETERS)
    assert words in text
    assert "\n" not in text


def test_every_way_that_real_cuts_stop_has_its_words() -> None:
    grid = (22, 40)
    rgb, motion = synthetic_features(grid)
    stops = {}
    for changes in ({"max_instances": 1}, {"max_instances": 50}, {"max_instances": 50, "max_overlap": 1.0}):
        parameters = PARAMETERS.with_changes(**changes)
        result = iterative_cut(rgb, motion, grid, parameters)
        stops[result.stop] = tell_stop(result, parameters)
        assert stops[result.stop].startswith(f"stopped after {len(result.cuts)}: ")
    assert len(stops) >= 2
    assert len(set(stops.values())) == len(stops)


def test_a_cut_is_told_in_shares_and_numbers() -> None:
    assert tell_cut(SECOND) == "20.0% of the patches, λ₂ 0.123, gap 0.2"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"reason": "crf_iou", "iou": 0.31}, "dropped: IoU 0.31 before and after the CRF, below 0.5"),
        # Its own IoU is good; it fell by what earlier masks had taken.
        ({"reason": "crf_iou", "iou": 0.9}, "what earlier masks leave of it has an IoU below 0.5"),
        ({"reason": "crf_iou", "iou": None}, "what earlier masks leave of it has an IoU below 0.5"),
        ({"reason": "empty", "iou": 0.0}, "dropped: the CRF left nothing of it"),
        ({"reason": "duplicate", "iou": 0.756}, "refused: repeats an earlier cut (IoU 0.76)"),
        ({"reason": "too_small", "share": 0.0042}, "refused: 0.42% of the patches is too small"),
        ({"reason": "degenerate"}, "refused: no definite direction"),
    ],
)
def test_every_reason_to_reject_a_cut_has_its_words(given: dict[str, Any], words: str) -> None:
    fields = {"iteration": 2, "share": 0.1, "iou": None, "eigenvalue": 0.1, "eigengap": 0.1, "seed": (0, 0), **given}
    assert words in tell_rejected(Rejected(**fields), PARAMETERS)


def test_what_became_of_a_cut_is_its_mask_or_why_there_is_none() -> None:
    mask = np.ones((30, 50), dtype=bool)
    kept = Instance.of_mask(1, mask, "cut")
    refined = Instance(**{**vars(kept), "id": 2, "iteration": 2, "crf_iou": 0.876})
    lost = Rejected(3, "empty", 0.0, 0.0, 0.1, 0.1, (0, 0))
    unrefined = Instance(**{**vars(kept), "iteration": 1})
    masks = FrameMasks(0, None, "max_instances", (unrefined, refined), (lost,))
    assert tell_mask(masks, 1, PARAMETERS) == "mask 1: 1,500 px, not refined"
    assert tell_mask(masks, 2, PARAMETERS) == "mask 2: 1,500 px, IoU with the raw cut 0.88"
    assert tell_mask(masks, 3, PARAMETERS) == "dropped: the CRF left nothing of it"
    assert tell_mask(masks, 4, PARAMETERS) == "no mask"
