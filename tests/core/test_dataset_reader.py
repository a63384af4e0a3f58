from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY, data_path, write_frames
from hypothesis import given
from hypothesis import strategies as st
from made_masks import write_clip
from PIL import Image
from pycocotools import mask as coco

from flowcut_napari.core import InputError
from flowcut_napari.core.clip_view import ClipInstance, ClipView, spread
from flowcut_napari.core.dataset import ExportPlan, export_dataset, export_splits
from flowcut_napari.core.dataset_reader import figures_of, open_dataset
from flowcut_napari.core.dataset_scan import Progress
from flowcut_napari.core.dataset_view import Dataset
from flowcut_napari.core.images import read_rgb
from flowcut_napari.core.masks import encode_rle
from flowcut_napari.core.parameters import CurationParameters, DatasetFormat
from flowcut_napari.core.sources import find_masks
from flowcut_napari.core.store import VideoMasks

SIZE = (48, 64)


@pytest.fixture
def masks(tmp_path: Path) -> list[VideoMasks]:
    """Masks of two videos, of six frames and of four: instance 1 moves, 2 is still."""
    return [write_clip(tmp_path / "videos", tmp_path / "out", count, name) for count, name in ((6, "boat"), (4, "car"))]


@pytest.fixture
def export(masks: list[VideoMasks], tmp_path: Path) -> Callable[..., Path]:
    def make(form: DatasetFormat, **plan: Any) -> Path:
        folder = tmp_path / f"dataset {form}"
        parameters = CurationParameters(**plan.pop("parameters", {"gaps": (1, 2)}))
        export_dataset(find_masks([tmp_path / "out"]), folder, ExportPlan(parameters, format=form, **plan))
        return folder

    return make


