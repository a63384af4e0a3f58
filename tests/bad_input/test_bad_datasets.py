"""Bad input: datasets, checked and merged by `flowcut curate`. All damage found and named, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Result, _Forkserver, cut_jpeg, cut_to_nothing, snapshot, written
from conftest import write_frames
from made_masks import write_clip
from PIL import Image

from flowcut_napari.core.dataset import ExportPlan, export_dataset, export_splits
from flowcut_napari.core.parameters import CurationParameters
from flowcut_napari.core.sources import find_masks

_GONE = object()
_NAN = float("nan")
_HUGE = 10**30
_FORMS = ("ytvis", "coco", "davis")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make datasets of the video `boat` in each format and way, and of the video `car` in each format."""
    folder = tmp_path_factory.mktemp("made")
    for count, name in ((5, "boat"), (4, "car")):
        write_clip(folder / "videos", folder / f"{name}-masks", count, name)
        files = find_masks([folder / f"{name}-masks"])
        for form in _FORMS:
            parameters = CurationParameters(clip_length="all" if form == "davis" else 2)
            export_dataset(files, folder / f"{name}-{form}", ExportPlan(parameters, form))
        for mode in ("link", "reference", "none"):
            export_dataset(files, folder / f"{name}-{mode}", ExportPlan(frame_files=mode))
        export_dataset(files, folder / f"{name}-davis-reference", ExportPlan(format="davis", frame_files="reference"))
    files = find_masks([folder / "boat-masks", folder / "car-masks"])
    export_splits(files, folder / "split", ExportPlan(), {"train": 0.5, "val": 0.5})
    return folder


