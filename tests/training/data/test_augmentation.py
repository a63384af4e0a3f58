from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_clips import ellipse, painted, seen
from torchvision.transforms.v2 import functional

from flowcut_napari.core.masks import mask_iou
from flowcut_training.data import DataParameters, LoadedClip, Sample
from flowcut_training.data.augmentation import (
    ClipDraw,
    FrameDraw,
    augment,
    draw_augmentation,
    draw_places,
    resize_frame,
    resize_mask,
    resized_size,
)

SIZE = (240, 426)
MASKS = (ellipse(SIZE, (130, 100), (80, 55)), ellipse(SIZE, (320, 140), (60, 50)))
PLAIN = DataParameters(flip=0, brightness=(1, 1), contrast=(1, 1), rotation=0)


def clip_of(*frames: tuple[np.ndarray | None, ...], size: tuple[int, int] = SIZE) -> LoadedClip:
    tracks = tuple(
        tuple(None if mask is None else mask.astype(np.uint8) for mask in track) for track in zip(*frames, strict=True)
    )
    return LoadedClip("clip 1 (made)", tuple(painted(frame, size) for frame in frames), tracks)


def sample_of(clip: LoadedClip, parameters: DataParameters, seed: int) -> Sample:
    draw = draw_augmentation(parameters, len(clip.frames), np.random.default_rng(seed))
    return augment(clip, parameters, draw)


def pictures_of(frames: torch.Tensor) -> np.ndarray:
    return frames.permute(0, 2, 3, 1).numpy()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    short=st.sampled_from([180, 240, 360]),
    per_frame=st.booleans(),
    rotation=st.sampled_from([0.0, 15.0, 45.0]),
)
def test_masks_stay_on_the_objects_of_the_frames(seed: int, short: int, per_frame: bool, rotation: float) -> None:
    parameters = DataParameters(short_side=short, max_side=640, rotation=rotation, per_frame=per_frame)
    sample = sample_of(clip_of(MASKS, MASKS), parameters, seed)
    assert sample.masks.shape[:2] == (2, 2)
    for place, frame in enumerate(pictures_of(sample.frames)):
        for number in range(2):
            assert mask_iou(sample.masks[number, place].numpy(), seen(frame, number)) > 0.98


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(8, 3000),
    width=st.integers(8, 3000),
    short=st.sampled_from([32, 360]),
    longest=st.sampled_from([360, 640]),
)
def test_the_short_side_is_as_wanted_unless_the_long_one_would_be_too_long(
    height: int, width: int, short: int, longest: int
) -> None:
    rows, columns = resized_size(height, width, short, longest)
    assert max(rows, columns) <= longest
    assert min(rows, columns) <= short
    assert min(rows, columns) == short or max(rows, columns) == longest
    scale = min(short / min(height, width), longest / max(height, width))
    assert abs(rows - height * scale) <= 0.5 or rows == 1
    assert abs(columns - width * scale) <= 0.5 or columns == 1


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((480, 854), (360, 640)), ((720, 1280), (360, 640)), ((1280, 720), (640, 360)), ((480, 640), (360, 480))],
)
def test_usual_sizes_become_those_of_the_paper(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert resized_size(*size, 360, 640) == wanted


def test_a_resized_frame_is_that_of_dense_antialiased_weights() -> None:
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (30, 50, 3), dtype=np.uint8)

    def weights(source: int, target: int) -> np.ndarray:
        scale = max(1.0, source / target)
        middles = (np.arange(target) + 0.5) * source / target
        distance = np.abs(np.arange(source) + 0.5 - middles[:, None]) / scale
        kernel = np.clip(1 - distance, 0, None)
        return kernel / kernel.sum(axis=1, keepdims=True)

    for size in ((12, 20), (45, 80), (30, 50)):
        expected = np.einsum("yh,xw,hwc->yxc", weights(30, size[0]), weights(50, size[1]), frame)
        assert np.abs(resize_frame(frame, size) - expected).max() <= 1.01


def test_a_read_only_frame_is_resized_and_left_as_it_is() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    before = frame.copy()
    frame.flags.writeable = False
    resize_frame(frame, (30, 50))
    assert np.array_equal(frame, before)


def test_a_resized_mask_does_not_move() -> None:
    mask = np.zeros((60, 100), dtype=np.uint8)
    mask[20:40, 30:70] = 1
    for size in ((36, 60), (90, 150), (17, 31)):
        rows, columns = np.nonzero(resize_mask(mask, size))
        assert abs((rows.mean() + 0.5) / size[0] - 0.5) < 0.02
        assert abs((columns.mean() + 0.5) / size[1] - 0.5) < 0.02


def test_flipping_mirrors_frames_and_masks() -> None:
    clip = clip_of(MASKS, MASKS)
    as_is = sample_of(clip, PLAIN, 0)
    mirrored = sample_of(clip, PLAIN.model_copy(update={"flip": 1.0}), 0)
    assert torch.equal(mirrored.frames, as_is.frames.flip(-1))
    assert torch.equal(mirrored.masks, as_is.masks.flip(-1))