def square(top: int, left: int, side: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size, dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


@pytest.fixture
def foreign(tmp_path: Path) -> Callable[..., Path]:
    """Write a json of one clip, ``v/00000.png`` and ``v/00001.png``, beside its JPEGImages."""
    write_frames(tmp_path / "JPEGImages" / "v", 2, SIZE)

    def write(*annotations: Any, **changes: Any) -> Path:
        video = {"id": 1, "width": 64, "height": 48, "length": 2, "file_names": ["v/00000.png", "v/00001.png"]}
        content = {"videos": [video | changes], "categories": [{"id": 7, "name": "duck"}], "annotations": annotations}
        path = tmp_path / "train.json"
        path.write_text(json.dumps(content))
        return path

    return write


def of_both(*segmentations: Any, **others: Any) -> dict[str, Any]:
    return {"id": 5, "video_id": 1, "category_id": 7, "segmentations": list(segmentations), **others}


def whole(dataset: Dataset, number: int = 0) -> ClipView:
    return dataset.read(number, range(int(dataset.lengths[number])))


def masks_of(masks: VideoMasks, frame: int) -> list[np.ndarray]:
    return [instance.mask for instance in masks.frames[frame].instances]


# What an export wrote.


def test_all_clips_of_an_export_are_seen_with_their_frames_and_masks(
    export: Callable[..., Path], masks: list[VideoMasks]
) -> None:
    folder = export("ytvis")
    dataset = open_dataset(folder)
    content = json.loads((folder / "annotations.json").read_text())
    assert (len(dataset), dataset.instances) == (len(content["videos"]), len(content["annotations"])) == (14, 28)
    assert figures_of(dataset) == "2 videos · 14 clips of 2 frames · 10 frames · 28 instances"
    assert dataset.about is not None
    assert dataset.problems == ()
    of_video = {record.video.name: record for record in masks}
    for number, video in enumerate(content["videos"]):
        view = whole(dataset, number)
        assert (view.id, view.files, view.problems) == (str(video["id"]), tuple(video["file_names"]), ())
        for file, frame, labels in zip(view.files, view.frames, view.labels, strict=True):
            assert frame is not None
            np.testing.assert_array_equal(frame, read_rgb(folder / "frames" / file))
            moving, still = masks_of(of_video[view.video], int(Path(file).stem))
            np.testing.assert_array_equal(labels, 1 * moving + 2 * still)
        assert [instance.areas for instance in view.instances] == [(256, 256), (60, 60)]


def test_a_coco_export_is_seen_picture_by_picture(export: Callable[..., Path], masks: list[VideoMasks]) -> None:
    dataset = open_dataset(export("coco"))
    assert figures_of(dataset) == "2 videos · 10 pictures · 20 instances"
    view = whole(dataset, 8)
    assert (view.video, view.files) == ("car", ("car/00002.jpg",))
    moving, still = masks_of(masks[1], 2)
    np.testing.assert_array_equal(view.labels[0], 1 * moving + 2 * still)


def test_a_davis_export_is_seen_sequence_by_sequence(export: Callable[..., Path], masks: list[VideoMasks]) -> None:
    folder = export("davis")
    dataset = open_dataset(folder)
    assert figures_of(dataset) == "2 sequences of 4 to 6 frames · 10 frames · 4 instances"
    view = dataset.read(0, (1, 4))
    assert (view.video, view.places, view.problems) == ("boat", (1, 4), ())
    assert len(view.files) == 6
    for place, frame, labels in zip(view.places, view.frames, view.labels, strict=True):
        moving, still = masks_of(masks[0], place)
        np.testing.assert_array_equal(labels, 1 * moving + 2 * still)
        assert frame is not None
        np.testing.assert_array_equal(frame, read_rgb(folder / f"JPEGImages/480p/boat/{place:05d}.jpg"))
    assert view.instances == (
        ClipInstance(1, "1", "", None, (256, 256)),
        ClipInstance(2, "2", "", None, (60, 60)),
    )


@pytest.mark.parametrize("name", ["annotations.json", "dataset.json"])
def test_a_file_of_an_export_opens_it_as_its_folder_does(export: Callable[..., Path], name: str) -> None:
    folder = export("ytvis")
    dataset = open_dataset(folder / name)
    assert dataset.about is not None
    assert len(dataset) == 14


def test_masks_are_seen_without_frames_and_with_them_once_their_folder_is_chosen(
    export: Callable[..., Path], tmp_path: Path, masks: list[VideoMasks]
) -> None:
    dataset = open_dataset(export("ytvis", frame_files="none"))
    assert dataset.root is None
    view = whole(dataset)
    assert (view.frames, view.problems) == ((None, None), ())
    assert [labels.max() for labels in view.labels] == [2, 2]
    found = dataset.with_root(tmp_path / "videos")
    assert [frame is not None and frame.shape for frame in whole(found).frames] == [(48, 64, 3)] * 2
    # The folder of a video is close enough.
    assert dataset.with_root(tmp_path / "videos" / "boat").root == tmp_path / "videos"
    with pytest.raises(InputError, match=r"no frame of this dataset is there, such as boat/00000\.jpg"):
        dataset.with_root(tmp_path / "out")


def test_frames_of_a_davis_export_are_found_where_they_are_chosen(
    export: Callable[..., Path], tmp_path: Path, masks: list[VideoMasks]
) -> None:
    dataset = open_dataset(export("davis", frame_files="none"))
    assert dataset.root is None
    assert dataset.read(0, (0,)).frames == (None,)
    assert dataset.with_root(tmp_path / "videos").read(0, (0,)).frames[0] is not None
    with pytest.raises(InputError, match="no frame of this dataset is there"):
        dataset.with_root(tmp_path / "out")


def test_of_a_split_dataset_the_parts_are_named(masks: list[VideoMasks], tmp_path: Path) -> None:
    folder = tmp_path / "split"
    plan = ExportPlan(CurationParameters())
    export_splits(find_masks([tmp_path / "out"]), folder, plan, {"train": 0.5, "val": 0.5})
    with pytest.raises(InputError, match=r"split into several datasets.*train"):
        open_dataset(folder)
    assert len(open_dataset(folder / "train")) > 0


def test_the_bundled_clip_opens_by_its_folder() -> None:
    dataset = open_dataset(REPOSITORY / "sample_data")
    view = dataset.read(0, (0, 23))
    assert view.video == "toys"
    assert len(view.instances) == 3
    assert all(frame is not None for frame in view.frames)


def test_a_davis_root_opens() -> None:
    dataset = open_dataset(data_path("data", "davis16"))
    assert dataset.format == "davis"
    view = dataset.read(0, spread(int(dataset.lengths[0]), 4))
    assert view.problems == ()
    assert all(frame is not None for frame in view.frames)
    assert [instance.label for instance in view.instances] == [1]


# What files in the wild hold.


def test_a_mask_is_the_same_in_every_form(foreign: Callable[..., Path]) -> None:
    mask = square(10, 20, 16)
    packed = encode_rle(mask)
    corners = [20, 10, 36, 10, 36, 26, 20, 26]
    polygon = coco.decode(coco.frPyObjects([corners], *SIZE))[..., 0].astype(bool)
    runs = [20 * 48 + 10, *([16, 32] * 15), 16]
    runs.append(48 * 64 - sum(runs))
    for form, expected in (
        (packed, mask),
        ({"size": list(SIZE), "counts": runs}, mask),
        ([corners], polygon),
        (corners, polygon),
    ):
        view = whole(open_dataset(foreign(of_both(form, None))))
        assert view.problems == ()
        np.testing.assert_array_equal(view.labels[0], expected)
        assert not view.labels[1].any()
        assert view.instances == (ClipInstance(1, "5", "duck", None, (int(expected.sum()), None)),)


@pytest.mark.parametrize("absent", [None, []])
def test_an_instance_may_be_absent(foreign: Callable[..., Path], absent: Any) -> None:
    view = whole(open_dataset(foreign(of_both(absent, encode_rle(square(1, 1, 3))))))
    assert view.instances[0].areas == (None, 9)
    assert view.problems == ()


def test_scores_and_categories_are_taken_along(foreign: Callable[..., Path]) -> None:
    view = whole(open_dataset(foreign(of_both(None, encode_rle(square(1, 1, 3)), score=0.25, category_id=9))))
    assert (view.instances[0].score, view.instances[0].category) == (0.25, "category 9")


def test_a_small_instance_lies_over_a_large_one_whichever_comes_first(foreign: Callable[..., Path]) -> None:
    small, large = encode_rle(square(20, 20, 4)), encode_rle(square(10, 10, 30))
    for order in ((small, large), (large, small)):
        view = whole(open_dataset(foreign(*(of_both(mask, None) for mask in order))))
        assert (view.labels[0] == 1 + order.index(small)).sum() == 16
        assert (view.labels[0] == 1 + order.index(large)).sum() == 900 - 16


def test_files_whose_truth_is_kept_back_are_seen_without(foreign: Callable[..., Path], tmp_path: Path) -> None:
    content = json.loads(foreign().read_text())
    for kept_back in (None, []):
        (tmp_path / "train.json").write_text(json.dumps({**content, "annotations": kept_back}))
        dataset = open_dataset(tmp_path / "train.json")
        assert (dataset.instances, whole(dataset).instances, whole(dataset).problems) == (0, (), ())


def test_ids_may_be_texts_and_annotations_come_first(foreign: Callable[..., Path], tmp_path: Path) -> None:
    content = json.loads(foreign(of_both(encode_rle(square(1, 1, 3)), None)).read_text())
    content["videos"][0]["id"] = content["annotations"][0]["video_id"] = "a b"
    (tmp_path / "train.json").write_text(json.dumps({name: content[name] for name in reversed(list(content))}))
    view = whole(open_dataset(tmp_path / "train.json"))
    assert view.id == "a b"
    assert view.labels[0].sum() == 9


def test_a_size_that_is_not_stated_is_that_of_a_mask_or_else_of_a_frame(foreign: Callable[..., Path]) -> None:
    for made in ((of_both(encode_rle(square(1, 1, 3)), None),), ()):
        view = whole(open_dataset(foreign(*made, width=None, height="48")))
        assert [labels.shape for labels in view.labels] == [SIZE, SIZE]
        assert view.problems == ()


# What is wrong with one clip is said, and all else is seen.


def no_run_length_code() -> dict[str, Any]:
    return {"size": list(SIZE), "counts": "zzzz"}


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        (no_run_length_code(), "cannot be decoded"),
        ({"size": list(SIZE), "counts": "é"}, "neither a run-length code nor polygons"),
        ({"size": list(SIZE), "counts": [5, -5, 48 * 64]}, "do not fill 48x64"),
        ({"size": list(SIZE), "counts": [10**30]}, "do not fill 48x64"),
        ({"size": list(SIZE), "counts": [1.5]}, "do not fill 48x64"),
        ({"size": [48], "counts": "x"}, "neither a run-length code nor polygons"),
        (encode_rle(square(0, 0, 5, (64, 48))), "its mask is 48x64, the frame 64x48"),
        ([[1, 2, 3]], "neither a run-length code nor polygons"),
        ([[1, 2, 3, 4, 5, 1e9]], "leaves the frame"),
        ([[1, 2, 3, 4, 5, None]], "neither a run-length code nor polygons"),
        (17, "neither a run-length code nor polygons"),
        ("mask.png", "neither a run-length code nor polygons"),
    ],
)
def test_a_damaged_mask_is_said_and_the_others_are_seen(foreign: Callable[..., Path], form: Any, problem: str) -> None:
    sound = encode_rle(square(1, 1, 3))
    view = whole(open_dataset(foreign(of_both(form, sound), of_both(sound, None, id=6))))
    (line,) = view.problems
    assert line.startswith("annotation 5, frame 0: ")
    assert problem in line
    assert [instance.areas for instance in view.instances] == [(None, 9), (9, None)]
    assert (view.labels[0] == 2).sum() == (view.labels[1] == 1).sum() == 9


