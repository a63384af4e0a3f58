"""Bad input: datasets to train on. Each fault is one line that names clip and file, and none is found too late."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import cut_jpeg, cut_to_nothing
from made_clips import edit, write_dataset, write_stills
from made_masks import write_clip
from PIL import Image
from pydantic import ValidationError

from flowcut_napari.core import InputError
from flowcut_napari.core.dataset import ExportPlan, export_dataset, export_splits
from flowcut_napari.core.parameters import one_line
from flowcut_napari.core.sources import find_masks
from flowcut_training.data import Batch, DataParameters, open_clips, open_stills, training_batches

SMALL = {"short_side": 48, "max_side": 64, "workers": 0}
_NAN = float("nan")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "dataset", (2, 3, 2, 2))


def batches_of(folder: Path, steps: int = 8, **parameters: Any) -> list[Batch]:
    settings = DataParameters(**{**SMALL, **parameters})
    return list(training_batches(open_clips(folder), None, settings, seed=0, batch=1, start=0, steps=steps))


def refusal(call: Callable[..., Any], *arguments: Any, **how: Any) -> str:
    """Return the one line with which a call is refused."""
    with pytest.raises(InputError) as error:
        call(*arguments, **how)
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 1000
    return text


# ---- frames


def _gone(path: Path) -> None:
    path.unlink()


def _text(path: Path) -> None:
    path.write_text("no picture")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _smaller(path: Path) -> None:
    Image.fromarray(np.zeros((24, 64, 3), dtype=np.uint8)).save(path)


FRAME_DAMAGE = [
    (_gone, "no such image"),
    (cut_jpeg, "damaged image"),
    (cut_to_nothing, "not a readable image"),
    (_text, "not a readable image"),
    (_folder, "not a readable image"),
    (_smaller, "is 64x24, annotations.json says 64x48"),
]


@pytest.mark.parametrize(("damage", "said"), FRAME_DAMAGE)
def test_a_frame_that_cannot_be_used_is_named_with_its_clip(
    tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    folder = write_dataset(tmp_path / "dataset", (2, 2), suffix=".jpg")
    file = folder / "frames" / "vidéo2" / "00001.jpg"
    damage(file)
    text = refusal(batches_of, folder)
    assert text.startswith(f"clip 2 (vidéo2): {file}: ")
    assert said in text


@pytest.mark.parametrize(("damage", "said"), FRAME_DAMAGE)
def test_a_clip_that_cannot_be_used_is_passed_over_where_wanted(
    tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    folder = write_dataset(tmp_path / "dataset", (2, 2, 2), suffix=".jpg")
    whole = [batch.names[0] for batch in batches_of(folder, 6)]
    damage(folder / "frames" / "vidéo2" / "00001.jpg")
    found = batches_of(folder, 6, skip_broken=True)
    again = batches_of(folder, 6, skip_broken=True)
    assert [batch.broken for batch in found] == [batch.broken for batch in again]
    for place, (batch, name) in enumerate(zip(found, whole, strict=True)):
        if name == "clip 2 (vidéo2)":
            start = 3 * (place // 3)
            assert batch.names[0] == whole[start + (place - start + 1) % 3]
            (message,) = batch.broken
            assert message.startswith("clip 2 (vidéo2): ")
            assert said in message
        else:
            assert batch.names == (name,)
            assert batch.broken == ()


def test_if_every_clip_is_broken_it_ends_with_one_line(folder: Path) -> None:
    shutil.rmtree(folder / "frames")
    (folder / "frames" / "vidéo1").mkdir(parents=True)
    (folder / "frames" / "vidéo1" / "00000.png").touch()
    text = refusal(batches_of, folder, skip_broken=True)
    assert text.startswith("4 clips one after another cannot be read, the last: clip ")


def test_of_very_many_broken_clips_not_all_are_tried(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "dataset", (2,))

    def change(document: dict[str, Any]) -> None:
        video, annotation = document["videos"][0], document["annotations"][0]
        for number in range(2, 200):
            document["videos"].append({**video, "id": number, "file_names": ["gone/0.png", "gone/1.png"]})
            document["annotations"].append({**annotation, "id": 1000 + number, "video_id": number})

    edit(folder, change)
    (folder / "frames" / "vidéo1" / "00000.png").write_text("damaged")
    assert refusal(batches_of, folder, skip_broken=True).startswith("100 clips one after another cannot be read")


def test_frames_that_are_nowhere_are_missed_at_once(folder: Path) -> None:
    shutil.rmtree(folder / "frames")
    text = refusal(open_clips, folder)
    assert "annotations.json: the frame vidéo1/00000.png is in none of" in text


# ---- what the json says


def _of_video(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["videos"][1].update(changes)


def _of_annotation(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["annotations"][2].update(changes)


def _of_code(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["annotations"][2]["segmentations"][1].update(changes)


def _codes(*codes: Any) -> Callable[[dict[str, Any]], None]:
    return _of_annotation(segmentations=list(codes))


FILES = ["vidéo2/00000.png", "vidéo2/00001.png"]
JSON_DAMAGE = [
    (_of_video(id=0), "videos[1]: the id 0 is no whole number from 1"),
    (_of_video(id=-3), "videos[1]: the id -3 is no whole number from 1"),
    (_of_video(id="2"), 'videos[1]: the id "2" is no whole number'),
    (_of_video(id=True), "videos[1]: the id true is no whole number"),
    (_of_video(id=2.0), "videos[1]: the id 2.0 is no whole number"),
    (_of_video(id=None), "videos[1]: the id null is no whole number"),
    (_of_video(id=1 << 63), "is no whole number from 1"),
    (_of_video(id=10**400), "is no whole number from 1"),
    (_of_video(id=1), "clip 1: its id is there twice"),
    (lambda document: document["videos"].append(5), "videos[4]: 5 is no object"),
    (_of_video(height=0), "clip 2: its size is 64x0"),
    (_of_video(width="64"), 'clip 2: its size is "64"x48'),
    (_of_video(width=10**9), "clip 2: its size is 1000000000x48"),
    (_of_video(file_names=[]), "clip 2: has no list of file_names"),
    (_of_video(file_names="a.png"), "clip 2: has no list of file_names"),
    (_of_video(file_names=[*FILES, 3]), "clip 2: a frame has no usable file name (3)"),
    (_of_video(file_names=[*FILES, ""]), "clip 2: a frame has no usable file name"),
    (_of_video(file_names=[*FILES, "a" * 2000]), "clip 2: a frame has no usable file name"),
    (_of_video(file_names=[*FILES, "../secret.png"]), "clip 2: the frame '../secret.png' lies outside"),
    (_of_video(file_names=[*FILES, "a/../../b.png"]), "clip 2: the frame 'a/../../b.png' lies outside"),
    (_of_video(file_names=[*FILES, "/etc/passwd"]), "clip 2: the frame '/etc/passwd' lies outside"),
    (_of_video(file_names=[*FILES, "C:\\a.png"]), "lies outside"),
    (_of_video(file_names=[*FILES, "a\n.png"]), "lies outside"),
    (_of_video(length=7), "clip 2: its length is 7, it has 3 frames"),
    (_of_video(length="3"), 'clip 2: its length is "3", it has 3 frames'),
    (_of_annotation(id=0), "annotations[2]: the id 0 is no whole number from 1"),
    (_of_annotation(id=-1), "annotations[2]: the id -1 is no whole number from 1"),
    (_of_annotation(id=1), "annotation 1: its id is there twice"),
    (_of_annotation(video_id=9), "annotation 3: refers to clip 9, which is not there"),
    (_of_annotation(video_id=None), "annotation 3: its video_id null is no whole number"),
    (_of_annotation(category_id=0), "annotation 3 of clip 2: its category_id 0 is no whole number from 1"),
    (_of_annotation(category_id="fg"), "annotation 3 of clip 2: its category_id"),
    (_of_annotation(category_id=2), "annotation 3 is of category 2; the model knows one class"),
    (_of_annotation(iscrowd=2), "annotation 3 of clip 2: its iscrowd is 2"),
    (_of_annotation(segmentations=None), "annotation 3 of clip 2: has no mask in any frame"),
    (_codes(), "annotation 3 of clip 2: has no mask in any frame"),
    (_codes(None, None, None), "annotation 3 of clip 2: has no mask in any frame"),
    (_codes({"size": [48, 64], "counts": "0"}), "annotation 3 of clip 2: has 1 segmentations, its clip 3 frames"),
    (_codes(1, None, None), "annotation 3 of clip 2: frame 0: its mask is neither"),
    (_codes([[1, 2]], None, None), "annotation 3 of clip 2: frame 0: its mask is neither"),
    (_codes([[1, 2, 3, 4, 5, "6"]], None, None), "frame 0: its mask is neither"),
    (_codes({"counts": "0"}, None, None), "frame 0: its mask is neither"),
    (_codes({"size": [48], "counts": "0"}, None, None), "frame 0: its mask is neither"),
    (_codes({"size": [48, "64"], "counts": "0"}, None, None), "frame 0: its mask is neither"),
    (_of_code(counts=5), "frame 1: its mask is neither"),
    (_of_code(counts="é"), "frame 1: its mask is neither"),
    (_of_code(size=[64, 48]), "annotation 3 of clip 2: frame 1: its mask is 48x64, another is 64x48"),
    (_of_code(size=[1 << 40, 1 << 40]), "frame 1: its mask is neither"),
    (_codes({"size": [5, 5], "counts": "0"}, None, None), "clip 2: its masks are 5x5, its clip 64x48"),
    (lambda document: document.pop("annotations"), "has no annotations"),
    (lambda document: document.pop("videos"), "has no videos"),
    (lambda document: document.update(videos=[], annotations=[]), "has no clips"),
    (lambda document: document.update(videos={}), "videos[0]: the id null is no whole number"),
    (lambda document: document.update(annotations=[]), "none of its 4 clips has an instance"),
    (lambda document: document.update(annotations=3), "annotations[0]: 3 is no object"),
    (lambda document: [item.update(iscrowd=1) for item in document["annotations"]], "has an instance"),
]


@pytest.mark.parametrize(("change", "said"), JSON_DAMAGE)
def test_what_a_json_says_wrongly_is_refused_before_training(
    folder: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    edit(folder, change)
    text = refusal(batches_of, folder, steps=0)
    assert text.startswith(f"{folder / 'annotations.json'}: ")
    assert said in text


CODE_DAMAGE = [
    (_of_code(counts=""), "its runs do not fill 48x64 pixels"),
    (_of_code(counts="0"), "its runs do not fill 48x64 pixels"),
    (_of_code(counts="PPPPPPPPPPPPPPPPPPP`"), "its runs"),
    (_of_code(counts="oooooooooooo0"), "its runs are no run-length code"),
    (_of_code(counts="\x01"), "its runs are no run-length code"),
    (_of_code(counts=[1, 2]), "its runs do not fill 48x64 pixels"),
    (_of_code(counts=[3073, -1]), "its runs do not fill 48x64 pixels"),
    (_of_code(counts=[3071.0, 1.0]), "its runs do not fill 48x64 pixels"),
    (_of_code(counts=[10**30, 3072 - 10**30]), "its runs do not fill 48x64 pixels"),
    (_codes(None, [[1e9, 0, 5, 5, 9, 1]], None), "a polygon leaves the frame of 64x48"),
    (_codes(None, [[-(10**400), 0, 5, 5, 9, 1]], None), "a polygon leaves the frame of 64x48"),
]


@pytest.mark.parametrize(("change", "said"), CODE_DAMAGE)
def test_a_damaged_mask_is_named_and_can_be_passed_over(
    folder: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    edit(folder, change)
    text = refusal(batches_of, folder, frames=2)
    assert text.startswith(f"clip 2 (vidéo2): {folder / 'annotations.json'}: annotation 3, frame 1: ")
    assert said in text
    assert any(batch.broken for batch in batches_of(folder, skip_broken=True))


def test_clips_that_are_too_short_are_refused_before_training(folder: Path) -> None:
    text = refusal(batches_of, folder, steps=0, frames=3)
    assert "clip 1 (vidéo1) has 2 frames, samples have 3; so short are 3 of 4 clips" in text


# ---- files that are no such json


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it ends too early"),
        (b"{", "cannot be read as JSON"),
        (b"[]", "where { belongs"),
        (b"3", "where { belongs"),
        (b"{}", "has no videos"),
        (b"\x89PNG\r\n", "cannot be read as JSON"),
        (b'{"videos": [{"id": NaN}]}', "NaN is no JSON number"),
        (b'{"videos": [{"id": 1, "file_names": ["\xff"]}]}', "codec can't decode"),
        (b'{"videos": ' + b"[" * 100_000, "cannot be read as JSON"),
        (b'{"images": [], "annotations": []}', "holds stills (it has images), where clips are needed"),
    ],
)
def test_a_file_that_is_no_such_json_is_refused(folder: Path, content: bytes, said: str) -> None:
    (folder / "annotations.json").write_bytes(content)
    text = refusal(open_clips, folder)
    assert text.startswith(f"{folder / 'annotations.json'}: ")
    assert said in text


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_a_json_that_is_cut_off_is_refused_and_no_index_is_left(folder: Path, tmp_path: Path, share: float) -> None:
    path = folder / "annotations.json"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "cannot be read as JSON" in refusal(open_clips, folder, tmp_path / "run" / "clips.npz")
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("name", ["nowhere", "a\0b", "a" * 5000])
def test_what_is_not_there_is_refused(name: str) -> None:
    for opened in (open_clips, open_stills):
        assert "no such file or folder" in refusal(opened, Path(name))


def test_a_folder_without_a_dataset_is_refused(tmp_path: Path) -> None:
    assert "no dataset (it has no annotations.json or train.json or instances.json)" in refusal(open_clips, tmp_path)


# ---- other datasets


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for name in ("boat", "car"):
        write_clip(folder / "videos", folder / "masks", 4, name)
    files = find_masks([folder / "masks"])
    for form in ("ytvis", "coco", "davis"):
        export_dataset(files, folder / form, ExportPlan(format=form))
    export_dataset(files, folder / "bare", ExportPlan(frame_files="none"))
    export_splits(files, folder / "split", ExportPlan(), {"train": 0.5, "val": 0.5})
    return folder


def test_the_other_formats_are_refused_with_what_to_give(made: Path) -> None:
    assert "has the DAVIS format; give a dataset made with --format ytvis" in refusal(open_clips, made / "davis")
    assert "has the DAVIS format; give a dataset made with --format coco" in refusal(open_stills, made / "davis")
    assert "has the format coco; give it as stills" in refusal(open_clips, made / "coco")
    assert "has the format ytvis; give one made with --format coco" in refusal(open_stills, made / "ytvis")


def test_the_parts_of_a_split_dataset_are_named(made: Path) -> None:
    text = refusal(open_clips, made / "split")
    assert f"give one of them: {made / 'split' / 'train'}, {made / 'split' / 'val'}" in text


def test_a_dataset_without_its_frames_is_refused(made: Path) -> None:
    assert "was exported without its frames; export it with --frame-files" in refusal(open_clips, made / "bare")


def test_a_damaged_account_of_a_dataset_is_refused(folder: Path) -> None:
    (folder / "dataset.json").write_text('{"schema": "flowcut.dataset/9"}')
    assert "its schema is 'flowcut.dataset/9'; this version reads" in refusal(open_clips, folder)


# ---- stills


def test_stills_whose_images_are_missing_are_refused(tmp_path: Path) -> None:
    path = write_stills(tmp_path / "stills", 3)
    shutil.rmtree(path.parent / "JPEGImages")
    assert "stills.json: the frame 1.png is in none of" in refusal(open_stills, path)
    assert "no such folder of images" in refusal(open_stills, path, path.parent / "JPEGImages")
    (path.parent / "JPEGImages").mkdir()
    source = open_stills(path, path.parent / "JPEGImages")
    assert refusal(source.load, 0) == f"still 1 (1.png): {path.parent / 'JPEGImages' / '1.png'}: no such image"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda document: document["images"][0].update(file_name="../1.png"), "still 1: the frame '../1.png' lies"),
        (lambda document: document["images"][0].update(file_name=None), "still 1: a frame has no usable file name"),
        (lambda document: document["images"][0].update(id=0), "images[0]: the id 0 is no whole number from 1"),
        (lambda document: document["annotations"][0].update(segmentation=None), "annotation 1 of still 1: has no mask"),
        (lambda document: document["annotations"][0].update(segmentation=[]), "annotation 1 of still 1: frame 0: its"),
        (lambda document: document["annotations"][0].update(image_id=8), "annotation 1: refers to still 8, which is"),
        (lambda document: document.update(videos=document.pop("images")), "holds clips (it has videos), where stills"),
    ],
)
def test_what_a_json_of_stills_says_wrongly_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    path = edit(write_stills(tmp_path / "stills", 3), change)
    assert refusal(open_stills, path).startswith(f"{path}: {said}")


def test_stills_and_their_share_go_together(folder: Path, tmp_path: Path) -> None:
    clips, stills = open_clips(folder), open_stills(write_stills(tmp_path / "stills", 2))
    plain = DataParameters()
    mixed = DataParameters(stills="s", stills_share=0.5)
    how = {"seed": 0, "batch": 1, "start": 0, "steps": 1}
    assert "so stills have no part" in refusal(training_batches, clips, stills, plain, **how)
    assert "but no stills are given" in refusal(training_batches, clips, None, mixed, **how)
    assert "holds stills, where clips are needed" in refusal(training_batches, stills, None, plain, **how)
    assert "holds clips, where stills are needed" in refusal(training_batches, clips, clips, mixed, **how)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"seed": -1}, "seed is -1, must be at least 0"),
        ({"batch": 0}, "batch is 0, must be at least 1"),
        ({"start": -1}, "start is -1, must be at least 0"),
        ({"start": 2}, "steps is 1, must be at least 2"),
        ({"rank": -1}, "rank is -1, must be at least 0"),
        ({"rank": 1}, "rank is 1, must be below world, 1"),
        ({"world": 0}, "world is 0, must be at least 1"),
        ({"accumulation": 0}, "accumulation is 0, must be at least 1"),
    ],
)
def test_impossible_schedules_are_refused(folder: Path, how: dict[str, int], said: str) -> None:
    wanted = {"seed": 0, "batch": 1, "start": 0, "steps": 1, **how}
    assert refusal(training_batches, open_clips(folder), None, DataParameters(), **wanted) == said


# ---- parameters


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"stills_share": -0.1, "stills": "a"}, "stills_share is -0.1: input should be greater"),
        ({"stills_share": 1.1, "stills": "a"}, "stills_share is 1.1: input should be less"),
        ({"stills_share": _NAN, "stills": "a"}, "stills_share is nan"),
        ({"stills_share": 0.5}, "stills_share is given without stills"),
        ({"stills": "a"}, "stills_share is 0"),
        ({"stills_images": "a"}, "stills_images is given without stills"),
        ({"frames": 0}, "frames is 0"),
        ({"frames": "2"}, "frames is '2'"),
        ({"frames": True}, "frames is True"),
        ({"brightness": (1.1, 0.9)}, "brightness is 1.1, 0.9"),
        ({"contrast": (0.0, 1.0)}, "contrast is 0.0, 1.0"),
        ({"brightness": [0.9]}, "brightness"),
        ({"brightness": ["0.9", True]}, "brightness"),
        ({"max_side": 100}, "max_side is 100, below short_side, 360"),
        ({"rotation": -1.0}, "rotation is -1.0"),
        ({"flip": 2}, "flip is 2"),
        ({"workers": -1}, "workers is -1"),
        ({"zoom": 2}, "zoom is not known here"),
    ],
)
def test_parameters_out_of_their_range_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as error:
        DataParameters(**values)
    assert said in one_line(error.value)


def test_parameters_come_from_yaml_and_json_alike() -> None:
    wanted = DataParameters(brightness=(0.8, 1.2), flip=1)
    assert DataParameters.model_validate({"brightness": [0.8, 1.2], "flip": 1}) == wanted
    assert DataParameters.model_validate_json(json.dumps(wanted.model_dump())) == wanted
