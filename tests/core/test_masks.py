from __future__ import annotations

import numpy as np
import pytest

from flowcut_napari.core import InputError
from flowcut_napari.core.masks import decode_rle, encode_rle, mask_iou, rle_area, rle_box, rle_iou_matrix


def test_masks_survive_encoding(random: np.random.Generator) -> None:
    for shape in ((1, 1), (7, 13), (64, 3)):
        for density in (0.0, 0.3, 1.0):
            mask = random.random(shape) < density
            encoded = encode_rle(mask)
            assert isinstance(encoded["counts"], str)
            assert encoded["size"] == list(shape)
            assert np.array_equal(decode_rle(encoded), mask)
            assert rle_area(encoded) == mask.sum()


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
