from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_clips import edit, seen, write_dataset, write_stills

from flowcut_napari.core import InputError
from flowcut_napari.core.masks import decode_rle
from flowcut_training.data import open_clips, open_stills, whole_clips


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "dataset", (2, 4, 2, 3))


def test_clips_come_whole_and_in_order_with_their_ground_truth(folder: Path) -> None:
    clips = whole_clips(open_clips(folder))
    assert len(clips) == 4
    document = clips.ground_truth()
    written = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    assert document["videos"] == written["videos"]
    assert document["annotations"] == written["annotations"]
    for clip, video in zip(clips, written["videos"], strict=True):
        frames = clip.frames()
        assert (clip.id, clip.length) == (video["id"], video["length"])
        assert clip.name == f"clip {clip.id} (vidéo{clip.id})"
        assert frames.shape == (clip.length, clip.height, clip.width, 3)
        assert frames.dtype == np.uint8
        tracks = [item for item in document["annotations"] if item["video_id"] == clip.id]
        for number, track in enumerate(tracks):
            for frame, code in zip(frames, track["segmentations"], strict=True):
                assert code is None or np.array_equal(decode_rle(code), seen(frame, number))


def test_some_clips_are_evenly_spread_and_bring_their_own_ground_truth_alone(folder: Path) -> None:
    clips = whole_clips(open_clips(folder), 2)
    assert [clip.id for clip in clips] == [1, 3]
    assert {item["video_id"] for item in clips.ground_truth()["annotations"]} == {1, 3}
    assert len(whole_clips(open_clips(folder), 100)) == 4


def test_frames_are_read_when_they_are_asked_for(folder: Path) -> None:
    (folder / "frames" / "vidéo2" / "00003.png").unlink()
    clip = list(whole_clips(open_clips(folder)))[1]
    assert clip.frame(2).shape == (48, 64, 3)
    with pytest.raises(InputError, match=r"clip 2 \(vidéo2\): .*00003\.png: no such image"):
        clip.frames()


def test_clips_of_many_categories_can_be_evaluated(folder: Path) -> None:
    edit(folder, lambda document: document["annotations"][2].update(category_id=17))
    document = whole_clips(open_clips(folder)).ground_truth()
    assert [category["id"] for category in document["categories"]] == [1, 17]


def test_what_cannot_be_evaluated_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds stills, where clips are needed"):
        whole_clips(open_stills(write_stills(tmp_path / "stills", 1)))
    with pytest.raises(InputError, match="give 1 or more"):
        whole_clips(open_clips(folder), 0)
    edit(folder, lambda document: document.update(videos=[], annotations=[]))
    with pytest.raises(InputError, match="has no clips"):
        whole_clips(open_clips(folder))
