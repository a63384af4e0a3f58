from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from flowcut_napari.core import InputError
from flowcut_napari.core.masks import (
    _runs,
    check_rle,
    decode_rle,
    encode_rle,
    mask_iou,
    rle_box,
    rle_iou_matrix,
)


def test_masks_survive_encoding(random: np.random.Generator) -> None:
    for shape in ((1, 1), (7, 13), (64, 3)):
        for density in (0.0, 0.3, 1.0):
            mask = random.random(shape) < density
            encoded = encode_rle(mask)
            assert isinstance(encoded["counts"], str)
            assert encoded["size"] == list(shape)
            assert np.array_equal(decode_rle(encoded), mask)
            assert check_rle(encoded) == mask.sum()


def test_the_box_is_x_y_width_height() -> None:
    mask = np.zeros((20, 30), bool)
    mask[4:9, 10:13] = True
    assert rle_box(encode_rle(mask)) == [10, 4, 3, 5]


def test_ious_of_encoded_masks_equal_those_of_pixels(random: np.random.Generator) -> None:
    first, second = random.random((3, 12, 9)) < 0.5, random.random((2, 12, 9)) < 0.4
    matrix = rle_iou_matrix([encode_rle(mask) for mask in first], [encode_rle(mask) for mask in second])
    assert matrix == pytest.approx(np.array([[mask_iou(a, b) for b in second] for a in first]))
    assert rle_iou_matrix([], [encode_rle(second[0])]).shape == (0, 1)


def test_two_empty_masks_have_no_overlap() -> None:
    assert mask_iou(np.zeros((3, 3), bool), np.zeros((3, 3), bool)) == 0


def test_runs_that_stop_short_are_refused() -> None:
    short = encode_rle(np.eye(10, dtype=bool))
    with pytest.raises(InputError, match="do not fill 100x100"):
        decode_rle({"size": [100, 100], "counts": short["counts"]})


@pytest.mark.parametrize("broken", [{"size": [4, 4]}, {"size": [4], "counts": "11"}, {"size": [4, 4], "counts": 5}])
def test_damaged_encodings_are_refused(broken: dict[str, object]) -> None:
    with pytest.raises(InputError):
        decode_rle(broken)  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(mask=arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_the_runs_of_a_mask_are_read_as_pycocotools_writes_them(mask: np.ndarray) -> None:
    assert check_rle(encode_rle(mask)) == mask.sum()
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate(([0], changes, [flat.size])))
    expected = ([0] if flat[0] else []) + runs.tolist()
    assert _runs(encode_rle(mask)["counts"]).tolist() == expected


def test_runs_of_large_pictures_are_read() -> None:
    mask = np.zeros((2160, 3840), bool)
    mask[5:2000, 7:3000] = True
    assert check_rle(encode_rle(mask)) == mask.sum()


@settings(max_examples=200, deadline=None)
@given(counts=st.text(st.characters(min_codepoint=30, max_codepoint=130), max_size=12))
def test_runs_that_do_not_fill_the_mask_are_refused_and_never_read_memory(counts: str) -> None:
    try:
        area = check_rle({"size": [6, 7], "counts": counts})
    except (InputError, UnicodeEncodeError):
        return
    decoded = coco.decode({"size": [6, 7], "counts": counts.encode()})
    assert decoded.sum() == area
