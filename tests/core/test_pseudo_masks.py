from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import write_frames

from flowcut_napari.core import ArrayCache, CutParameters, FrameDescriber, open_video, segment_frame
from flowcut_napari.core.bench import synthetic_features
from flowcut_napari.core.description import FrameDescription
from flowcut_napari.core.features import HandmadeFeatures, View
from flowcut_napari.core.flow import DisFlow
from flowcut_napari.core.refine import FrameCrf, crf_is_available


class _Counting:
    """A model that counts what it was asked for."""

    def __init__(self, model: DisFlow | HandmadeFeatures) -> None:
        self.model, self.asked = model, 0
        self.name, self.identity = model.name, getattr(model, "identity", "")

    def identity_of(self, view: View) -> str:
        return self.model.identity_of(view)  # type: ignore[union-attr]

    def grid(self, height: int, width: int) -> tuple[int, int]:
        return self.model.grid(height, width)  # type: ignore[union-attr]

    def estimate(self, pairs: list) -> list[np.ndarray]:
        self.asked += len(pairs)
        return self.model.estimate(pairs)  # type: ignore[union-attr]

    def encode(self, views: list) -> list[np.ndarray]:
        self.asked += len(views)
        return self.model.encode(views)  # type: ignore[union-attr]


PARAMETERS = CutParameters.preset("handmade").with_changes(gap=4, height=96, width=128, crf=False)


def _description(size: tuple[int, int] = (360, 640)) -> FrameDescription:
    grid = (22, 40)
    rgb, motion = synthetic_features(grid)
    picture = np.random.default_rng(0).integers(0, 255, (360, 640, 3), dtype=np.uint8)
    return FrameDescription(3, size, picture, grid, rgb, 7, None, motion)


def test_masks_are_disjoint_in_the_size_of_the_video_and_tell_their_story() -> None:
    for size in ((360, 640), (480, 854), (200, 300)):
        parameters = CutParameters(crf=False, max_instances=6)
        frame = segment_frame(_description(size), parameters)
        assert (frame.index, frame.partner) == (3, 7)
        assert len(frame.instances) >= 2
        masks = [instance.mask for instance in frame.instances]
        assert {mask.shape for mask in masks} == {size}
        assert np.sum(masks, axis=0).max() == 1
        for instance, mask in zip(frame.instances, masks, strict=True):
            assert instance.area == mask.sum()
            rows, cols = np.nonzero(mask)
            assert instance.bbox == [cols.min(), rows.min(), np.ptp(cols) + 1, np.ptp(rows) + 1]
            assert instance.crf_iou is None
            assert instance.origin == "cut"
        assert frame.stop in ("duplicate", "too_small")
        assert frame.rejected[-1].reason == frame.stop
        assert len(frame.cuts) == len(frame.instances) + 1


@pytest.mark.skipif(not crf_is_available(), reason="pydensecrf2 is not installed")
def test_a_mask_that_the_crf_turns_into_something_else_is_dropped_with_its_iou() -> None:
    description = _description()
    first = segment_frame(description, CutParameters(crf=False)).instances[0].mask
    # A picture whose only edge has nothing to do with the cuts.
    description.picture[:] = 20
    description.picture[:, 320:] = 230
    frame = segment_frame(description, CutParameters(crf=True, max_instances=1))
    if frame.instances:
        pytest.fail("the picture was made so that no mask survives")
    (rejected,) = frame.rejected
    assert rejected.reason in ("crf_iou", "empty")
    assert rejected.iou is not None
    assert rejected.iou < 0.5
    assert first.any()


@pytest.mark.skipif(not crf_is_available(), reason="pydensecrf2 is not installed")
def test_a_mask_is_judged_by_what_the_crf_made_of_it_not_by_what_others_left(monkeypatch: pytest.MonkeyPatch) -> None:
    # The second cut spills all over the first when refined. Less what the first keeps it would look like itself again.
    description, parameters = _description(), CutParameters(crf=True, max_instances=2, min_area=0)
    first, second = segment_frame(description, parameters.with_changes(crf=False)).instances
    calls = []

    def refine(_: FrameCrf, mask: np.ndarray, pause: object = None) -> np.ndarray:
        calls.append(mask)
        return mask if len(calls) == 1 else mask | first.mask | np.roll(first.mask, 40, axis=1)

    monkeypatch.setattr(FrameCrf, "refine", refine)
    frame = segment_frame(description, parameters)
    assert [instance.id for instance in frame.instances] == [1]
    (rejected,) = frame.rejected
    assert rejected.reason == "crf_iou"
    spill = second.mask | first.mask | np.roll(first.mask, 40, axis=1)
    assert rejected.iou == pytest.approx(second.mask.sum() / spill.sum())


def test_the_cache_is_asked_first_and_changes_nothing(tmp_path: Path) -> None:
    video = open_video(write_frames(tmp_path / "clip", 8, (96, 128)))
    results = []
    for cache in (None, ArrayCache(tmp_path / "cache"), ArrayCache(tmp_path / "cache")):
        features, flow = _Counting(HandmadeFeatures()), _Counting(DisFlow())
        describer = FrameDescriber(PARAMETERS, features, flow, cache)
        results.append(list(describer.describe(video, range(8))))
        asked = (features.asked, flow.asked)
    assert asked == (0, 0)
    for first, *others in zip(*results, strict=True):
        for other in others:
            assert np.array_equal(first.rgb, other.rgb)
            assert np.array_equal(first.flow, other.flow)
            assert np.array_equal(first.motion, other.motion)


def test_a_changed_gap_computes_the_flow_anew_and_keeps_the_picture(tmp_path: Path) -> None:
    video, cache = open_video(write_frames(tmp_path / "clip", 8, (96, 128))), ArrayCache(tmp_path / "cache")
    for gap, asked in ((4, (16, 8)), (2, (8, 8)), (4, (0, 0))):
        features, flow = _Counting(HandmadeFeatures()), _Counting(DisFlow())
        list(FrameDescriber(PARAMETERS.with_changes(gap=gap), features, flow, cache).describe(video, range(8)))
        # With gap 2 only the flow is new: frames 6 and 7 look back and share no pair with gap 4.
        assert (features.asked, flow.asked) == asked


def test_batches_describe_the_same(tmp_path: Path) -> None:
    video = open_video(write_frames(tmp_path / "clip", 7, (96, 128)))
    single, batched = (
        list(FrameDescriber(PARAMETERS, HandmadeFeatures(), DisFlow(), batch=batch).describe(video, [0, 2, 3, 6]))
        for batch in (1, 3)
    )
    assert [(item.index, item.partner) for item in batched] == [(0, 4), (2, 6), (3, 6), (6, 2)]
    for one, other in zip(single, batched, strict=True):
        assert (one.index, one.partner) == (other.index, other.partner)
        assert np.array_equal(one.motion, other.motion)


def test_with_alpha_one_no_flow_is_computed(tmp_path: Path) -> None:
    video = open_video(write_frames(tmp_path / "clip", 3, (96, 128)))
    describer = FrameDescriber(PARAMETERS.with_changes(alpha=1), HandmadeFeatures(), None)
    (item,) = describer.describe(video, [1])
    assert (item.partner, item.flow, item.motion) == (None, None, None)
