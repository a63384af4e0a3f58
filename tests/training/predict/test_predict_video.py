"""Instances of one video: equal to the slow way, whole or in windows."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from made_models import (
    COLOURS,
    SCORES,
    ArrayFrames,
    ColourModel,
    coloured_frames,
    random_frames,
    tiny_model,
    write_json,
)

from flowcut_napari.core.errors import InputError, WeightsError
from flowcut_napari.core.masks import decode_rle, encode_rle
from flowcut_training.data import open_clips, whole_clips
from flowcut_training.data.augmentation import resize_frame, resized_size
from flowcut_training.model.normalize import normalize, pad_to_stride
from flowcut_training.model.video_mask2former import VideoMask2Former
from flowcut_training.predict import PredictionParameters, Track, VideoPrediction, predict_video
from flowcut_training.predict.windows import link_windows, overlap_of, plan_windows

SMALL = PredictionParameters(short_side=64, max_side=128, top=4)


def slowly(model: VideoMask2Former, frames: ArrayFrames, short: int, longest: int, one_by_one: bool) -> tuple:
    """Return scores (Q,) and masks (Q, T, H, W) of all queries, by descending score: everything is enlarged."""
    size = resized_size(frames.height, frames.width, short, longest)
    padded = tuple(map(pad_to_stride, size))
    video = torch.zeros((frames.length, 3, *padded), dtype=torch.uint8)
    for place, frame in enumerate(frames.frames):
        video[place, :, : size[0], : size[1]] = torch.from_numpy(resize_frame(frame, size)).permute(2, 0, 1)
    inputs = normalize(video[None], [size])
    with torch.no_grad():
        if one_by_one:
            features, levels = zip(*(model.encode(inputs[:, place]) for place in range(frames.length)), strict=True)
            out = model.decode(torch.stack(features, 1), [torch.stack(level, 1) for level in zip(*levels, strict=True)])
        else:
            out = model(inputs)
        large = F.interpolate(out["pred_masks"][0], size=padded, mode="bilinear", align_corners=False)
        large = large[..., : size[0], : size[1]]
        own = F.interpolate(large, size=(frames.height, frames.width), mode="bilinear", align_corners=False)
    scores = out["pred_logits"][0].softmax(-1)[:, 0].numpy()
    order = np.argsort(-scores, kind="stable")
    return scores[order], (own > 0).numpy()[order]


def dense(prediction: VideoPrediction, frames: ArrayFrames) -> np.ndarray:
    empty = np.zeros((frames.height, frames.width), dtype=bool)
    return np.array(
        [[empty if code is None else decode_rle(code) for code in track.masks] for track in prediction.tracks]
    )


@pytest.mark.parametrize(
    "size",
    [(72, 96), (96, 50), (1, 200), (200, 1), (64, 64), (33, 190), (1, 1)],
    ids=lambda size: "x".join(map(str, size)),
)
@pytest.mark.parametrize("length", [1, 3])
def test_choosing_first_gives_to_the_bit_what_enlarging_everything_gives(size: tuple[int, int], length: int) -> None:
    model, frames = tiny_model(), random_frames(length, *size)
    found = predict_video(model, frames, SMALL)
    scores, masks = slowly(model, frames, 64, 128, one_by_one=True)
    assert [track.score for track in found.tracks] == scores[:4].tolist()
    assert np.array_equal(dense(found, frames), masks[:4])
    assert all(code is None or code["size"] == list(size) for track in found.tracks for code in track.masks)
    assert found.windows is None


def test_frames_encoded_one_by_one_give_what_the_network_gives_for_the_clip() -> None:
    model, frames = tiny_model(1), random_frames(5, 60, 100)
    found = predict_video(model, frames, SMALL)
    scores, masks = slowly(model, frames, 64, 128, one_by_one=False)
    assert [track.score for track in found.tracks] == pytest.approx(scores[:4].tolist(), abs=1e-5)
    assert (dense(found, frames) != masks[:4]).mean() < 1e-3


def test_masks_lie_where_things_are_also_where_frames_are_padded_and_resized() -> None:
    frames = coloured_frames(3, side=150)
    found = predict_video(ColourModel(), frames, PredictionParameters(short_side=100, max_side=128))
    assert [track.score for track in found.tracks] == pytest.approx(SCORES)
    for track, colour in zip(dense(found, frames), COLOURS, strict=True):
        truth = (frames.frames == colour).all(-1)
        assert (track & truth).sum() / max(1, (track | truth).sum()) > 0.75 or not truth.any()


def test_without_a_pixel_there_is_no_mask_and_a_track_stays() -> None:
    found = predict_video(ColourModel(), coloured_frames(4), SMALL)
    green = found.tracks[1]
    assert [code is None for code in green.masks] == [True, True, False, False]
    black = ArrayFrames(np.zeros((2, 40, 40, 3), dtype=np.uint8))
    assert [track.masks for track in predict_video(ColourModel(), black, SMALL).tracks] == [(None, None)] * 3


@pytest.mark.parametrize("top", [1, 2, 3, 50])
def test_at_most_top_instances_come_and_none_below_the_threshold(top: int) -> None:
    frames = coloured_frames(2)
    all_of_them = predict_video(ColourModel(), frames, SMALL.model_copy(update={"top": top}))
    assert [track.score for track in all_of_them.tracks] == pytest.approx(SCORES[:top])
    middle = all_of_them.tracks[0].score if top == 1 else all_of_them.tracks[1].score
    some = predict_video(ColourModel(), frames, SMALL.model_copy(update={"top": top, "threshold": middle}))
    assert len(some.tracks) == min(top, 2)  # at the threshold an instance stays


def test_equal_scores_stay_in_the_order_of_the_queries() -> None:
    model, frames = tiny_model(), random_frames(2, 64, 64)
    torch.nn.init.zeros_(model.query_decoder.class_embed.weight)
    found = predict_video(model, frames, SMALL)
    with torch.no_grad():
        model.num_queries = 10
    everything = predict_video(model, frames, SMALL.model_copy(update={"top": 10}))
    assert len({track.score for track in everything.tracks}) == 1
    assert found.tracks == everything.tracks[:4]


def test_several_classes_count_together_as_foreground() -> None:
    torch.manual_seed(0)
    from made_models import TINY

    model = VideoMask2Former(5, **TINY.model_dump()).eval()
    frames = random_frames(1, 64, 64)
    with torch.no_grad():
        logits = model(normalize(torch.from_numpy(frames.frames).permute(0, 3, 1, 2)[None]))["pred_logits"][0]
    wanted = sorted((1 - logits.softmax(-1)[:, -1]).tolist(), reverse=True)[:4]
    assert [track.score for track in predict_video(model, frames, SMALL).tracks] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_stays_in_its_mode_also_after_an_error(training: bool) -> None:
    model = tiny_model().train(training)
    predict_video(model, random_frames(1, 40, 40), SMALL)
    assert model.training is training
    assert model.backbone.training is training
    wrong = random_frames(2, 40, 40)
    wrong.height = 41
    with pytest.raises(InputError, match="frame 0 is 40x40x3"):
        predict_video(model, wrong, SMALL)
    assert model.training is training


def test_a_clip_of_the_data_side_is_a_video(tmp_path: Path) -> None:
    clips = whole_clips(open_clips(write_json(tmp_path, {4: 3, 9: 1})))
    for clip in clips:
        found = predict_video(tiny_model(), clip, SMALL)
        assert {len(track.masks) for track in found.tracks} == {clip.length}
        assert found == predict_video(tiny_model(), ArrayFrames(clip.frames()), SMALL)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("layer", ["class_embed.bias", "mask_embed.4.bias"])
def test_a_model_that_gives_no_numbers_is_refused_by_name(value: float, layer: str) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.query_decoder.get_parameter(layer)[0] = value
    with pytest.raises(WeightsError, match=r"^run/model\.safetensors: .*NaN"):
        predict_video(model, random_frames(2, 40, 40), SMALL, name="run/model.safetensors")


def test_bf16_is_near_float32_and_taken_where_it_is_asked_for() -> None:
    model, frames = tiny_model(), random_frames(2, 40, 40)
    exact, rough = (
        predict_video(model, frames, SMALL.model_copy(update={"precision": kind}), device="cpu")
        for kind in ("float32", "bf16")
    )
    scores = [sorted(track.score for track in found.tracks) for found in (exact, rough)]
    assert scores[0] != scores[1]
    assert scores[1] == pytest.approx(scores[0], abs=0.05)


@pytest.mark.parametrize(
    "wrong",
    [
        {"top": 0},
        {"threshold": 1.5},
        {"threshold": float("nan")},
        {"window": 1},
        {"window": -1},
        {"short_side": 8},
        {"max_side": 100},
        {"precision": "fp16"},
        {"colour": 1},
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PredictionParameters(**wrong)


@pytest.mark.parametrize(
    ("given_sides", "trained", "wanted"),
    [
        ((None, None), (None, None), (360, 1333)),
        ((None, None), (96, 160), (96, 160)),
        ((None, 200), (96, 160), (96, 200)),
        ((480, None), (96, 160), (480, 1333)),
        ((2000, None), (None, None), (2000, 2000)),
        ((480, 500), (96, 160), (480, 500)),
    ],
)
def test_sizes_come_from_the_options_then_the_model_then_the_reference(
    given_sides: tuple, trained: tuple, wanted: tuple
) -> None:
    short, longest = given_sides
    made = PredictionParameters.make(
        short_side=short,
        max_side=longest,
        trained_sides=trained,
        top=10,
        threshold=0.0,
        window=None,
        precision="auto",
    )
    assert (made.short_side, made.max_side) == wanted


# Windows

ALL = PredictionParameters(short_side=64, max_side=128)


@pytest.mark.parametrize("window", [5, 6, 100])
def test_a_window_as_long_as_the_video_is_the_whole_video(window: int) -> None:
    frames = random_frames(5, 50, 70)
    whole = predict_video(tiny_model(), frames, ALL.model_copy(update={"window": 0}))
    assert predict_video(tiny_model(), frames, ALL.model_copy(update={"window": window})) == whole


@pytest.mark.parametrize("length", [5, 9, 16, 23])
@pytest.mark.parametrize("window", [2, 3, 4, 8])
def test_windows_give_the_same_instances_where_frames_are_seen_alike(length: int, window: int) -> None:
    frames = coloured_frames(length)
    whole = predict_video(ColourModel(), frames, ALL)
    model = ColourModel()
    seen: list[int] = []
    frames.read.clear()
    parts = predict_video(model, frames, ALL.model_copy(update={"window": window}), on_frames=seen.append)
    if window >= length:
        assert parts == whole
        return
    assert parts.windows is not None
    assert (parts.windows.size, parts.windows.reason) == (window, "asked")
    assert model.lengths == [window] * parts.windows.count
    # Each frame is read and encoded once, though windows overlap.
    assert frames.read == list(range(length))
    assert seen == list(range(1, length + 1))
    assert np.array_equal(dense(parts, frames), dense(whole, frames))
    assert [track.score for track in parts.tracks] == pytest.approx(SCORES)


def test_the_score_over_windows_is_the_mean_weighted_by_their_frames() -> None:
    frames = coloured_frames(7)
    found = predict_video(ColourModel(shift=0.05), frames, ALL.model_copy(update={"window": 4}))
    assert found.windows is not None
    assert found.windows.count == 2  # frames 0 to 3 and 3 to 6; frame 3 is the later one's
    assert found.tracks[0].score == pytest.approx((3 * 0.9 + 4 * 0.85) / 7)


def test_where_memory_is_short_windows_come_by_themselves_and_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from flowcut_training.predict import memory
    from flowcut_training.predict.features import Sizes

    frames, model = coloured_frames(20), ColourModel()
    sizes = Sizes.of(frames, ALL.short_side, ALL.max_side)
    room = memory.encoding_bytes(model, sizes, 1) + 6.5 * memory.frame_bytes(model, sizes)
    monkeypatch.setattr(memory, "free_memory", lambda device: int(room / 0.8))
    found = predict_video(model, frames, ALL)
    assert found.windows is not None
    assert (found.windows.size, found.windows.reason) == (6, "memory")
    assert "for want of memory" in str(found.windows)
    assert predict_video(ColourModel(), frames, ALL.model_copy(update={"window": 0})).windows is None
    asked = predict_video(ColourModel(), frames, ALL.model_copy(update={"window": 4})).windows
    assert asked is not None
    assert (asked.size, asked.reason) == (4, "asked")


def test_after_running_out_of_memory_windows_become_smaller_until_they_fit() -> None:
    model = ColourModel(room=6)
    found = predict_video(model, coloured_frames(20), ALL)
    assert found.windows is not None
    assert (found.windows.size, found.windows.reason) == (5, "memory")  # 20, 10, 5
    assert set(model.lengths) == {5}
    red = predict_video(ColourModel(), coloured_frames(20), ALL).tracks[0]
    assert found.tracks[0].masks == red.masks


@pytest.mark.parametrize(("window", "advice"), [(0, "--window 0"), (None, "--short-side"), (2, "--short-side")])
def test_without_any_room_the_way_out_is_said(window: int | None, advice: str) -> None:
    model = ColourModel(room=1)
    with pytest.raises(InputError, match=rf"out of memory.*{advice}"):
        predict_video(model, coloured_frames(8), ALL.model_copy(update={"window": window}))


def test_other_errors_of_torch_are_not_taken_for_a_lack_of_memory() -> None:
    class Broken(ColourModel):
        def encode(self, frames: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        predict_video(Broken(), coloured_frames(3), ALL)


@given(length=st.integers(1, 200), window=st.integers(2, 60))
def test_windows_cover_a_video_and_overlap(length: int, window: int) -> None:
    windows = plan_windows(length, window)
    assert windows[0].start == 0
    assert windows[-1].stop == length
    assert {len(part) for part in windows} == {min(window, length)}
    for before, after in itertools.pairwise(windows):
        assert before.start < after.start
        assert before.stop - after.start >= overlap_of(window)
        if after is not windows[-1]:
            assert before.stop - after.start == overlap_of(window)


def boxes(places: list[int | None]) -> tuple:
    codes = []
    for place in places:
        mask = np.zeros((4, 40), dtype=bool)
        if place is not None:
            mask[:, place : place + 4] = True
        codes.append(encode_rle(mask) if mask.any() else None)
    return tuple(codes)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_linking_finds_the_tracks_that_windows_were_cut_from(data: st.DataObject) -> None:
    length = data.draw(st.integers(3, 24))
    window = data.draw(st.integers(2, length))
    windows = plan_windows(length, window)
    # Things of one width side by side that are there in every frame, in another order in every window.
    things = [boxes([9 * number] * length) for number in range(data.draw(st.integers(1, 4)))]
    scores = data.draw(st.lists(st.sampled_from([0.2, 0.5, 0.9]), min_size=len(things), max_size=len(things)))
    parts = []
    for part in windows:
        order = data.draw(st.permutations(range(len(things))))
        parts.append([Track(scores[k], things[k][part.start : part.stop]) for k in order])
    linked = link_windows(windows, parts, (4, 40))
    assert sorted((track.masks for track in linked), key=str) == sorted(things, key=str)
    assert [track.score for track in linked] == pytest.approx(sorted(scores, reverse=True))


def test_a_track_that_is_not_found_again_ends_with_its_window_and_a_new_one_begins_with_its_own() -> None:
    windows = plan_windows(6, 4)  # 0 to 3 and 2 to 5
    first, second = Track(0.8, boxes([0, 0, 0, 0])), Track(0.6, boxes([20, 20, 20, 20]))
    linked = link_windows(windows, [[first], [second]], (4, 40))
    assert [track.masks for track in linked] == [
        (*first.masks, None, None),
        (None, None, *second.masks),
    ]
    assert [track.score for track in linked] == pytest.approx([0.8, 0.6])


def test_an_overlap_of_half_does_not_link() -> None:
    windows = plan_windows(7, 4)
    half = np.zeros((4, 40), dtype=bool)
    half[:, :2] = True
    tracks = [[Track(0.9, boxes([0] * 4))], [Track(0.9, tuple([encode_rle(half)] * 4))]]
    assert len(link_windows(windows, tracks, (4, 40))) == 2
    half[0, 2] = True
    tracks[1] = [Track(0.9, tuple([encode_rle(half)] * 4))]
    assert len(link_windows(windows, tracks, (4, 40))) == 1


def test_windows_without_tracks_break_what_goes_through_them() -> None:
    windows = plan_windows(9, 3)
    parts = [[Track(0.5, boxes([0] * 3))] if number != 1 else [] for number in range(len(windows))]
    assert len(link_windows(windows, parts, (4, 40))) == 2
