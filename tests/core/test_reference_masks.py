"""What predictions are compared with: found where it belongs, read strictly, and compared as pixel counting would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY, write_frames
from made_masks import of_masks
from made_predictions import SIZE, box, made_video, write_prediction
from made_results import write_indexed

from flowcut_napari.core import CurationParameters, InstanceVerdict
from flowcut_napari.core.clips import Curation
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.masks import encode_rle
from flowcut_napari.core.prediction_files import read_prediction
from flowcut_napari.core.reference_masks import (
    find_ground_truth,
    overlaps,
    pseudo_reference,
    read_ground_truth,
)
from flowcut_napari.core.scoring import region_similarity
from flowcut_napari.core.video import Video, open_video


@pytest.fixture
def video(tmp_path: Path) -> Video:
    return made_video(tmp_path)


def labels(count: int = 4, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return numbers (T, H, W) of two objects, and a void."""
    numbers = np.zeros((count, *size), np.uint8)
    numbers[:, 4:20, 4:30] = 1
    numbers[:, 25:40, 30:50] = 2
    numbers[:, 0:2, :] = 255
    return numbers


def write_json(path: Path, video: Video, tracks: dict[int, list[Any]], **more: Any) -> Path:
    files = [f"{video.name}/{video.frame_file(index)}" for index in range(len(video))]
    listed = {"id": 3, "height": video.height, "width": video.width, "length": len(files), "file_names": files, **more}
    annotations = [{"id": number, "video_id": 3, "segmentations": masks} for number, masks in tracks.items()]
    path.write_text(json.dumps({"videos": [listed], "annotations": annotations}))
    return path


# Where it is.


@pytest.mark.parametrize("below", ["", "480p"])
def test_annotations_lie_beside_a_davis_root(tmp_path: Path, below: str) -> None:
    root = tmp_path / "davis"
    video = open_video(write_frames(root / "JPEGImages" / below / "dog", 2, SIZE))
    assert find_ground_truth(video) is None
    plain = write_indexed(root / "Annotations" / below / "dog", labels(2))
    assert find_ground_truth(video) == plain
    unsupervised = write_indexed(root / "Annotations_unsupervised" / below / "dog", labels(2))
    assert find_ground_truth(video) == unsupervised


def test_the_bundled_clip_has_ground_truth_in_both_forms_and_they_agree() -> None:
    video = open_video(REPOSITORY / "sample_data" / "JPEGImages" / "toys")
    found = find_ground_truth(video)
    assert found is not None
    pictures = read_ground_truth(found, video)
    listed = read_ground_truth(next((REPOSITORY / "sample_data").glob("*.json")), video)
    assert set(pictures.frames) == set(listed.frames) == set(range(len(video)))
    for frame in (0, 11, 23):
        assert pictures.paint(frame).any()
        assert np.array_equal(pictures.paint(frame) > 0, listed.paint(frame) > 0)


def test_a_video_of_a_json_has_its_ground_truth_there(tmp_path: Path) -> None:
    made = made_video(tmp_path / "JPEGImages")
    path = write_json(tmp_path / "train.json", made, {5: [dict(encode_rle(box(3, 3, 9, 9)))] * 4})
    video = open_video(path)
    assert find_ground_truth(video) == path
    truth = read_ground_truth(path, video)
    assert np.array_equal(truth.paint(2) > 0, box(3, 3, 9, 9))


def test_other_videos_have_none(video: Video) -> None:
    assert find_ground_truth(video) is None


# Hostile files.


def test_pictures_of_another_size_are_named(tmp_path: Path, video: Video) -> None:
    folder = write_indexed(tmp_path / "truth", labels(4, (50, 60)))
    with pytest.raises(InputError, match=r"00000.png: 60x50, the video that is open is 64x48"):
        read_ground_truth(folder, video)


def test_pictures_of_no_frame_are_refused(tmp_path: Path, video: Video) -> None:
    folder = write_indexed(tmp_path / "truth", labels())
    for path in folder.iterdir():
        path.rename(path.with_name(f"dog{path.name}"))
    with pytest.raises(InputError, match=r"no annotation fits a frame of clip; it has dog00000 to dog00003"):
        read_ground_truth(folder, video)


def test_frames_are_not_taken_for_annotations(video: Video) -> None:
    with pytest.raises(InputError, match=r"00000\.png: a photograph"):
        read_ground_truth(video.path, video)


def test_a_damaged_picture_is_named(tmp_path: Path, video: Video) -> None:
    folder = write_indexed(tmp_path / "truth", labels())
    (folder / "00002.png").write_bytes((folder / "00002.png").read_bytes()[:60])
    with pytest.raises(InputError, match=r"00002\.png"):
        read_ground_truth(folder, video)


@pytest.mark.parametrize("name", ["nothing", "file.txt"])
def test_what_is_neither_folder_nor_json_says_what_to_give(tmp_path: Path, video: Video, name: str) -> None:
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(InputError, match="indexed PNG, or a YouTube-VIS json"):
        read_ground_truth(tmp_path / name, video)


def test_an_empty_folder_is_one_line(tmp_path: Path, video: Video) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no annotations in this folder"):
        read_ground_truth(tmp_path / "empty", video)