@pytest.fixture
def take(made: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copy a dataset to a place of its own."""

    def copy(name: str, place: str | None = None) -> Path:
        return Path(shutil.copytree(made / name, tmp_path / (place or name), symlinks=True))

    return copy


@pytest.fixture
def check(server: _Forkserver, tmp_path: Path) -> Callable[..., list[str]]:
    """Check a dataset; return what is said of it, less the folder, whose name has that of the test in it."""

    def run(dataset: Path | str, *more: str, **how: Any) -> list[str]:
        before = snapshot(tmp_path)
        result = server.run(["curate", "--check", dataset, *more], **how)
        assert snapshot(tmp_path) == before
        assert not result.strays, result.err
        assert not result.notes
        assert "unexpected" not in result.err, result.err
        assert result.code == (2 if result.errors else 0), result.err
        assert bool(result.errors) != bool(result.out) or "--json" in more
        return [line.replace(str(tmp_path), "") for line in result.errors]

    return run


@pytest.fixture
def merge(server: _Forkserver, tmp_path: Path) -> Callable[..., Result]:
    """Merge datasets into `tmp_path/merged`; they stay as they are, and without success nothing is made."""

    def run(*datasets: Path | str, to: Path = tmp_path / "merged", **how: Any) -> Result:
        before = snapshot(tmp_path)
        result = server.run(["curate", "--merge", *datasets, "-o", to], **{"folder": tmp_path, **how})
        after = snapshot(tmp_path)
        if result.code:
            assert after == before
        assert {path: after.get(path) for path in before} == before
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
        return result

    return run


@pytest.fixture
def refused(merge: Callable[..., Result], tmp_path: Path) -> Callable[..., str]:
    def run(*datasets: Path | str, needles: Sequence[str] = (), **how: Any) -> str:
        line = merge(*datasets, **how).fails_with().replace(str(tmp_path), "")
        for needle in needles:
            assert needle.lower() in line.lower()
        return line

    return run


def edit(file: Path, *changes: tuple[Sequence[str | int], Any]) -> None:
    content = json.loads(file.read_text())
    for keys, value in changes:
        place = content
        for key in keys[:-1]:
            place = place[key]
        if value is _GONE:
            del place[keys[-1]]
        else:
            place[keys[-1]] = value
    file.write_text(json.dumps(content))


def _name(value: Any) -> str:
    return "gone" if value is _GONE else ascii(value)[:24].replace("/", "|")


def _all_named(lines: Sequence[str], needles: Sequence[str]) -> bool:
    return any(all(needle in line for needle in needles) for line in lines)


# What is right passes.


@pytest.mark.parametrize("name", [f"boat-{way}" for way in (*_FORMS, "link", "reference", "none", "davis-reference")])
def test_a_dataset_as_it_was_made_is_valid(
    check: Callable[..., list[str]], take: Callable[..., Path], name: str
) -> None:
    dataset = take(name)
    assert check(dataset) == []
    if name == "boat-ytvis":
        assert check(f"{dataset}/") == []
        assert check(".", folder=dataset) == []


def test_a_dataset_behind_a_link_is_valid(
    check: Callable[..., list[str]], take: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(take("boat-ytvis"))
    assert check(tmp_path / "link") == []


def _runs(mask: np.ndarray) -> list[int]:
    """Return run lengths in columns, background first, as in the json of others."""
    flat = mask.ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *ends, flat.size]).tolist()
    return [0, *runs] if flat[0] else runs


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Write a YouTube-VIS json as others do: uncompressed runs, ids with holes, annotations before what they are of."""
    root = tmp_path / "foreign"
    write_frames(root / "JPEGImages" / "0a1b", 3, suffix=".jpg")
    mask = np.zeros((48, 64), dtype=bool)
    mask[:10, :20] = True
    there = {"counts": _runs(mask), "size": [48, 64]}
    content = {
        "annotations": [
            {
                "id": 40,
                "video_id": 7,
                "category_id": 26,
                "iscrowd": 0,
                "height": 48,
                "width": 64,
                "length": 3,
                "segmentations": [there, None, there],
                "bboxes": [[0, 0, 20, 10], None, [0.0, 0.0, 20.0, 10.0]],
                "areas": [200, None, 200.0],
            },
        ],
        "info": {"description": "YouTube-VIS", "version": "1.0"},
        "licenses": [{"url": "https://creativecommons.org/licenses/by/4.0/", "id": 1}],
        "videos": [
            {
                "id": 7,
                "width": 64,
                "height": 48,
                "length": 3,
                "license": 1,
                "coco_url": "",
                "file_names": [f"0a1b/{index:05d}.jpg" for index in range(3)],
            },
        ],
        "categories": [{"id": number, "name": f"kind {number}", "supercategory": "object"} for number in (1, 26, 40)],
    }
    (root / "annotations.json").write_text(json.dumps(content))
    return root


def test_a_youtube_vis_json_of_others_is_valid(check: Callable[..., list[str]], foreign: Path) -> None:
    assert check(foreign) == []


def test_a_json_longer_than_what_is_read_at_once_is_valid(check: Callable[..., list[str]], foreign: Path) -> None:
    content = json.loads((foreign / "annotations.json").read_text())
    random = np.random.default_rng(0)
    first = content["annotations"][0]
    content["annotations"] = []
    for number in range(1, 1200):
        mask = random.random((48, 64)) < 0.3
        mask[0, 0] = mask[-1, -1] = True
        code = {"counts": _runs(mask), "size": [48, 64]}
        masks = {"segmentations": [code, None, None], "bboxes": [[0, 0, 64, 48], None, None]}
        content["annotations"].append({**first, "id": number, **masks, "areas": [int(mask.sum()), None, None]})
    (foreign / "annotations.json").write_text(json.dumps(content, indent=1))
    assert (foreign / "annotations.json").stat().st_size > 3 << 20
    assert check(foreign) == []


@pytest.mark.parametrize(
    ("changes", "needles"),
    [
        ([(("videos", 0, "file_names", 0), "0a1b/nope.jpg")], ("0a1b/nope.jpg",)),
        ([(("videos", 0, "file_names", 1), "0a1b/nope.jpg")], ("video 7", "0a1b/nope.jpg")),
        ([(("videos", 0, "file_names", 1), "../../secret.jpg")], ("video 7", "../../secret.jpg")),
        ([(("annotations", 0, "category_id"), 2)], ("annotation 40", "category_id 2")),
        ([(("annotations", 0, "segmentations", 0, "counts", 0), 1)], ("annotation 40", "frame 0")),
        ([(("annotations", 0, "segmentations", 2, "counts"), [-1, 3073])], ("annotation 40", "frame 2")),
        ([(("annotations", 0, "segmentations", 2, "counts"), [3072.0])], ("annotation 40", "frame 2")),
        ([(("annotations", 0, "segmentations", 2, "counts"), [_HUGE, -_HUGE, 3072])], ("annotation 40", "frame 2")),
        ([(("annotations", 0, "segmentations", 2), None)], ("annotation 40", "frame 2")),
        ([(("annotations", 0, "segmentations", 2), [])], ("annotation 40", "frame 2")),
    ],
)
def test_damage_to_the_json_of_others_is_named(
    check: Callable[..., list[str]], foreign: Path, changes: Any, needles: tuple[str, ...]
) -> None:
    edit(foreign / "annotations.json", *changes)
    lines = check(foreign)
    assert _all_named(lines, needles), lines


@pytest.mark.parametrize("width", [2**31, 2**32 + 1, 10**12, 10**19])
def test_masks_of_absurd_size_are_named(check: Callable[..., list[str]], foreign: Path, width: int) -> None:
    code = {"size": [48, width], "counts": [0, 48 * width]}
    edit(
        foreign / "annotations.json",
        (("videos", 0, "width"), width),
        (("annotations", 0, "width"), width),
        (("annotations", 0, "segmentations"), [code] * 3),
    )
    lines = check(foreign, timeout=10)
    assert _all_named(lines, ("video 7", "size", str(width))), lines


# What is no dataset.


@pytest.mark.parametrize(
    "place", ["nope", "file", "empty", "masks", "loop", "loop/x", "x" * 300, "x/" * 2500, "/dev/null", "/"]
)
def test_what_is_no_dataset_is_refused_by_name(
    check: Callable[..., list[str]], refused: Callable[..., str], take: Callable[..., Path], tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    take("boat-masks", "masks")
    lines = check(place, folder=tmp_path)
    assert len(lines) == 1
    assert place[:40] in lines[0]
    assert place[:40] in refused(take("boat-ytvis"), place)


def test_a_split_is_no_dataset_but_its_parts_are(
    check: Callable[..., list[str]], refused: Callable[..., str], take: Callable[..., Path]
) -> None:
    split = take("split")
    lines = check(split)
    assert len(lines) == 1
    assert "train" in lines[0]
    assert "val" in lines[0]
    assert check(split / "train") == check(split / "val") == []
    refused(split, take("boat-ytvis"), needles=["split", "train"])


@pytest.mark.parametrize("more", [("masks",), ("-o", "x"), ("--merge",)], ids=" ".join)
def test_checking_is_nothing_else_at_once(
    check: Callable[..., list[str]], take: Callable[..., Path], more: tuple[str, ...]
) -> None:
    lines = check(take("boat-ytvis"), *more)
    assert len(lines) == 1
    assert "--check" in lines[0]


_TEXTS = [
    *(b"", b"{", b"[]", b"<html>", b"{}{}", b'{"videos": [1,]}', b'{"videos": [}', b"\xff\xfe\x00", b"\0" * 99),
    *(b'{"videos": [NaN]}', b'{"videos": [' + b"1" * 6000 + b"]}", b'{"videos": [], "videos": []}'),
    *(b'{"videos":' * 100_000, b'{"videos": [' + b"[" * 100_000),
]


@pytest.mark.parametrize(
    ("file", "data"),
    [*[("annotations.json", data) for data in _TEXTS], *[("dataset.json", data) for data in _TEXTS[::3]]],
    ids=_name,
)
def test_a_json_that_cannot_be_read_is_named(
    check: Callable[..., list[str]], take: Callable[..., Path], file: str, data: bytes
) -> None:
    dataset = take("boat-ytvis")
    (dataset / file).write_bytes(data)
    lines = check(dataset)
    assert len(lines) == 1
    assert file in lines[0]


@pytest.mark.parametrize("file", ["annotations.json", "dataset.json"])
def test_a_json_that_was_cut_off_anywhere_is_named(
    check: Callable[..., list[str]], take: Callable[..., Path], file: str
) -> None:
    dataset = take("boat-ytvis")
    data = (dataset / file).read_bytes()
    for length in (10, len(data) // 3, len(data) * 2 // 3, len(data) - 2):
        (dataset / file).write_bytes(data[:length])
        lines = check(dataset)
        assert len(lines) == 1
        assert file in lines[0]


@pytest.mark.parametrize("what", ["gone", "a folder", "a loop", "a pipe"])
@pytest.mark.parametrize("file", ["annotations.json", "ImageSets/2017/train.txt"])
def test_a_dataset_without_its_list_is_named(
    check: Callable[..., list[str]], take: Callable[..., Path], file: str, what: str
) -> None:
    dataset = take("boat-ytvis" if file == "annotations.json" else "boat-davis")
    _replace(dataset / file, what)
    lines = check(dataset, timeout=5)
    assert len(lines) == 1
    assert file in lines[0]


def _replace(path: Path, what: str) -> None:
    path.unlink()
    if what == "a folder":
        path.mkdir()
    elif what == "a loop":
        path.symlink_to(path.name)
    elif what == "a pipe":
        os.mkfifo(path)


@pytest.mark.parametrize("schema", ["flowcut.dataset/2", "flowcut.masks/1", "", 1, [], _GONE], ids=_name)
def test_a_dataset_of_another_schema_or_version_is_refused(
    check: Callable[..., list[str]], refused: Callable[..., str], take: Callable[..., Path], schema: Any
) -> None:
    dataset = take("boat-ytvis")
    edit(dataset / "dataset.json", (("schema",), schema))
    lines = check(dataset)
    assert len(lines) == 1
    assert _all_named(lines, ("dataset.json", "schema", "flowcut.dataset/1")), lines
    refused(dataset, take("car-ytvis"), needles=["boat-ytvis", "schema"])


# Damage to annotations.


_Damages = dict[str, tuple[Sequence[str | int], Sequence[Any], tuple[str, ...]]]
_CODE = ("annotations", 0, "segmentations", 0)
# What is changed, to what, and what must be in one line of the check; item 0 is the first, N its number from 1.
_DAMAGES: _Damages = {
    "videos": (("videos",), (None, [], _GONE), ("video",)),
    "a video": (("videos", 0), (None, 5, [], {}, "x"), ("videos[0]",)),
    "id of a video": (("videos", 0, "id"), (None, 0, -1, 1.0, "1", True, _GONE), ("videos[0]", "id")),
    "width of a video": (("videos", 0, "width"), (None, 0, -64, "64", 64.0, _GONE), ("video N", "size")),
    "another height of a video": (("videos", 0, "height"), (47,), ("video N", "boat/0000", "64x48")),
    "absurd height of a video": (("videos", 0, "height"), (_HUGE,), ("video N", "size")),
    "length of a video": (("videos", 0, "length"), (None, 0, 1, 3, "2", _GONE), ("video N", "length")),
    "frames of a video": (
        ("videos", 0, "file_names"),
        (None, 5, "x", [], [5], [None], _GONE),
        ("video N", "file_names"),
    ),
    "too few frames": (("videos", 0, "file_names"), (["boat/00000.jpg"],), ("video N", "1 frames")),
    "a frame twice": (("videos", 0, "file_names", 1), ("boat/00000.jpg",), ("video N", "twice")),
    "a frame that is not there": (("videos", 0, "file_names", 0), ("boat/n.jpg", "boat"), ("video N", "is not there")),
    "a frame outside": (
        ("videos", 0, "file_names", 0),
        ("../dataset.json", "/etc/passwd", "boat/../../x.jpg", "C:\\x.jpg", "boat\\00000.jpg", "", ".", "..", "car/.."),
        ("video N", "outside"),
    ),
    "a frame of an odd name": (
        ("videos", 0, "file_names", 0),
        ("boat/00000.jpg\0", "boat/\n.jpg", "\ud800.jpg", "x" * 5000, "x/" * 2500 + "x.jpg"),
        ("video N", "frame"),
    ),
    "categories": (("categories",), (5, [], _GONE), ("categor",)),
    "a category": (("categories", 0), (None, {"id": 1}, {"id": 0, "name": "fg"}), ("categories",)),
    "annotations": (("annotations",), ({}, [], _GONE), ("annotation",)),
    "an annotation": (("annotations", 0), (None, 5, [], {}, "x"), ("annotations[0]",)),
    "id of an annotation": (("annotations", 0, "id"), (None, 0, -1, 1.0, "1", True, _GONE), ("annotations[0]", "id")),
    "video of an annotation": (
        ("annotations", 0, "video_id"),
        (None, 0, 99, "1", 1.0, True, [1], {}, _HUGE, _GONE),
        ("annotation N", "video_id"),
    ),
    "category of an annotation": (
        ("annotations", 0, "category_id"),
        (None, 0, 2, "1", _HUGE, [1], [], {}, _GONE),
        ("annotation N", "category_id"),
    ),
    "crowd": (("annotations", 0, "iscrowd"), (None, 2, -1, "0", [0], _GONE), ("annotation N", "iscrowd")),
    "width of an annotation": (("annotations", 0, "width"), (None, 63, "64", 0), ("annotation N", "width")),
    "length of an annotation": (("annotations", 0, "length"), (None, 1, 3), ("annotation N", "length")),
    **{
        f"{name} of an annotation": (
            ("annotations", 0, name),
            (None, 5, "x", {}, [], [None], _GONE),
            ("annotation N", name),
        )
        for name in ("segmentations", "bboxes", "areas")
    },
    "a mask": (_CODE, (None, 5, "x", [], {}, [[0, 0, 5, 0, 5, 5]], {"size": [48, 64]}), ("annotation N", "frame 0")),
    "size of a mask": (
        (*_CODE, "size"),
        (None, 48, [], [48], [64, 48], [48, 64, 1], [0, 0], ["48", "64"], _GONE),
        ("annotation N", "frame 0"),
    ),
    "runs of a mask": (
        (*_CODE, "counts"),
        (
            *(None, 5, "", " ", "!!!", "zzzzzzzz", "é", "\n", "\0", "\ud800", "P" * 9, "0" * 99, "1", {}, _GONE),
            *([], [3072], [3071], [3073], [0, 3073], [-1, 3073], [1.5, 3070.5], ["3072"], [True, 3071], [None]),
            [[3072]],
        ),
        ("annotation N", "frame 0"),
    ),
    "area of a mask": (
        ("annotations", 0, "areas", 0),
        (None, 0, 255, -256, "256", [256], 256.5, _HUGE),
        ("annotation N", "frame 0"),
    ),
    "box of a mask": (
        ("annotations", 0, "bboxes", 0),
        (None, 5, "x", [], [2, 16, 16], [0, 0, 64, 48], [2, 16, 18, 32], ["2", "16", "16", "16"], [_HUGE] * 4),
        ("annotation N", "frame 0"),
    ),
}
_COCO_DAMAGES: _Damages = {
    "images": (("images",), (None, [], _GONE), ("image",)),
    "id of an image": (("images", 0, "id"), (None, 0, "1", _GONE), ("images[0]", "id")),
    "size of an image": (("images", 0, "height"), (None, 0, "48", _GONE), ("image N", "size")),
    "file of an image": (("images", 0, "file_name"), (None, 5, [], _GONE), ("image N", "file_name")),
    "a file outside": (("images", 0, "file_name"), ("../x.jpg", "/etc/passwd", "C:\\x.jpg"), ("image N", "outside")),
    "image of an annotation": (("annotations", 0, "image_id"), (None, 99, [1], _GONE), ("annotation N", "image_id")),
    "category": (("annotations", 0, "category_id"), (None, 2, [1], {}, _GONE), ("annotation N", "category_id")),
    "a mask": (("annotations", 0, "segmentation"), (None, 5, [], {}, _GONE), ("annotation N", "segmentation")),
    "runs": (("annotations", 0, "segmentation", "counts"), (None, "", "é", [3072]), ("annotation N",)),
    "area": (("annotations", 0, "area"), (None, 0, 255, _GONE), ("annotation N", "area")),
    "box": (("annotations", 0, "bbox"), (None, [], [0, 0, 1, 1], _GONE), ("annotation N", "box")),
}


@pytest.mark.parametrize(
    ("form", "name"), [*[("ytvis", name) for name in _DAMAGES], *[("coco", name) for name in _COCO_DAMAGES]]
)
def test_damage_to_annotations_is_found_and_named(
    check: Callable[..., list[str]], take: Callable[..., Path], form: str, name: str
) -> None:
    keys, values, needles = (_DAMAGES if form == "ytvis" else _COCO_DAMAGES)[name]
    dataset = take(f"boat-{form}")
    whole = (dataset / "annotations.json").read_text()
    # Items are damaged side by side, but no more of them than the check shows problems.
    most = min(15, len(json.loads(whole)[keys[0]])) if len(keys) > 1 and keys[0] != "categories" else 1
    for start in range(0, len(values), most):
        changes = [((keys[0], place, *keys[2:]), value) for place, value in enumerate(values[start : start + most])]
        (dataset / "annotations.json").write_text(whole)
        edit(dataset / "annotations.json", *(changes if len(keys) > 1 else [(keys, values[start])]))
        lines = check(dataset)
        for place, (_, value) in enumerate(changes):
            wanted = [needle.replace("[0]", f"[{place}]").replace("N", f"{place + 1}") for needle in needles]
            assert _all_named(lines, wanted), f"{_name(value)}: {lines}"
        assert max(map(len, lines)) < 2000


@pytest.mark.parametrize("kind", ["videos", "annotations"])
def test_an_id_that_is_there_twice_is_named(
    check: Callable[..., list[str]], take: Callable[..., Path], kind: str
) -> None:
    dataset = take("boat-ytvis")
    edit(dataset / "annotations.json", ((kind, 1, "id"), 1))
    lines = check(dataset)
    assert _all_named(lines, (f"{kind}[1]", "id", "twice")), lines


def test_an_instance_without_any_mask_is_named(check: Callable[..., list[str]], take: Callable[..., Path]) -> None:
    dataset = take("boat-ytvis")
    names = ("segmentations", "bboxes", "areas")
    edit(dataset / "annotations.json", *[(("annotations", 0, name), [None, None]) for name in names])
    assert _all_named(check(dataset), ("annotation 1", "no mask"))


def test_all_damage_is_counted_and_the_first_of_it_shown(
    check: Callable[..., list[str]], server: _Forkserver, take: Callable[..., Path]
) -> None:
    dataset = take("boat-ytvis")
    content = json.loads((dataset / "annotations.json").read_text())
    for annotation in content["annotations"]:
        annotation["areas"] = [1, 2]
    (dataset / "annotations.json").write_text(json.dumps(content))
    problems = 2 * len(content["annotations"])
    lines = check(dataset)
    assert 1 < len(lines) < problems
    assert str(problems - len(lines) + 1) in lines[-1]
    result = server.run(["curate", "--check", dataset, "--json"])
    document = json.loads(result.out)
    assert result.code == 2
    assert (document["valid"], document["problem_count"]) == (False, problems)
    assert len(document["problems"]) == len(lines) - 1


@pytest.mark.parametrize("name", [f"boat-{form}" for form in _FORMS])
def test_json_of_a_check_is_one_document(server: _Forkserver, take: Callable[..., Path], name: str) -> None:
    dataset = take(name, "line\nfeed")
    result = server.run(["curate", "--check", dataset, "--json"])
    result.succeeds_silently()
    document = json.loads(result.out)
    assert (document["dataset"], document["valid"], document["problems"]) == (str(dataset), True, [])


def test_a_check_says_so_when_standard_output_is_full(server: _Forkserver, take: Callable[..., Path]) -> None:
    for more in ((), ("--json",)):
        result = server.run(["curate", "--check", take("boat-ytvis", f"copy{len(more)}"), *more], stdout="/dev/full")
        assert result.code in (1, 2)
        assert not result.strays
        assert len(result.errors) == 1


# Damage to frames.


def _smaller(path: Path) -> None:
    with Image.open(path) as picture:
        small = picture.resize((32, 24))
    small.save(path)


def _link(path: Path, target: str | Path) -> None:
    path.unlink()
    path.symlink_to(target)


_FRAME_DAMAGES: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "empty": cut_to_nothing,
    "garbage": lambda path: path.write_bytes(b"garbage" * 99),
    "cut off": cut_jpeg,
    "smaller": _smaller,
    "a folder": lambda path: _replace(path, "a folder"),
    "a pipe": lambda path: _replace(path, "a pipe"),
    "a loop": lambda path: _replace(path, "a loop"),
    "a link to nothing": lambda path: _link(path, "nope.jpg"),
    "a link out": lambda path: _link(path, write_frames(path.parents[4] / "elsewhere", 1, suffix=".jpg") / "00000.jpg"),
    "a link far out": lambda path: _link(path, "/etc/passwd"),
}


@pytest.mark.parametrize(
    ("form", "damage"),
    [
        *[(form, damage) for form in ("ytvis", "davis") for damage in _FRAME_DAMAGES],
        *[("coco", damage) for damage in ("gone", "cut off", "a link out")],
    ],
)
def test_damage_to_a_frame_is_found_and_named(
    check: Callable[..., list[str]], take: Callable[..., Path], form: str, damage: str
) -> None:
    dataset = take(f"boat-{form}", "deep/er/dataset")
    path = dataset / ("JPEGImages/480p" if form == "davis" else "frames") / "boat" / "00002.jpg"
    _FRAME_DAMAGES[damage](path)
    lines = check(dataset, timeout=5)
    needle = "boat" if form == "davis" and damage in ("gone", "a folder", "a pipe") else "00002.jpg"
    assert _all_named(lines, ("boat", needle)), lines


@pytest.mark.parametrize("form", _FORMS)
def test_a_folder_of_frames_that_leads_out_of_the_dataset_is_found(
    check: Callable[..., list[str]], take: Callable[..., Path], tmp_path: Path, form: str
) -> None:
    dataset = take(f"boat-{form}")
    folder = dataset / ("JPEGImages/480p" if form == "davis" else "frames") / "boat"
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    lines = check(dataset)
    assert _all_named(lines, ("boat", "out")), lines


def test_references_to_frames_that_went_away_are_found(
    check: Callable[..., list[str]], take: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = take("boat-reference")
    _link(dataset / "frames" / "boat" / "00003.jpg", tmp_path / "nope.jpg")
    assert _all_named(check(dataset), ("boat/00003.jpg",))


# Damage to what a dataset says of itself.


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        *[(("format",), value) for value in ("voc", "davis", [], {}, _GONE)],
        *[(("counts",), value) for value in ([], _GONE)],
        *[(("counts", "clips"), value) for value in (None, 9, True)],
        (("counts", "instances"), 99),
        *[(("counts", "videos"), value) for value in (99, _GONE)],
        *[(("frame_files",), value) for value in ("none at all", _GONE)],
        *[(("videos",), value) for value in (None, [], [5], _GONE)],
        *[(("videos", 0, "name"), value) for value in (5, _GONE)],
        *[(("videos", 0, "stage1"), value) for value in ("0", 7, _GONE)],
    ],
    ids=lambda value: _name(value) if not isinstance(value, tuple) else ".".join(map(str, value)),
)
def test_damage_to_dataset_json_is_found_and_named_and_keeps_it_from_being_merged(
    check: Callable[..., list[str]],
    refused: Callable[..., str],
    take: Callable[..., Path],
    keys: tuple[str | int, ...],
    value: Any,
) -> None:
    dataset = take("boat-ytvis")
    edit(dataset / "dataset.json", (keys, value))
    lines = check(dataset)
    if keys != ("format",):  # of another format, other files are missing
        assert _all_named(lines, ("dataset.json",)), lines
    assert lines
    refused(dataset, take("car-ytvis"), needles=["boat-ytvis"])


# Damage to DAVIS datasets.


def _palette(mode: str, size: tuple[int, int]) -> Callable[[Path], None]:
    return lambda path: Image.new(mode, size).save(path)


_LABEL_DAMAGES: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "empty": cut_to_nothing,
    "garbage": lambda path: path.write_bytes(b"garbage"),
    "cut off": cut_jpeg,
    "no palette": _palette("RGB", (64, 48)),
    "grey": _palette("L", (64, 48)),
    "smaller": _palette("P", (32, 24)),
    "a folder": lambda path: _replace(path, "a folder"),
    "a pipe": lambda path: _replace(path, "a pipe"),
    "a loop": lambda path: _replace(path, "a loop"),
    "a link out": lambda path: (
        path.rename(path.parents[4] / "elsewhere.png"),
        path.symlink_to("../../../../elsewhere.png"),
    ),
}


