"""What is written of predictions, and what videos are called in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import write_frames
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_models import write_json
from PIL import Image

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.masks import encode_rle
from flowcut_training.predict import Track, VideoPrediction, find_videos_to_predict
from flowcut_training.predict.folder import is_replaceable
from flowcut_training.predict.growing import GrowingList
from flowcut_training.predict.results import DavisResults, ResultVideo, frame_names
from flowcut_training.predict.sources import VideoToPredict, number_videos


def track(score: float, masks: np.ndarray) -> Track:
    return Track(score, tuple(encode_rle(mask) if mask.any() else None for mask in masks))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_of_overlapping_masks_the_best_is_seen_and_numbers_have_no_holes(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    count, length = data.draw(st.integers(0, 5)), data.draw(st.integers(1, 3))
    masks = data.draw(arrays(bool, (count, length, 3, 4)))
    scores = sorted(data.draw(st.lists(st.floats(0, 1), min_size=count, max_size=count)), reverse=True)
    folder = tmp_path_factory.mktemp("davis")
    video = ResultVideo(1, "clip", 3, 4, tuple(f"clip/{place}.jpg" for place in range(length)))
    prediction = VideoPrediction(tuple(map(track, scores, masks)))
    written = DavisResults(folder).add(video, prediction)
    # Pixel by pixel: the first of the tracks, which come by falling score, that has it.
    slow = np.zeros((length, 3, 4), dtype=int)
    for place in np.ndindex(slow.shape):
        owners = [number for number in range(count) if masks[number][place]]
        slow[place] = owners[0] + 1 if owners else 0
    seen = sorted(set(slow.ravel()) - {0})
    for place in range(length):
        picture = Image.open(folder / "clip" / f"{place}.png")
        assert picture.mode == "P"
        assert picture.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
        wanted = np.array([seen.index(number) + 1 if number else 0 for number in slow[place].ravel()])
        assert np.array_equal(np.asarray(picture).ravel(), wanted)
    assert written == len(seen)


def test_davis_takes_the_best_twenty_that_have_a_pixel(tmp_path: Path) -> None:
    masks = np.zeros((30, 1, 1, 30), dtype=bool)
    for number in range(1, 30):  # the first has none
        masks[number, 0, 0, number] = True
    tracks = tuple(track(1 - number / 100, mask) for number, mask in enumerate(masks))
    assert DavisResults(tmp_path).add(ResultVideo(1, "clip", 1, 30, ("a.jpg",)), VideoPrediction(tracks)) == 20
    labels = np.asarray(Image.open(tmp_path / "clip" / "a.png"))[0]
    assert labels.tolist() == [0, *range(1, 21), *[0] * 9]


def test_frames_are_called_as_their_files_where_that_tells_them_apart() -> None:
    assert frame_names(["v/00003.jpg", "v/00007.png"]) == ["00003", "00007"]
    assert frame_names(["v/a.jpg", "v/A.png"]) == ["00000", "00001"]


def test_a_growing_list_is_json_at_every_size_and_can_be_cut(tmp_path: Path) -> None:
    for count in range(4):
        document = GrowingList(tmp_path / "list.json", '{"first":1,"items":')
        for number in range(count):
            document.add([str(number)])
            mark = document.mark()
            document.add(["half of it", "more"])
            document.cut(mark)
        document.finish(',"last":2}')
        content = json.loads((tmp_path / "list.json").read_text())
        assert content == {"first": 1, "items": list(range(count)), "last": 2}


def test_videos_of_a_json_keep_ids_and_order_and_others_follow(tmp_path: Path) -> None:
    folder = write_json(tmp_path / "set", {12: 2, 3: 1, 5: 1})
    for address in (str(folder), str(folder / "annotations.json")):
        videos, notes = find_videos_to_predict(address)
        assert not notes
        assert [(video.id, video.entry.name) for video in videos] == [(12, "v12"), (3, "v3"), (5, "v5")]
        assert videos[0].files == ("v12/00000.png", "v12/00001.png")
        assert len(videos[0].entry.open()) == 2
        (one,), _ = find_videos_to_predict(f"{address}::v3")
        assert (one.id, one.entry.name) == (3, "v3")
    for name in ("b", "a"):
        write_frames(tmp_path / "root" / name, 1)
    others, _ = find_videos_to_predict(str(tmp_path / "root"))
    assert [(video.id, video.entry.name) for video in number_videos(others)] == [(1, "a"), (2, "b")]
    assert [video.id for video in number_videos([*others, *videos])] == [13, 14, 12, 3, 5]


def test_clips_of_one_video_get_names_of_their_own(tmp_path: Path) -> None:
    folder = write_json(tmp_path, {1: 2})
    document = json.loads((folder / "annotations.json").read_text())
    document["videos"] = [{**document["videos"][0], "id": number} for number in (1, 2, 30)]
    (folder / "annotations.json").write_text(json.dumps(document))
    videos, _ = find_videos_to_predict(str(folder))
    assert [video.entry.name for video in number_videos(videos)] == ["v1", "v1_2", "v1_30"]


def test_a_json_without_annotations_is_enough(tmp_path: Path) -> None:
    folder = write_json(tmp_path, {1: 1})
    document = json.loads((folder / "annotations.json").read_text())
    for value in (None, "missing", []):
        changed = {**document, "annotations": value}
        if value == "missing":
            del changed["annotations"]
        (folder / "test.json").write_text(json.dumps(changed))
        assert len(find_videos_to_predict(str(folder / "test.json"))[0]) == 1


@pytest.mark.parametrize(
    ("change", "needle"),
    [
        ({"file_names": []}, "file_names"),
        ({"file_names": ["../secret.png"]}, "not in the dataset"),
        ({"file_names": ["/etc/secret.png"]}, "not in the dataset"),
        ({"file_names": [1]}, "file_names"),
        ({"id": "one"}, "whole numbers"),
        ({"id": True}, "whole numbers"),
        ({"id": None}, "whole numbers"),
        ({"length": 5}, "length is 5"),
        ({"height": "48"}, "whole numbers"),
    ],
)
def test_a_json_with_a_wrong_video_is_refused_as_a_whole(tmp_path: Path, change: dict, needle: str) -> None:
    folder = write_json(tmp_path, {1: 1, 2: 1})
    document = json.loads((folder / "annotations.json").read_text())
    document["videos"][1].update(change)
    (folder / "annotations.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=needle):
        find_videos_to_predict(str(folder))


def test_the_same_id_twice_is_refused(tmp_path: Path) -> None:
    folder = write_json(tmp_path / "one", {1: 1, 2: 1})
    document = json.loads((folder / "annotations.json").read_text())
    document["videos"][1]["id"] = 1
    (folder / "annotations.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="two videos have the id 1"):
        find_videos_to_predict(str(folder))
    first, _ = find_videos_to_predict(str(write_json(tmp_path / "a", {1: 1})))
    second, _ = find_videos_to_predict(str(write_json(tmp_path / "b", {1: 1})))
    renamed = VideoToPredict(1, type(second[0].entry)("other", second[0].entry.place, second[0].entry.open), ("x",))
    with pytest.raises(InputError, match="same id, 1"):
        number_videos([*first, renamed])


def test_only_a_prediction_is_replaceable(tmp_path: Path) -> None:
    about = {"schema": "flowcut.prediction/1", "format": "davis", "videos": [{"name": "clip"}]}
    (tmp_path / "prediction.json").write_text(json.dumps(about))
    (tmp_path / "clip").mkdir()
    assert is_replaceable(tmp_path)
    (tmp_path / "mine").mkdir()
    assert not is_replaceable(tmp_path)
    (tmp_path / "mine").rmdir()
    for wrong in ({**about, "schema": "flowcut.prediction/2"}, {"format": "davis"}, {**about, "videos": [3]}, []):
        (tmp_path / "prediction.json").write_text(json.dumps(wrong))
        assert not is_replaceable(tmp_path)
