from __future__ import annotations

import numpy as np
import pytest
from conftest import data_path
from hypothesis import given
from hypothesis import strategies as st

from flowcut_napari.core import InputError, flow_picture, open_video, partner_frame
from flowcut_napari.core.flow import DisFlow, RaftFlow
from flowcut_napari.core.weights import find_weights


@given(length=st.integers(1, 60), gap=st.integers(1, 80), data=st.data())
def test_a_partner_is_the_gap_later_or_earlier_or_the_farthest(length: int, gap: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, length - 1))
    partner = partner_frame(index, gap, length)
    if length == 1:
        assert partner is None
    elif index + gap < length:
        assert partner == index + gap
    elif index >= gap:
        assert partner == index - gap
    else:
        assert partner is not None
        assert abs(partner - index) == max(index, length - 1 - index)
        assert partner != index


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 30.0, 500.0])
def test_the_flow_picture_is_torchvisions(random: np.random.Generator, scale: float) -> None:
    import torch
    from torchvision.utils import flow_to_image

    flow = (scale * random.standard_normal((90, 160, 2))).astype(np.float32)
    expected = flow_to_image(torch.from_numpy(flow).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    assert np.array_equal(flow_picture(flow), expected)


def test_no_motion_is_white() -> None:
    assert flow_picture(np.zeros((4, 5, 2))).min() == 255


def test_a_minimum_magnitude_keeps_noise_pale(random: np.random.Generator) -> None:
    noise = 0.01 * random.standard_normal((60, 80, 2)).astype(np.float32)
    saturation = 255 - flow_picture(noise).min(axis=2).mean()
    calm = 255 - flow_picture(noise, min_magnitude=1.0).min(axis=2).mean()
    assert saturation > 40
    assert calm < 5
    fast = 5 * noise / np.abs(noise).max()
    assert np.array_equal(flow_picture(fast, min_magnitude=1.0), flow_picture(fast))


def test_a_fixed_maximum_makes_pictures_comparable() -> None:
    flow = np.zeros((1, 3, 2), np.float32)
    flow[0, :, 0] = (5, 10, 20)
    at_ten = flow_picture(flow, max_magnitude=10)
    assert np.array_equal(at_ten[0, 1], flow_picture(flow[:, :2])[0, 1])
    assert at_ten[0, 2].max() < 255  # faster than the maximum: darker


@pytest.mark.parametrize("bad", [np.zeros((4, 5)), np.zeros((4, 5, 3)), np.full((4, 5, 2), np.nan)])
def test_what_is_no_flow_field_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(InputError):
        flow_picture(bad)


def _shifted(size: tuple[int, int], shift: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    import cv2

    random = np.random.default_rng(0)
    canvas = cv2.GaussianBlur(random.integers(0, 255, (size[0] + 40, size[1] + 40, 3), dtype=np.uint8), (0, 0), 2)
    canvas = cv2.normalize(canvas, None, 0, 255, cv2.NORM_MINMAX)
    down, right = shift
    first = canvas[20 : 20 + size[0], 20 : 20 + size[1]]
    second = canvas[20 - down : 20 - down + size[0], 20 - right : 20 - right + size[1]]
    return np.ascontiguousarray(first), np.ascontiguousarray(second)


def test_dis_finds_a_shift() -> None:
    (flow,) = DisFlow().estimate([_shifted((120, 200), (3, 6))])
    assert flow.shape == (120, 200, 2)
    assert flow.dtype == np.float32
    assert np.median(flow.reshape(-1, 2), axis=0) == pytest.approx([6, 3], abs=0.3)


@pytest.mark.parametrize("size", [(90, 150), (128, 128), (133, 201)])
def test_raft_small_takes_pictures_of_any_size(size: tuple[int, int]) -> None:
    weights = find_weights(["raft-small"], {"raft-small": data_path("weights", "raft_small.pth")}, fetch=False)
    (flow,) = RaftFlow("raft-small", weights["raft-small"], updates=8).estimate([_shifted(size, (2, -5))])
    assert flow.shape == (*size, 2)
    assert np.median(flow.reshape(-1, 2), axis=0) == pytest.approx([-5, 2], abs=0.5)


def test_raft_equals_torchvisions_own_pipeline_on_a_real_pair() -> None:
    import torch
    from torchvision.models.optical_flow import Raft_Small_Weights, raft_small

    path = data_path("weights", "raft_small.pth")
    video = open_video(f"{data_path('data', 'davis16')}::car-shadow")
    pair = tuple(np.ascontiguousarray(video[index][:240, :320]) for index in (0, 4))
    weights = find_weights(["raft-small"], {"raft-small": path}, fetch=False)["raft-small"]
    (flow,) = RaftFlow("raft-small", weights, updates=5).estimate([pair])  # type: ignore[list-item]
    model = raft_small().eval()
    model.load_state_dict(torch.load(path, weights_only=True))
    first, second = (torch.from_numpy(picture).permute(2, 0, 1)[None] for picture in pair)
    first, second = Raft_Small_Weights.C_T_V2.transforms()(first, second)
    with torch.inference_mode():
        expected = model(first, second, num_flow_updates=5)[-1][0].permute(1, 2, 0).numpy()
    assert np.abs(flow - expected).max() < 1e-3
