from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_clips import edit, seen, write_dataset, write_stills
from made_masks import write_clip

from flowcut_napari.core import InputError, OutputError
from flowcut_napari.core.dataset import ExportPlan, export_dataset
from flowcut_napari.core.parameters import CurationParameters
from flowcut_napari.core.sources import find_masks
from flowcut_training.data import index as index_module
from flowcut_training.data import open_clips, open_stills, opening


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "dataset", (2, 4, 2))


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The jsons that are read through."""
    done: list[Path] = []
    scan = opening.scan
    monkeypatch.setattr(opening, "scan", lambda path, kind: done.append(path) or scan(path, kind))
    return done


def test_a_clip_has_the_frames_and_masks_that_its_dataset_says(folder: Path) -> None:
    source = open_clips(folder)
    assert len(source) == 3
    assert source.describe(1) == "clip 2 (vidéo2)"
    clip = source.load(1)
    assert len(clip.frames) == 4
    assert [[mask is not None for mask in track] for track in clip.tracks] == [[True] * 4, [False, True, True, True]]
    for number, track in enumerate(clip.tracks):
        for frame, mask in zip(clip.frames, track, strict=True):
            assert mask is None or np.array_equal(mask.astype(bool), seen(frame, number))


def test_some_frames_of_a_clip_are_its_frames_at_these_places(folder: Path) -> None:
    source = open_clips(folder)
    whole, some = source.load(1), source.load(1, [3, 0, 3])
    assert all(np.array_equal(some.frames[i], whole.frames[place]) for i, place in enumerate((3, 0, 3)))
    assert some.tracks[1][1] is None
    assert np.array_equal(some.tracks[1][2], whole.tracks[1][3])


@pytest.mark.parametrize("length", [2, 3, "all"])
@pytest.mark.parametrize("mode", ["copy", "link", "reference"])
def test_what_curate_exports_is_read(tmp_path: Path, length: Any, mode: Any) -> None:
    write_clip(tmp_path / "videos", tmp_path / "masks", 6, "boat")
    parameters = CurationParameters(clip_length=length)
    plan = ExportPlan(parameters, frame_files=mode)
    report = export_dataset(find_masks([tmp_path / "masks"]), tmp_path / "out", plan)
    source = open_clips(tmp_path / "out")
    assert len(source) == report.total.clips
    assert source.describe(0) == "clip 1 (boat)"
    frames = 6 if length == "all" else length
    assert source.trainable(frames).tolist() == list(range(len(source)))
    clip = source.load(0)
    assert len(clip.frames) == frames
    assert clip.tracks[0][0] is not None
    assert clip.tracks[0][0][16:32, 2:18].all()


def test_a_coco_export_is_read_as_stills(tmp_path: Path) -> None:
    write_clip(tmp_path / "videos", tmp_path / "masks", 3, "boat")
    export_dataset(find_masks([tmp_path / "masks"]), tmp_path / "out", ExportPlan(format="coco"))
    stills = open_stills(tmp_path / "out")
    assert len(stills) == 3
    assert stills.describe(2) == "still 3 (boat/00002.jpg)"
    assert len(stills.load(0).frames) == 1
    assert len(stills.load(0).tracks) == 2


def _into_jpegimages(folder: Path) -> Path:
    (folder / "frames").rename(folder / "JPEGImages")
    (folder / "annotations.json").rename(folder / "train.json")
    return folder


def _as_in_2021(folder: Path) -> Path:
    return _into_jpegimages(folder).joinpath("train.json").rename(folder / "instances.json").parent


def _as_in_2019(folder: Path) -> Path:
    (folder / "train").mkdir()
    (folder / "frames").rename(folder / "train" / "JPEGImages")
    return (folder / "annotations.json").rename(folder / "train.json")


@pytest.mark.parametrize("layout", [lambda folder: folder, _into_jpegimages, _as_in_2021, _as_in_2019])
def test_datasets_of_others_are_read_where_their_frames_usually_are(
    folder: Path, layout: Callable[[Path], Path]
) -> None:
    assert len(open_clips(layout(folder)).load(2).frames) == 2


def test_a_missing_first_frame_does_not_hide_where_the_others_are(folder: Path) -> None:
    shutil.rmtree(folder / "frames" / "vidéo1")
    assert len(open_clips(folder).load(1).frames) == 4


@pytest.mark.parametrize("polygons", [True, False])
def test_a_coco_json_is_read_with_run_lengths_and_polygons(tmp_path: Path, polygons: bool) -> None:
    path = write_stills(tmp_path / "stills", 3, polygons=polygons)
    for images in (None, path.parent / "JPEGImages"):
        still = open_stills(path, images).load(1)
        assert still.name == "still 2 (2.png)"
        assert still.tracks[0][0] is not None
        assert np.array_equal(still.tracks[0][0].astype(bool), seen(still.frames[0], 0))


def test_run_lengths_as_lists_are_read(folder: Path) -> None:
    square = [64 * 48 - 10, 10]

    def change(document: dict[str, Any]) -> None:
        document["annotations"][0]["segmentations"][0] = {"size": [48, 64], "counts": square}

    mask = open_clips(edit(folder, change)).load(0).tracks[0][0]
    assert mask is not None
    assert mask.sum() == 10
    assert mask[-10:, -1].all()


def test_crowds_are_left_out_and_clips_of_nothing_else_are_not_trained_on(folder: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        for annotation in document["annotations"]:
            annotation["iscrowd"] = int(annotation["video_id"] == 1 or annotation["id"] == 3)

    source = open_clips(edit(folder, change))
    assert source.trainable(2).tolist() == [1, 2]
    assert len(source.load(1).tracks) == 1
    assert len(source.annotations(1)) == 2


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    owners=st.lists(st.integers(1, 6), min_size=1, max_size=12),
    ids=st.permutations(range(1, 7)),
    indent=st.sampled_from([None, 1, "\r\n"]),
    ascii_only=st.booleans(),
    annotations_first=st.booleans(),
)
def test_every_clip_has_its_own_annotations_however_the_json_is_written(
    tmp_path: Path, owners: list[int], ids: list[int], indent: Any, ascii_only: bool, annotations_first: bool
) -> None:
    videos = [{"id": i, "height": 4, "width": 4, "file_names": [f"ö{i}/€{i}.png", "b.png"]} for i in ids]
    code = {"size": [4, 4], "counts": "04<"}
    annotations = [
        {"id": i, "video_id": owner, "category_id": 1, "segmentations": [None, code], "note": "日本"}
        for i, owner in enumerate(owners, start=1)
    ]
    parts: dict[str, Any] = {"videos": videos, "info": {"é": ["ü"]}, "annotations": annotations}
    document = dict(reversed(parts.items())) if annotations_first else parts
    path = tmp_path / "annotations.json"
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    path.write_bytes(text.encode())
    (tmp_path / "frames" / f"ö{ids[0]}").mkdir(parents=True, exist_ok=True)
    (tmp_path / "frames" / f"ö{ids[0]}" / f"€{ids[0]}.png").touch()
    source = open_clips(tmp_path)
    for number, video in enumerate(videos):
        assert source.item(number) == video
        assert source.annotations(number) == [item for item in annotations if item["video_id"] == video["id"]]
    assert source.index.instances.tolist() == [owners.count(i) for i in ids]


def test_the_json_is_read_through_once_and_then_the_index(folder: Path, tmp_path: Path, scans: list[Path]) -> None:
    index = tmp_path / "run" / "clips.npz"
    first, second = open_clips(folder, index), open_clips(folder, index)
    assert len(scans) == 1
    assert [path.name for path in index.parent.iterdir()] == ["clips.npz"]
    assert second.annotations(1) == first.annotations(1)
    assert second.describe(2) == first.describe(2)


def test_a_changed_json_is_read_anew(folder: Path, tmp_path: Path, scans: list[Path]) -> None:
    index = tmp_path / "clips.npz"
    open_clips(folder, index)
    edit(folder, lambda document: document["annotations"].pop())
    assert len(open_clips(folder, index).annotations(2)) == 1
    assert len(scans) == 2


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def _pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": 1}))


def _out_of_bounds(path: Path) -> None:
    content = dict(np.load(path))
    content["tracks"][0, 1] = 1 << 40
    np.savez(path, **content)


def _of_another_type(path: Path) -> None:
    content = dict(np.load(path))
    np.savez(path, **{**content, "firsts": content["firsts"].astype(float)})


def _of_objects(path: Path) -> None:
    np.savez(path, **{**dict(np.load(path)), "ids": np.array([{}, {}, {}], dtype=object)})


def _of_another_version(path: Path) -> None:
    content = dict(np.load(path))
    content["stamp"][0] += 1
    np.savez(path, **content)


@pytest.mark.parametrize(
    "damage", [_cut, _pickled, _out_of_bounds, _of_another_type, _of_objects, _of_another_version, Path.unlink]
)
def test_an_index_that_is_damaged_is_made_anew(
    folder: Path, tmp_path: Path, scans: list[Path], damage: Callable[[Path], None]
) -> None:
    index = tmp_path / "clips.npz"
    open_clips(folder, index)
    damage(index)
    assert len(open_clips(folder, index).load(1).frames) == 4
    open_clips(folder, index)
    assert len(scans) == 2


def test_an_index_of_stills_is_none_of_clips(folder: Path, tmp_path: Path) -> None:
    stamps = {kind: index_module.stamp_of(folder / "annotations.json", kind) for kind in ("clips", "stills")}
    open_clips(folder, tmp_path / "clips.npz")
    assert index_module.load_index(tmp_path / "clips.npz", stamps["clips"]) is not None
    assert index_module.load_index(tmp_path / "clips.npz", stamps["stills"]) is None


def test_of_many_that_open_at_once_one_reads_the_json(folder: Path, tmp_path: Path, scans: list[Path]) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: len(open_clips(folder, tmp_path / "clips.npz")), range(4)))
    assert found == [3] * 4
    assert len(scans) == 1


def test_a_json_that_changes_in_use_is_refused(folder: Path) -> None:
    source = open_clips(folder)
    os.utime(folder / "annotations.json", ns=(0, 0))
    with pytest.raises(InputError, match=r"annotations\.json: was changed while it was in use"):
        source.load(0)


def test_an_index_that_cannot_be_written_is_said(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/clips\.npz: cannot be written"):
        open_clips(folder, tmp_path / "file" / "clips.npz")