@pytest.mark.parametrize("masks", [[None], [None] * 3, {}, 5, "x", True])
def test_segmentations_that_are_not_one_a_frame_are_said(foreign: Callable[..., Path], masks: Any) -> None:
    (line,) = whole(open_dataset(foreign({**of_both(), "segmentations": masks}))).problems
    assert line == "annotation 5: its segmentations are not one for each of 2 frames"


@pytest.mark.parametrize(
    "file", ["../secret.png", "/etc/secret.png", "C:\\secret.png", 5, None, "v/\n.png", "x" * 2000]
)
def test_a_frame_outside_the_dataset_is_not_read(foreign: Callable[..., Path], tmp_path: Path, file: Any) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "secret.png")
    view = whole(open_dataset(foreign(file_names=["v/00000.png", file])))
    assert view.frames[0] is not None
    assert view.frames[1] is None
    (line,) = view.problems
    assert "no name inside the dataset" in line
    assert line.isprintable()


def test_frames_that_are_missing_damaged_or_of_another_size_are_said(
    foreign: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "JPEGImages" / "v"
    (folder / "00002.png").write_bytes((folder / "00000.png").read_bytes()[:300])
    Image.new("RGB", (32, 24), (200, 0, 0)).save(folder / "00003.png")
    files = [f"v/{index:05d}.png" for index in (1, 2, 3, 4)]
    view = whole(open_dataset(foreign(file_names=files)))
    assert [frame is not None for frame in view.frames] == [True, False, True, False]
    damaged, resized, missing = view.problems
    assert damaged.startswith("the frame v/00002.png: ")
    assert resized == "the frame v/00003.png is 32x24, its masks are 64x48; it was stretched to fit"
    assert missing == "the frame v/00004.png is not there"
    assert view.frames[2] is not None
    assert view.frames[2].shape == (48, 64, 3)


def test_a_clip_without_frames_is_said(foreign: Callable[..., Path]) -> None:
    for files in ([], None, "v/00000.png"):
        dataset = open_dataset(foreign(file_names=files))
        assert whole(dataset).problems == ("it names no frames",)
        assert dataset.root is None


def test_a_frame_of_absurd_size_takes_no_memory(foreign: Callable[..., Path]) -> None:
    dataset = open_dataset(foreign(width=65536, height=65536))
    tracemalloc.start()
    view = whole(dataset)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "its size is 65536x65536, too large to be shown" in view.problems
    assert peak < 20_000_000


def test_many_problems_are_counted(foreign: Callable[..., Path]) -> None:
    view = whole(open_dataset(foreign(*(of_both(17, None, id=number) for number in range(50)))))
    assert len(view.problems) == 7
    assert view.problems[-1] == "and 44 more such problems"


def test_more_instances_than_colours_can_tell_apart_are_counted(foreign: Callable[..., Path]) -> None:
    mask = encode_rle(square(1, 1, 3))
    view = whole(open_dataset(foreign(*(of_both(mask, None, id=number) for number in range(300)))))
    assert view.problems == ("it has 300 instances; the first 255 are shown",)
    assert len(view.instances) == 255


def test_items_that_refer_to_nothing_are_counted_and_the_rest_is_seen(
    foreign: Callable[..., Path], tmp_path: Path
) -> None:
    mask = encode_rle(square(1, 1, 3))
    lost = [{**of_both(mask, None), "video_id": number} for number in (9, 9, None, [1])]
    content = json.loads(foreign(of_both(mask, None), *lost, 17).read_text())
    content["videos"] += [content["videos"][0], "video", {"file_names": ["v/00000.png"]}]
    (tmp_path / "train.json").write_text(json.dumps(content))
    dataset = open_dataset(tmp_path / "train.json")
    assert set(dataset.problems) == {
        "video_id 9: masks of a clip that is not there (and 1 more like it)",
        "item 3 of annotations: has no video_id (and 1 more like it)",
        "item 2 of the list: is no clip with an id (and 1 more like it)",
        "clip 1: its id is there twice; the first has all masks",
    }
    assert [len(whole(dataset, number).instances) for number in range(len(dataset))] == [1, 0]
    assert dataset.instances == 1


def test_a_json_that_is_changed_meanwhile_is_not_read_on(foreign: Callable[..., Path], tmp_path: Path) -> None:
    dataset = open_dataset(foreign())
    path = tmp_path / "train.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(InputError, match="was changed while it was looked at; open it again"):
        whole(dataset)
    path.unlink()
    with pytest.raises(InputError, match=r"train\.json: cannot be read"):
        whole(dataset)


def test_names_are_shown_as_one_printable_line(foreign: Callable[..., Path]) -> None:
    dataset = open_dataset(foreign(file_names=["v\x1b\n/00000.png"], id="\x1b[2J"))
    view = whole(dataset)
    for text in (*dataset.names, view.video, view.id, *view.files, *view.problems):
        assert text.isprintable()


def test_a_damaged_description_does_not_keep_the_clips_away(export: Callable[..., Path]) -> None:
    folder = export("ytvis")
    (folder / "dataset.json").write_text('{"schema":"another"}')
    dataset = open_dataset(folder)
    assert len(dataset) == 14
    (line,) = dataset.problems
    assert "its schema is 'another'" in line


# DAVIS folders in the wild.


def test_sequences_are_seen_with_what_they_have(export: Callable[..., Path], tmp_path: Path) -> None:
    folder = export("davis")
    labels, frames = folder / "Annotations/480p/boat", folder / "JPEGImages/480p/boat"
    (folder / "dataset.json").unlink()
    (labels / "00001.png").unlink()
    (labels / "00002.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    (frames / "00003.jpg").unlink()
    void = np.array(Image.open(labels / "00004.png"))
    void[:5] = 255
    Image.fromarray(void).save(labels / "00004.png")
    Image.new("P", (10, 10)).save(labels / "00005.png")
    dataset = open_dataset(folder)
    assert dataset.instances is None
    view = whole(dataset)
    assert [frame is not None for frame in view.frames] == [True, True, True, False, True, True]
    assert [int(picture.max()) for picture in view.labels] == [2, 0, 0, 2, 2, 0]
    said = "\n".join(view.problems)
    for text in (
        "the annotation boat/00002.png: ",
        "the frame boat/00003 is not there",
        "1 of these frames have no annotation",
        "the annotation boat/00005 has another size",
    ):
        assert text in said
    assert str(tmp_path) not in said


# What is no dataset.


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"  \n", "the file is empty"),
        (b"\x00\xff\xfe", "cannot be read as JSON"),
        (b"hello", "cannot be read as JSON"),
        (b"[]", "a list, perhaps of results"),
        (b'[{"video_id":1,"score":1.0,"category_id":1,"segmentations":[]}]', "a list, perhaps of results"),
        (b"{}", "it has neither videos nor images"),
        (b'{"type":"FeatureCollection","features":[]}', "it has neither videos nor images"),
        (b'{"videos":[],"annotations":[]}', "its videos are none"),
        (b'{"videos":{"a":1},"annotations":[]}', "its videos are none"),
        (b'{"videos":[1,2,3]}', "its videos are none"),
        (b'{"videos":[{"id":1,"file_names":["a/b.png"]}', "cannot be read as JSON"),
        (b'{"videos":[NaN]}', "cannot be read as JSON"),
    ],
)
def test_what_is_no_dataset_is_said_in_one_line(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=problem) as raised:
        open_dataset(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_places_without_a_dataset_are_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "davis" / "Annotations" / "480p").mkdir(parents=True)
    (tmp_path / "note.txt").write_text("hello")
    for place, problem in (
        ("nothing", "no such file or folder"),
        ("x" * 5000, "no such file or folder"),
        ("a\0b", "no such file or folder"),
        ("empty", "no dataset here"),
        ("davis", "no folder with annotations in it"),
        ("note.txt", "expected a folder or a .json file"),
    ):
        with pytest.raises(InputError, match=problem) as raised:
            open_dataset(tmp_path / place)
        assert len(str(raised.value)) < 600