@pytest.mark.parametrize(("brightness", "contrast"), [(1.1, 1.0), (0.9, 1.0), (1.0, 1.1), (1.0, 0.9), (3.0, 2.0)])
def test_brightness_and_contrast_are_those_of_the_reference_and_clipped(brightness: float, contrast: float) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    parameters = PLAIN.model_copy(update={"short_side": 64, "max_side": 96})
    draw = ClipDraw(False, (FrameDraw(brightness, contrast),))
    found = augment(LoadedClip("c", (frame,), ()), parameters, draw).frames[0].permute(1, 2, 0).numpy()
    # As it is blended there: with black, then with the mean over all pixels and channels.
    bright = np.clip(frame * brightness, 0, 255)
    expected = np.clip(bright * contrast + bright.mean() * (1 - contrast), 0, 255)
    assert np.abs(found - expected).max() <= 0.51


@pytest.mark.parametrize("angle", [-15.0, 7.5, 90.0])
def test_rotation_is_that_of_torchvision_with_black_around(angle: float) -> None:
    frame = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8), (0, 0), 3)
    parameters = PLAIN.model_copy(update={"short_side": 64, "max_side": 96})
    draw = ClipDraw(False, (FrameDraw(angle=angle, middle=(0.42, 0.57)),))
    found = augment(LoadedClip("c", (frame,), ()), parameters, draw).frames[0].numpy().astype(int)
    tensor = torch.from_numpy(frame).permute(2, 0, 1)
    expected = functional.rotate(
        tensor, angle, functional.InterpolationMode.BILINEAR, center=[0.42 * 96, 0.57 * 64]
    ).numpy()
    inside = cv2.erode((expected > 0).all(axis=0).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    assert inside.mean() > 0.4
    assert np.abs(found - expected)[:, inside].max() <= 3
    outside = functional.rotate(torch.ones(1, 64, 96), angle, center=[0.42 * 96, 0.57 * 64])[0].numpy() == 0
    outside = cv2.erode(outside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    assert found[:, outside].max(initial=0) == 0


def test_the_frames_of_a_clip_share_what_is_drawn_unless_it_is_drawn_for_each() -> None:
    still = clip_of(MASKS, MASKS, MASKS)
    shared = sample_of(still, DataParameters(), 5)
    own = sample_of(still, DataParameters(per_frame=True), 5)
    assert all(torch.equal(shared.frames[0], frame) for frame in shared.frames)
    assert not torch.equal(own.frames[0], own.frames[1])
    assert not torch.equal(own.masks[:, 0], own.masks[:, 1])
    for seed in range(20):
        drawn = draw_augmentation(DataParameters(per_frame=True), 3, np.random.default_rng(seed))
        assert len({how.angle for how in drawn.frames}) == 3
        assert len(set(draw_augmentation(DataParameters(), 3, np.random.default_rng(seed)).frames)) == 1


def test_what_is_drawn_covers_its_ranges_and_no_more() -> None:
    parameters = DataParameters(brightness=(0.5, 2), contrast=(0.8, 0.9), rotation=30)
    draws = [draw_augmentation(parameters, 2, np.random.default_rng(seed)) for seed in range(2000)]
    assert 0.45 < np.mean([draw.is_flipped for draw in draws]) < 0.55
    frames = [draw.frames[0] for draw in draws]
    for values, low, high in (
        ([how.brightness for how in frames], 0.5, 2),
        ([how.contrast for how in frames], 0.8, 0.9),
        ([how.angle for how in frames], -30, 30),
        ([how.middle[0] for how in frames], 0.4, 0.6),
        ([how.middle[1] for how in frames], 0.4, 0.6),
    ):
        assert low <= min(values) < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < max(values) <= high


def test_an_instance_that_is_turned_out_of_all_frames_is_dropped_and_of_one_is_kept() -> None:
    corner = np.zeros(SIZE, dtype=bool)
    corner[:12, :12] = True
    parameters = PLAIN.model_copy(update={"short_side": 240, "max_side": 426})
    turned, straight = FrameDraw(angle=15), FrameDraw()
    clip = clip_of((MASKS[0], corner), (MASKS[0], corner))
    assert len(augment(clip, parameters, ClipDraw(False, (turned, turned))).masks) == 1
    kept = augment(clip, parameters, ClipDraw(False, (turned, straight))).masks
    assert kept.any(dim=(2, 3)).tolist() == [[True, True], [False, True]]


def test_a_clip_may_end_up_without_instances() -> None:
    clip = replace(clip_of(MASKS, MASKS), tracks=((None, None),))
    sample = sample_of(clip, DataParameters(), 0)
    assert sample.masks.shape == (0, 2, 360, 639)
    assert sample.masks.dtype == torch.bool


def test_frames_are_drawn_without_repetition_in_order_and_all_alike_often() -> None:
    drawn = [draw_places(5, 2, np.random.default_rng(seed)) for seed in range(4000)]
    assert all(first < second for first, second in drawn)
    counts = np.array([drawn.count([i, j]) for i in range(5) for j in range(i + 1, 5)])
    assert abs(counts - 400).max() < 90
    assert draw_places(3, 3, np.random.default_rng(0)) == [0, 1, 2]
    assert draw_places(1, 3, np.random.default_rng(0)) == [0, 0, 0]