@pytest.mark.parametrize("damage", _LABEL_DAMAGES)
def test_damage_to_a_davis_annotation_is_found_and_named(
    check: Callable[..., list[str]], refused: Callable[..., str], take: Callable[..., Path], damage: str
) -> None:
    dataset = take("boat-davis")
    _LABEL_DAMAGES[damage](dataset / "Annotations" / "480p" / "boat" / "00002.png")
    lines = check(dataset, timeout=5)
    needle = (
        "00002" if damage in ("empty", "garbage", "cut off", "no palette", "grey", "a loop", "a link out") else "boat"
    )
    assert _all_named(lines, ("boat", needle)), lines
    refused(dataset, take("car-davis"), needles=["boat-davis"])


@pytest.mark.parametrize(
    ("data", "needle"),
    [
        *[(b"", "sequences"), (b"boat\nnope\n", "nope"), (b"boat\nboat\n", "sequences"), (b"../boat\n", "../boat")],
        *[
            (b"/etc\n", "/etc"),
            (b"..\n", ".."),
            (b"\xff\xfe\n", "train.txt"),
            (b"a\0b\n", "a\\x00b"),
            (b"x" * 5000, "xxx"),
        ],
    ],
    ids=_name,
)
def test_damage_to_the_list_of_davis_sequences_is_found_and_named(
    check: Callable[..., list[str]], refused: Callable[..., str], take: Callable[..., Path], data: bytes, needle: str
) -> None:
    dataset = take("boat-davis")
    (dataset / "ImageSets" / "2017" / "train.txt").write_bytes(data)
    lines = check(dataset)
    assert _all_named(lines, (needle,)), lines
    refused(dataset, take("car-davis"), needles=["boat-davis"])