# Large files.


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Write a json of 4,000 clips and 20 MB."""
    mask = json.dumps({"size": list(SIZE), "counts": "0" * 5000})
    videos = ",".join(
        f'{{"id":{number},"width":64,"height":48,"file_names":["v{number // 40}/0.png"]}}' for number in range(4000)
    )
    annotations = ",".join(f'{{"id":{number},"video_id":{number},"segmentations":[{mask}]}}' for number in range(4000))
    path = tmp_path / "large.json"
    path.write_text(f'{{"videos":[{videos}],"annotations":[{annotations}]}}')
    return path


def test_a_large_json_is_not_held_in_memory(large: Path) -> None:
    tracemalloc.start()
    dataset = open_dataset(large)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(dataset) == 4000
    assert peak < large.stat().st_size / 2
    assert held < large.stat().st_size / 10


def test_opening_tells_how_far_it_is_and_ends_when_told_to(large: Path) -> None:
    told: list[Progress] = []
    open_dataset(large, told.append)
    assert told[0].clips == 0
    assert [progress.share for progress in told] == sorted(progress.share for progress in told)
    assert told[-1] == Progress(4000, 1.0)
    assert len(told) > 20

    class Enough(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.share > 0.5:
            raise Enough

    with pytest.raises(Enough):
        open_dataset(large, stop)


def test_clips_are_found_by_the_name_of_their_video(large: Path) -> None:
    dataset = open_dataset(large)
    assert dataset.find("V99").tolist() == list(range(3960, 4000))
    assert len(dataset.find(" ")) == 4000
    assert dataset.find("w").tolist() == []


@given(length=st.integers(0, 500), most=st.integers(1, 12))
def test_frames_are_spread_evenly_over_a_clip(length: int, most: int) -> None:
    places = spread(length, most)
    assert len(places) == min(length, most)
    assert all(0 <= place < length for place in places)
    steps = set(np.diff(places).tolist())
    assert not steps or (min(steps) >= 1 and max(steps) - min(steps) <= 1)
    if length and most > 1:
        assert (places[0], places[-1]) == (0, length - 1)


def memory_of(reads: Path, places: int) -> int:
    """Return what a process takes at most to read a clip, beyond what it took to open its dataset, in bytes."""
    script = (
        "import resource, sys\n"
        "from flowcut_napari.core.dataset_reader import open_dataset\n"
        "from pathlib import Path\n"
        "peak = lambda: 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "dataset = open_dataset(Path(sys.argv[1]))\n"
        "before = peak()\n"
        "view = dataset.read(0, range(int(sys.argv[2])))\n"
        "assert any(picture.any() for picture in view.labels)\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(reads), str(places)], check=True, capture_output=True, text=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="kilobytes are Linux's")
def test_a_small_file_of_large_frames_takes_no_more_memory_than_its_pictures(tmp_path: Path) -> None:
    height, width, places = 2160, 3840, 6
    mask = encode_rle(square(5, 5, 2, (height, width)))
    video = {"id": 1, "width": width, "height": height, "file_names": [f"{place}.png" for place in range(places)]}
    annotations = [{"id": number, "video_id": 1, "segmentations": [mask] * places} for number in range(40)]
    path = tmp_path / "large.json"
    path.write_text(json.dumps({"videos": [video], "annotations": annotations}))
    assert path.stat().st_size < 25_000
    # The labels themselves, and a few masks at a time.
    assert memory_of(path, places) < height * width * (places + 6)


def test_frames_that_are_too_large_together_are_fewer_and_that_is_said(tmp_path: Path) -> None:
    side, places = 8000, 6
    mask = encode_rle(square(5, 5, 2, (side, side)))
    video = {"id": 1, "width": side, "height": side, "file_names": [f"{place}.png" for place in range(places)]}
    annotation = {"id": 1, "video_id": 1, "segmentations": [mask] * places}
    path = tmp_path / "large.json"
    path.write_text(json.dumps({"videos": [video], "annotations": [annotation]}))
    view = whole(open_dataset(path))
    assert view.places == (0, 1)
    assert len(view.labels) == len(view.frames) == 2 and view.instances[0].areas == (4, 4)
    assert view.problems == ("its frames are 8000x8000: only 2 of 6 are shown at a time",)


def test_annotations_that_are_too_large_together_are_fewer_and_that_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "Annotations" / "480p" / "large"
    folder.mkdir(parents=True)
    picture = Image.new("P", (8000, 8000))
    picture.putpalette([0, 0, 0, 128, 0, 0])
    for place in range(3):
        picture.save(folder / f"{place:05d}.png")
    view = whole(open_dataset(tmp_path))
    assert (view.places, len(view.labels)) == ((0, 1), 2)
    assert "its frames are 8000x8000: only 2 of 3 are shown at a time" in view.problems


def test_a_dataset_that_was_moved_finds_its_frames(export: Callable[..., Path], tmp_path: Path) -> None:
    moved = shutil.move(export("ytvis"), tmp_path / "elsewhere")
    assert whole(open_dataset(Path(moved))).problems == ()
