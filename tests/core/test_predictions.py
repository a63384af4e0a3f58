"""Predictions read from disk: a file that is not what it should be is one clear line; painting is METHOD 9.3."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_frames
from hypothesis import given
from hypothesis import strategies as st
from made_predictions import SIZE, box, change, change_result, made_video, write_prediction
from made_results import write_indexed

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.masks import decode_rle, encode_rle
from flowcut_napari.core.prediction_files import read_prediction
from flowcut_napari.core.predictions import FALSE, HIT, MISS, NOTHING, Prediction, differences
from flowcut_napari.core.video import Video, open_video

FIRST, SECOND = box(5, 5, 20, 20), box(15, 15, 20, 30)


@pytest.fixture
def video(tmp_path: Path) -> Video:
    return made_video(tmp_path)


@pytest.fixture
def folder(tmp_path: Path, video: Video) -> Path:
    """A prediction of two overlapping tracks, the worse one written first."""
    return write_prediction(
        tmp_path / "out", video, [(0.4, [SECOND] * 4), (0.9, [FIRST, None, FIRST, np.zeros(SIZE, bool)])]
    )


# Hostile files.


def _no_list(folder: Path) -> None:
    (folder / "results.json").write_text("{}")


def _cut_off(folder: Path) -> None:
    path = folder / "results.json"
    path.write_text(path.read_text()[:-20])


def _no_results(folder: Path) -> None:
    (folder / "results.json").unlink()


def _no_videos(folder: Path) -> None:
    (folder / "videos.json").unlink()


def _not_a_number(folder: Path) -> None:
    path = folder / "results.json"
    path.write_text(path.read_text().replace("0.4", "NaN"))


def _more_after_the_end(folder: Path) -> None:
    path = folder / "results.json"
    path.write_text(path.read_text() + "[]")


def _deep(folder: Path) -> None:
    (folder / "results.json").write_text("[" * 100_000)


def _short_runs(folder: Path) -> None:
    code = dict(encode_rle(FIRST))
    change_result(folder, segmentations=[{**code, "counts": code["counts"][:-2]}, None, None, None])


def _long_runs(folder: Path) -> None:
    code = encode_rle(np.ones((4800, 6400), bool))
    change_result(folder, segmentations=[{"size": list(SIZE), "counts": code["counts"]}, None, None, None])


def _other_size(folder: Path) -> None:
    code = encode_rle(np.ones((8, 9), bool))
    change_result(folder, segmentations=[dict(code), None, None, None])


HOSTILE: list[tuple[str, Callable[[Path], None], str]] = [
    ("no list", _no_list, "results.json"),
    ("cut off", _cut_off, "results.json"),
    ("no results", _no_results, "results.json: no such file"),
    ("no videos.json", _no_videos, "videos.json: no such file"),
    ("NaN", _not_a_number, "NaN"),
    ("more after the end", _more_after_the_end, "goes on after its end"),
    ("deep", _deep, "results.json"),
    ("runs too short", _short_runs, "a mask cannot be decoded"),
    ("runs too long", _long_runs, "runs do not fill"),
    ("mask of another size", _other_size, "9x8"),
    ("score above 1", lambda folder: change_result(folder, score=1.5), "1.5"),
    ("score below 0", lambda folder: change_result(folder, score=-0.1), "-0.1"),
    ("score a text", lambda folder: change_result(folder, score="0.5"), "its score"),
    ("score a truth", lambda folder: change_result(folder, score=True), "its score"),
    ("score null", lambda folder: change_result(folder, score=None), "its score"),
    ("score infinite", lambda folder: change_result(folder, score=1e999), "results.json"),
    ("masks missing", lambda folder: change_result(folder, segmentations=[None, None]), "2 masks for 4 frames"),
    ("no masks", lambda folder: change_result(folder, segmentations=None), "no list of masks"),
    ("mask a number", lambda folder: change_result(folder, segmentations=[3, None, None, None]), "run-length"),
    ("id a text", lambda folder: change_result(folder, video_id="1"), "none of a video"),
    ("schema", lambda folder: change(folder / "prediction.json", schema="flowcut.prediction/9"), "prediction/9"),
    ("lists no videos", lambda folder: change(folder / "videos.json", videos=[]), "no videos"),
    ("a video without a name", lambda folder: change(folder / "videos.json", videos=[{"id": 1}]), "no name"),
    ("a list for a video", lambda folder: change(folder / "videos.json", videos=[[]]), "no name"),
]


@pytest.mark.parametrize(("spoil", "says"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_what_cannot_be_used_is_one_line(video: Video, folder: Path, spoil: Callable[[Path], None], says: str) -> None:
    assert read_prediction(folder, video).tracks
    spoil(folder)
    with pytest.raises(InputError) as caught:
        read_prediction(folder, video)
    text = str(caught.value)
    assert says in text
    assert "\n" not in text and text.isprintable()
    assert str(folder) in text


def test_a_folder_without_predictions_says_what_to_give(tmp_path: Path, video: Video) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_prediction(tmp_path / "nowhere", video)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="flowcut predict -o"):
        read_prediction(tmp_path / "empty", video)


def test_frames_are_not_taken_for_predictions(tmp_path: Path, video: Video) -> None:
    assert video.path.parent == tmp_path
    with pytest.raises(InputError, match=r"00000\.png: a photograph"):
        read_prediction(tmp_path, video)


def test_predictions_of_another_video_name_both(tmp_path: Path, folder: Path) -> None:
    other = open_video(write_frames(tmp_path / "dog", 4, SIZE))
    with pytest.raises(InputError, match=r"predictions for clip; the video that is open is dog"):
        read_prediction(folder, other)


def test_the_same_name_of_another_size_is_refused(tmp_path: Path, folder: Path) -> None:
    other = open_video(write_frames(tmp_path / "other" / "clip", 4, (50, 70)))
    with pytest.raises(InputError, match=r"64x48.*70x50"):
        read_prediction(folder, other)


def test_a_frame_that_the_video_has_not_is_named(tmp_path: Path, folder: Path) -> None:
    shorter = open_video(write_frames(tmp_path / "other" / "clip", 3, SIZE))
    with pytest.raises(InputError, match=r"has no frame 'clip/00003.png'"):
        read_prediction(folder, shorter)


def test_frames_out_of_order_are_refused(tmp_path: Path, video: Video) -> None:
    folder = write_prediction(tmp_path / "p", video, [(0.5, [FIRST, FIRST])], frames=[2, 1])
    with pytest.raises(InputError, match="not in their order"):
        read_prediction(folder, video)


# What is read.


def test_tracks_come_by_falling_score_and_equal_ones_in_their_order(tmp_path: Path, video: Video) -> None:
    masks = [box(place, place, 4, 4) for place in range(4)]
    folder = write_prediction(
        tmp_path / "p", video, [(score, [masks[place]] * 4) for place, score in enumerate((0.5, 0.9, 0.5, 1))]
    )
    read = read_prediction(folder, video)
    assert [(track.id, track.score) for track in read.tracks] == [(1, 1.0), (2, 0.9), (3, 0.5), (4, 0.5)]
    for track, place in zip(read.tracks, (3, 1, 0, 2), strict=True):
        assert np.array_equal(read.paint(0, 0.0) == track.id, _top(masks, [3, 1, 0, 2], place))


def _top(masks: list[np.ndarray], order: list[int], place: int) -> np.ndarray:
    """Return what is seen of a mask under those that come before it in an order."""
    seen = masks[place].copy()
    for better in order[: order.index(place)]:
        seen &= ~masks[better]
    return seen


def test_what_the_prediction_says_of_itself_is_read(folder: Path, video: Video) -> None:
    read = read_prediction(folder, video)
    assert (read.step, read.windows, read.seconds, read.model) == (7, 1, 0.5, "/runs/a/model.safetensors")
    assert read.frames == (0, 1, 2, 3)
    assert [track.seen for track in read.tracks] == [2, 4]  # an empty mask is none
    change(folder / "prediction.json", videos=[{"name": "clip", "windows": {"count": 3, "size": 4}, "seconds": None}])
    again = read_prediction(folder, video)
    assert (again.windows, again.seconds) == (3, None)


def test_results_without_our_own_description_are_read_too(folder: Path, video: Video) -> None:
    (folder / "prediction.json").unlink()
    assert len(read_prediction(folder, video).tracks) == 2


def test_of_many_videos_the_one_that_is_open_is_taken(tmp_path: Path, video: Video) -> None:
    first = write_prediction(tmp_path / "a", video, [(0.5, [FIRST] * 4)], number=7)
    other = made_video(tmp_path / "more", name="dog")
    second = write_prediction(tmp_path / "b", other, [(0.6, [SECOND] * 4)], number=2)
    both = json.loads((second / "results.json").read_text()) + json.loads((first / "results.json").read_text())
    (first / "results.json").write_text(json.dumps(both))
    listed = [json.loads((place / "videos.json").read_text())["videos"][0] for place in (second, first)]
    change(first / "videos.json", videos=listed)
    for opened, mask in ((video, FIRST), (other, SECOND)):
        read = read_prediction(first, opened)
        assert len(read.tracks) == 1
        assert np.array_equal(read.paint(0) > 0, mask)


def test_frames_that_were_not_predicted_on_are_empty(tmp_path: Path, video: Video) -> None:
    folder = write_prediction(tmp_path / "p", video, [(0.5, [FIRST, SECOND])], frames=[1, 3])
    read = read_prediction(folder, video)
    assert read.frames == (1, 3)
    assert [bool(read.paint(frame).any()) for frame in range(4)] == [False, True, False, True]
    assert np.array_equal(read.paint(3) > 0, SECOND)


def test_frames_of_a_video_file_are_known_by_their_number(tmp_path: Path) -> None:
    from command_line import write_video

    film = open_video(write_video(tmp_path / "film.mp4", 6))
    mask = np.ones((film.height, film.width), bool)
    folder = write_prediction(tmp_path / "p", film, [(0.5, [mask] * 3)], frames=[0, 2, 4])
    assert read_prediction(folder, film).frames == (0, 2, 4)


def pictures(folder: Path, video: Video, numbers: np.ndarray) -> Path:
    """Write predictions as DAVIS has them."""
    write_indexed(folder / video.name, numbers)
    return folder


def test_pictures_of_davis_are_tracks_without_scores(tmp_path: Path, video: Video) -> None:
    numbers = np.zeros((4, *SIZE), np.uint8)
    numbers[:, 4:20, 4:20] = 1
    numbers[1:, 24:40, 30:50] = 3
    read = read_prediction(pictures(tmp_path / "p", video, numbers), video)
    assert [(track.id, track.score, track.seen) for track in read.tracks] == [(1, None, 4), (2, None, 3)]
    assert not read.has_scores
    for frame in range(4):
        assert np.array_equal(read.paint(frame, 1.0), np.where(numbers[frame] == 3, 2, numbers[frame]))
    (tmp_path / "p" / video.name / "00002.png").unlink()
    assert read_prediction(tmp_path / "p", video).frames == (0, 1, 3)


def test_pictures_that_do_not_fit_are_named(tmp_path: Path, video: Video) -> None:
    folder = pictures(tmp_path / "p", video, np.ones((4, 9, 11), np.uint8))
    with pytest.raises(InputError, match=r"00000\.png: 11x9, the video that is open is 64x48"):
        read_prediction(folder, video)
    other = made_video(tmp_path / "more", name="dog")
    with pytest.raises(InputError, match="no such file"):
        read_prediction(folder, other)
    for path in (folder / video.name).iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    with pytest.raises(InputError, match="none of its pictures is of a frame of clip"):
        read_prediction(folder, video)


def test_no_instance_at_all_is_a_prediction(tmp_path: Path, video: Video) -> None:
    read = read_prediction(write_prediction(tmp_path / "p", video, []), video)
    assert read.tracks == ()
    assert not read.paint(0).any()


# Painting.


def test_the_best_lies_on_top_and_the_threshold_is_inclusive(folder: Path, video: Video) -> None:
    read = read_prediction(folder, video)
    expected = np.zeros(SIZE, np.uint16)
    expected[SECOND] = 2
    expected[FIRST] = 1
    assert np.array_equal(read.paint(0, 0.0), expected)
    assert np.array_equal(read.paint(0, 0.4), expected)
    assert np.array_equal(read.paint(0, 0.41), FIRST.astype(np.uint16))
    assert np.array_equal(read.paint(0, 0.9), FIRST.astype(np.uint16))
    assert not read.paint(0, 0.91).any()
    assert [read.count(threshold) for threshold in (0, 0.4, 0.5, 0.9, 1)] == [2, 2, 1, 1, 0]


def test_an_instance_keeps_its_label_over_time(folder: Path, video: Video) -> None:
    read = read_prediction(folder, video)
    # The better one is not in frame 1: the other one does not take its label.
    assert set(np.unique(read.paint(1))) == {0, 2}


def test_painting_agrees_with_what_the_command_paints(tmp_path: Path, video: Video) -> None:
    from flowcut_training.predict.results import paint
    from flowcut_training.predict.tracks import Track

    random = np.random.default_rng(4)
    masks = [[random.random(SIZE) < 0.3 for _ in range(4)] for _ in range(6)]
    scores = [0.95, 0.8, 0.6, 0.31, 0.3, 0.1]
    folder = write_prediction(tmp_path / "p", video, list(zip(scores, masks, strict=True))[::-1])
    read = read_prediction(folder, video)
    tracks = [Track(score, tuple(map(encode_rle, row))) for score, row in zip(scores, masks, strict=True)]
    for frame in range(4):
        for threshold in (0, 0.3, 0.8):
            wanted = paint([track for track in tracks if track.score >= threshold], frame, SIZE)
            assert np.array_equal(read.paint(frame, threshold), wanted)


def test_masks_come_back_as_they_were_written(folder: Path, video: Video) -> None:
    code = json.loads((folder / "results.json").read_text())[1]["segmentations"][0]
    assert np.array_equal(decode_rle(code), read_prediction(folder, video).paint(0) == 1)


# Differences.


@given(st.data())
def test_every_pixel_is_nothing_hit_miss_or_false(data: Any) -> None:
    shape = (data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6)))
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    found, wanted = random.integers(0, 3, shape), random.integers(0, 3, shape)
    void = random.random(shape) < 0.3 if data.draw(st.booleans()) else None
    compared = differences(found, wanted, void)
    for place in np.ndindex(shape):
        if void is not None and void[place]:
            expected = NOTHING
        else:
            expected = {(0, 0): NOTHING, (1, 1): HIT, (0, 1): MISS, (1, 0): FALSE}[
                int(found[place] > 0), int(wanted[place] > 0)
            ]
        assert compared[place] == expected


def test_labels_of_two_sizes_cannot_be_compared() -> None:
    with pytest.raises(InputError, match=r"4x5.*5x4"):
        differences(np.zeros((4, 5)), np.zeros((5, 4)))


def test_predictions_are_told_apart_by_themselves_alone() -> None:
    first, second = (Prediction(Path("x"), "v", (1, 1), (0,), ()) for _ in range(2))
    assert first != second
    assert len({first, second}) == 2
    assert math.isclose(first.count(0.5), 0)