def test_an_object_more_or_less_in_davis_annotations_is_found(
    check: Callable[..., list[str]], take: Callable[..., Path]
) -> None:
    for number in (77, 254):
        dataset = take("boat-davis", f"copy{number}")
        with Image.open(dataset / "Annotations" / "480p" / "boat" / "00002.png") as picture:
            picture.putpixel((0, 0), number)
            picture.save(dataset / "Annotations" / "480p" / "boat" / "00002.png")
        assert _all_named(check(dataset), ("dataset.json", "objects"))


# Merging.


@pytest.mark.parametrize("form", [*_FORMS, "link", "reference", "davis-reference"])
def test_two_datasets_are_merged_to_a_valid_one(
    check: Callable[..., list[str]], merge: Callable[..., Result], take: Callable[..., Path], tmp_path: Path, form: str
) -> None:
    merge(take(f"boat-{form}"), take(f"car-{form}")).succeeds_silently()
    assert check(tmp_path / "merged") == []


@pytest.mark.parametrize(
    ("names", "needle"),
    [
        (("boat-ytvis",), "two"),
        (("boat-ytvis", "boat-ytvis"), "once"),
        (("boat-ytvis", "car-ytvis", "./boat-ytvis/"), "once"),
        (("boat-ytvis", "car-coco"), "format"),
        (("boat-davis", "car-ytvis"), "format"),
        (("boat-ytvis", "boat-link"), "boat"),
        (("boat-ytvis", "nope"), "nope"),
        (("boat-ytvis", ""), "no"),
        (("boat-masks", "car-ytvis"), "boat-masks"),
        (("boat-masks/boat.masks.json", "car-ytvis"), "boat.masks.json"),
        (("boat-none", "car-ytvis"), "boat-none"),
        (("boat-none", "car-none"), "--frame-files none"),
        (("split", "car-ytvis"), "split"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_datasets_that_do_not_go_together_are_not_merged(
    refused: Callable[..., str], take: Callable[..., Path], made: Path, names: tuple[str, ...], needle: str
) -> None:
    for name in {name.strip("./").split("/")[0] for name in names} - {"", "nope"}:
        take(name)
    refused(*names, needles=[needle])


def test_one_dataset_by_two_ways_is_not_merged_with_itself(
    refused: Callable[..., str], take: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = take("boat-ytvis")
    (tmp_path / "link").symlink_to(dataset)
    refused(dataset, "link", needles=["once"])


def test_videos_whose_names_differ_in_case_alone_are_not_merged(refused: Callable[..., str], tmp_path: Path) -> None:
    for name in ("boat", "BOAT"):
        write_clip(tmp_path / f"{name}-videos", tmp_path / f"{name}-masks", 3, name)
        export_dataset(find_masks([tmp_path / f"{name}-masks"]), tmp_path / f"{name}-set", ExportPlan())
    refused("boat-set", "BOAT-set", needles=["boat-set", "both"])


@pytest.mark.parametrize("mode", ["copy", "link", "reference"])
def test_frames_of_one_name_never_replace_each_other(
    check: Callable[..., list[str]], merge: Callable[..., Result], take: Callable[..., Path], tmp_path: Path, mode: str
) -> None:
    first, second = take("boat-ytvis", "first"), take("boat-ytvis", "second")
    # Without its list of videos nothing but their frames tells that both have the same.
    edit(first / "dataset.json", (("videos",), []))
    Image.new("RGB", (64, 48)).save(second / "frames" / "boat" / "00001.jpg")
    result = merge(first, second, "--frame-files", mode)
    if result.code:
        result.fails_with(str(first))
        return
    assert check(tmp_path / "merged") == []
    contents = {path.read_bytes() for path in (tmp_path / "merged" / "frames").rglob("*.jpg")}
    for dataset in (first, second):
        assert {path.read_bytes() for path in (dataset / "frames").rglob("*.jpg")} <= contents


def test_davis_sequences_of_one_name_do_not_collide_or_are_named(
    check: Callable[..., list[str]], merge: Callable[..., Result], tmp_path: Path
) -> None:
    plan = ExportPlan(CurationParameters(gaps=(1,)), format="davis")
    for place, (name, count) in enumerate((("a", 3), ("a_00000_00001", 2))):
        write_clip(tmp_path / "videos", tmp_path / f"masks{place}", count, name)
        export_dataset(find_masks([tmp_path / f"masks{place}"]), tmp_path / f"set{place}", plan)
    result = merge("set0", "set1")
    if result.code:
        result.fails_with("a_00000_00001")
    else:
        assert check(tmp_path / "merged") == []


@pytest.mark.parametrize("form", ["ytvis", "coco"])
def test_a_dataset_with_another_category_is_refused_or_merged_to_a_valid_one(
    check: Callable[..., list[str]], merge: Callable[..., Result], take: Callable[..., Path], tmp_path: Path, form: str
) -> None:
    dataset = take(f"boat-{form}")
    categories = [{"id": number, "name": f"kind {number}"} for number in (1, 2)]
    edit(dataset / "annotations.json", (("categories",), categories), (("annotations", 0, "category_id"), 2))
    result = merge(dataset, take(f"car-{form}"))
    if result.code:
        result.fails_with("boat", "categor")
    else:
        assert check(tmp_path / "merged") == []


_HEAD_DAMAGES: list[tuple[tuple[str | int, ...], Any]] = [
    *[((name,), value) for name in ("yield", "stage1", "failed", "provenance", "parameters") for value in (5, _GONE)],
    *[(("yield", "1"), value) for value in (None, 5, "x")],
    *[(("yield", "1", "clips"), value) for value in (None, "x", {})],
    (("yield", "1", "dropped_clips"), {"no_match": "x"}),
    *[(("counts", "videos_failed"), value) for value in (None, "x")],
    *[(("videos", 0, "stage2"), value) for value in (None, "x", _GONE)],
]


def test_a_damaged_dataset_json_is_refused_or_merged_to_a_valid_dataset(
    check: Callable[..., list[str]], merge: Callable[..., Result], take: Callable[..., Path], tmp_path: Path
) -> None:
    dataset, other = take("boat-davis"), take("car-davis")
    whole = (dataset / "dataset.json").read_text()
    crashes = []
    for keys, value in _HEAD_DAMAGES:
        (dataset / "dataset.json").write_text(whole)
        edit(dataset / "dataset.json", (keys, value))
        result = merge(other, dataset)
        if "unexpected" in result.err or result.strays or result.code not in (0, 2):
            crashes.append(f"{'.'.join(map(str, keys))} {_name(value)}: {result.err.strip()}")
        elif result.code == 2:
            result.fails_with("boat-davis")
        else:
            assert check(tmp_path / "merged") == []
            shutil.rmtree(tmp_path / "merged")
    assert not crashes, "\n".join(crashes)


@pytest.mark.parametrize(
    ("form", "limit"), [*[("ytvis", limit) for limit in (1200, 2000, 4000, 8000)], ("coco", 2000), ("davis", 400)]
)
def test_a_full_disk_leaves_nothing_merged(
    refused: Callable[..., str], take: Callable[..., Path], form: str, limit: int
) -> None:
    limits = {"RLIMIT_FSIZE": limit}
    line = refused(take(f"boat-{form}"), take(f"car-{form}"), limits=limits, needles=["merged", "cannot be written"])
    assert len(line) < 1000


@pytest.mark.parametrize("place", ["there", "other", "file", "link", "loop", "one of them"])
def test_a_place_where_nothing_can_be_merged_to_is_refused(
    refused: Callable[..., str], take: Callable[..., Path], tmp_path: Path, place: str
) -> None:
    first, second = take("boat-ytvis"), take("car-ytvis")
    target = tmp_path / "merged"
    if place == "there":
        take("boat-ytvis", "merged")
    elif place == "other":
        target.mkdir()
        (target / "thesis.txt").write_text("years of work")
    elif place == "file":
        target.write_text("in the way")
    elif place in ("link", "loop"):
        target.symlink_to(target if place == "loop" else first)
    elif place == "one of them":
        target = first
    refused(first, second, to=target, needles=[target.name])


@pytest.mark.parametrize("mode", ["copy", "link", "reference"])
def test_merging_into_one_of_the_datasets_loses_no_frame(
    check: Callable[..., list[str]], server: _Forkserver, take: Callable[..., Path], tmp_path: Path, mode: str
) -> None:
    first, second = take("boat-ytvis"), take("car-ytvis")
    frames = sorted(path.read_bytes() for folder in (first, second) for path in (folder / "frames").rglob("*.jpg"))
    command = ["curate", "--merge", first, second, "-o", first, "--overwrite", "--frame-files", mode]
    result = server.run(command)
    if result.code:
        result.fails_with("boat-ytvis")
        assert len(written(first)) == 7
    else:
        found = [path for path in (first / "frames").rglob("*.jpg") if path.is_file()]
        assert sorted(path.read_bytes() for path in found) == frames
    assert check(first) == []


@pytest.mark.parametrize("mode", ["copy", "reference"])
def test_merging_over_a_dataset_that_another_refers_to_loses_no_frame(
    check: Callable[..., list[str]], server: _Forkserver, take: Callable[..., Path], mode: str
) -> None:
    replaced, other, refers = take("boat-ytvis", "replaced"), take("car-ytvis"), take("boat-reference")
    for path in (refers / "frames" / "boat").iterdir():
        _link(path, replaced / "frames" / "boat" / path.name)
    assert check(refers) == []
    command = ["curate", "--merge", refers, other, "-o", replaced, "--overwrite", "--frame-files", mode]
    result = server.run(command)
    if result.code:
        result.fails_with("replaced")
    assert check(replaced) == []
    assert check(refers) == []


@pytest.mark.parametrize(
    "more",
    [("--split", "a=0.5,b=0.5"), ("--videos", "videos"), ("--preview",), ("--frame-files", "move")],
    ids=" ".join,
)
def test_what_merging_does_not_do_is_refused_not_passed_over(
    refused: Callable[..., str], take: Callable[..., Path], more: tuple[str, ...]
) -> None:
    refused(take("boat-ytvis"), take("car-ytvis"), *more, needles=[more[0]])


def test_a_merge_whose_frames_cannot_be_copied_is_one_line(
    refused: Callable[..., str], take: Callable[..., Path]
) -> None:
    dataset = take("boat-reference")
    (dataset / "frames" / "boat" / "00001.jpg").unlink()
    refused(dataset, take("car-reference"), needles=["boat", "00001.jpg"])


def test_json_of_a_merge_is_one_document(
    merge: Callable[..., Result], take: Callable[..., Path], tmp_path: Path
) -> None:
    result = merge(take("boat-ytvis"), take("car-ytvis"), "--json")
    result.succeeds_silently()
    document = json.loads(result.out)
    assert document["dataset"] == str(tmp_path / "merged")
    assert document["counts"]["videos"] == 2