@pytest.mark.parametrize(
    ("masks", "says"),
    [
        ([{"size": [48, 64], "counts": "abc"}, None, None, None], "annotation 5, frame 0"),
        ([{"size": [8, 8], "counts": [64]}, None, None, None], "8x8"),
        ([[1, 2], None, None, None], "neither a run-length code nor polygons"),
        ([7, None, None, None], "annotation 5, frame 0"),
        ([[[1e30, 2, 3, 4, 5, 6]], None, None, None], "annotation 5, frame 0"),
        (None, "has no masks"),
    ],
)
def test_a_mask_that_cannot_be_read_is_named(tmp_path: Path, video: Video, masks: Any, says: str) -> None:
    path = write_json(tmp_path / "a.json", video, {5: masks})
    with pytest.raises(InputError) as caught:
        read_ground_truth(path, video)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_json_of_other_videos_or_another_size_is_refused(tmp_path: Path, video: Video) -> None:
    code = [dict(encode_rle(box(3, 3, 9, 9)))] * 4
    other = made_video(tmp_path / "more", name="dog")
    with pytest.raises(InputError, match="none of its videos has the frames of clip"):
        read_ground_truth(write_json(tmp_path / "a.json", other, {5: code}), video)
    with pytest.raises(InputError, match="100x48"):
        read_ground_truth(write_json(tmp_path / "b.json", video, {5: code}, width=100), video)
    with pytest.raises(InputError, match="no annotations of clip"):
        read_ground_truth(write_json(tmp_path / "c.json", video, {}), video)
    (tmp_path / "d.json").write_text('{"videos": [')
    with pytest.raises(InputError, match="cannot be read as JSON"):
        read_ground_truth(tmp_path / "d.json", video)


def test_reading_ends_when_nobody_wants_it_any_more(tmp_path: Path, video: Video) -> None:
    folder = write_indexed(tmp_path / "truth", labels())
    asked = []

    def is_wanted() -> bool:
        asked.append(True)
        return len(asked) < 3

    with pytest.raises(InputError, match="not wanted any more"):
        read_ground_truth(folder, video, is_wanted)
    assert len(asked) == 3


# What is read.


def test_pictures_give_objects_and_a_void(tmp_path: Path, video: Video) -> None:
    truth = read_ground_truth(write_indexed(tmp_path / "truth", labels()), video)
    assert truth.kind == "ground truth"
    wanted = labels()[0]
    void = truth.void(1)
    assert void is not None
    assert np.array_equal(void, wanted == 255)
    assert np.array_equal(truth.paint(1), np.where(wanted == 255, 0, wanted))
    assert truth.void(77) is None
    assert not truth.paint(77).any()


def test_frames_without_a_picture_are_left_out(tmp_path: Path, video: Video) -> None:
    folder = write_indexed(tmp_path / "truth", labels())
    (folder / "00001.png").unlink()
    assert sorted(read_ground_truth(folder, video).frames) == [0, 2, 3]


def test_annotations_before_their_videos_are_read_too(tmp_path: Path, video: Video) -> None:
    path = write_json(tmp_path / "a.json", video, {5: [dict(encode_rle(box(3, 3, 9, 9))), None, None, None]})
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({"annotations": whole["annotations"], "videos": whole["videos"]}))
    truth = read_ground_truth(path, video)
    assert [bool(truth.paint(frame).any()) for frame in range(4)] == [True, False, False, False]


def test_pseudo_masks_are_known_by_identity_and_without_what_was_rejected(video: Video) -> None:
    # The same square is instance 1, then 2: its number is that of its cut.
    square, other = box(4, 4, 16, 16), box(30, 30, 10, 20)
    masks = of_masks([{1: square, 2: other}, {2: square, 1: other}], "clip", SIZE)
    plain = pseudo_reference(masks, video)
    assert plain.paint(0)[5, 5] == 1 and plain.paint(1)[5, 5] == 2
    decided = masks.decide(InstanceVerdict((0, 2), "reject"))
    known = pseudo_reference(decided, video, Curation(decided, CurationParameters()))
    assert known.paint(0)[5, 5] == known.paint(1)[5, 5] > 0
    assert not known.paint(0)[31, 31]
    assert known.paint(1)[31, 31]


def test_pseudo_masks_of_another_size_are_refused(video: Video) -> None:
    with pytest.raises(InputError, match="12x1"):
        pseudo_reference(of_masks([{}], "clip", (1, 12)), video)


# How they agree.


def test_overlaps_are_the_iou_of_unions_at_every_threshold(tmp_path: Path, video: Video) -> None:
    random = np.random.default_rng(9)
    tracks = [
        (score, [None if random.random() < 0.2 else random.random(SIZE) < share for _ in range(4)])
        for score, share in ((0.9, 0.3), (0.7, 0.05), (0.7, 0.2), (0.1, 0.5))
    ]
    prediction = read_prediction(write_prediction(tmp_path / "p", video, tracks), video)
    truth = read_ground_truth(write_indexed(tmp_path / "truth", labels()), video)
    table = overlaps(prediction, truth)
    assert table.shape == (4, 5)
    for threshold in (0.0, 0.1, 0.5, 0.7, 0.8, 0.95):
        for frame in range(4):
            found, wanted = prediction.paint(frame, threshold) > 0, truth.paint(frame) > 0
            expected = region_similarity(found, wanted, truth.void(frame))
            assert table[frame, prediction.count(threshold)] == pytest.approx(expected, abs=1e-12)


def test_where_neither_has_a_pixel_they_agree_and_without_a_reference_nothing_is_said(
    tmp_path: Path, video: Video
) -> None:
    prediction = read_prediction(
        write_prediction(tmp_path / "p", video, [(0.5, [None, box(1, 1, 4, 4), None])], frames=[0, 1, 3]), video
    )
    numbers = np.zeros((4, *SIZE), np.uint8)
    folder = write_indexed(tmp_path / "truth", numbers)
    (folder / "00003.png").unlink()
    table = overlaps(prediction, read_ground_truth(folder, video))
    assert table[0].tolist() == [1.0, 1.0]
    assert table[1].tolist() == [1.0, 0.0]
    assert np.isnan(table[2]).all()
