"""Bad input: `flowcut curate`, from masks to a dataset. One clear line, the right exit code, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Result, _Forkserver, cut_jpeg, cut_to_nothing, snapshot, write_video, written
from conftest import write_frames
from made_masks import of_masks, write_clip
from PIL import Image

from flowcut_napari.core import Instance, load_masks, open_video, save_masks
from flowcut_napari.core.dataset_check import check_dataset

_GONE = object()
_NAN = float("nan")
_HUGE = 10**30
_TURNED = 0x0112  # the tag of EXIF


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """Return a masks file of five frames, made of `tmp_path/videos/clip`."""
    write_clip(tmp_path / "videos", tmp_path / "masks", 5)
    return tmp_path / "masks" / "clip.masks.json"


@pytest.fixture
def good(tmp_path: Path, masks: Path) -> str:
    """Put the masks of another video beside the first; return its name."""
    write_clip(tmp_path / "videos", masks.parent, 4, "good")
    return "good"


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    return tmp_path / "videos" / "clip"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return tmp_path / "dataset"


@pytest.fixture
def curate(server: _Forkserver) -> Callable[..., Result]:
    def run(*arguments: str | Path, **how: Any) -> Result:
        return server.run(["curate", *arguments], **how)

    return run


@pytest.fixture
def refused(curate: Callable[..., Result], tmp_path: Path) -> Callable[..., str]:
    """Run `flowcut curate`, see one error line with all needles and no change on the disk; return the line."""

    def run(*arguments: str | Path, needles: Sequence[str | Path] = (), **how: Any) -> str:
        before = snapshot(tmp_path)
        line = curate(*arguments, **how).fails_with()
        assert snapshot(tmp_path) == before
        line = line.replace(str(tmp_path), "")  # which has the name of the test in it
        for needle in needles:
            assert str(needle).lower() in line.lower()
        return line

    return run


@pytest.fixture
def alone(refused: Callable[..., str], masks: Path, dataset: Path) -> Callable[..., str]:
    """Run on the one masks file, which cannot be used."""
    return partial(refused, masks.parent, "-o", dataset)


@pytest.fixture
def listed(curate: Callable[..., Result], masks: Path, good: str, dataset: Path, tmp_path: Path) -> Callable[..., str]:
    """Run on a video that cannot be used and a good one; return the line about the first: the other is exported."""

    def run(*arguments: str | Path, needles: Sequence[str] = (), **how: Any) -> str:
        source = snapshot(masks.parent)
        result = curate(masks.parent, "-o", dataset, *arguments, **how)
        line = result.fails_with(code=1).replace(str(tmp_path), "")
        for needle in needles:
            assert needle.lower() in line.lower()
        assert good in result.out or "1 video" in result.out
        assert snapshot(masks.parent) == source
        assert about(dataset)["failed"] == ["clip"]
        assert not [path for path in written(dataset) if "clip" in path]
        assert_valid(dataset)
        assert not hidden(tmp_path)
        return line

    return run


@pytest.fixture
def each_listed(
    curate: Callable[..., Result], masks: Path, good: str, dataset: Path, tmp_path: Path
) -> Callable[..., None]:
    """Run on many masks files that cannot be used, and a good one: each has its line, the good one is exported.

    A damage is the whole of a file, or the keys of a value in it and what is put there.
    """

    def run(
        damages: Sequence[bytes | tuple[Sequence[str | int], Any]],
        *,
        names: Sequence[str] = (),
        needles: Sequence[str] = (),
    ) -> None:
        content = json.loads(masks.read_text())
        for place, damage in enumerate(damages):
            path = masks.parent / f"bad{place}.masks.json"
            if isinstance(damage, bytes):
                path.write_bytes(damage)
            else:
                content["video"]["name"] = f"bad{place}"
                path.write_text(json.dumps(content))
                edit(path, *damage)
        masks.unlink()
        result = curate(masks.parent, "-o", dataset, timeout=20)
        lines = [line.replace(str(tmp_path), "") for line in result.errors]
        for place, damage in enumerate(damages):
            what = names[place] if names else ascii(damage)[:80]
            named = [line for line in lines if f"bad{place}." in line or f"bad{place}:" in line]
            if (
                not named
                and not isinstance(damage, bytes)
                and damage[0] in (("video", "path"), ("video", "fingerprint"))
            ):
                named = [line for line in lines if str(damage[1]) in line or "videos/clip" in line]
            assert named, f"{what} is not listed: {result.err[:2000]}"
            assert "error: unexpected" not in named[0]
            assert "cannot be written" not in named[0]
            assert all(needle in named[0] for needle in needles)
        assert (result.code, len(lines), result.strays) == (1, len(damages), [])
        assert about(dataset)["counts"]["videos"] == 1
        assert_valid(dataset)
        assert not hidden(tmp_path)

    return run


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def edit(file: Path, keys: Sequence[str | int], value: Any) -> None:
    content = json.loads(file.read_text())
    place = content
    for key in keys[:-1]:
        place = place[key]
    if value is _GONE:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    file.write_text(json.dumps(content))


def about(dataset: Path) -> dict[str, Any]:
    return json.loads((dataset / "dataset.json").read_text())


def assert_valid(dataset: Path) -> None:
    # What `flowcut curate --check` says, without the time that a process takes.
    found = check_dataset(dataset)
    assert found.count == 0, found.problems


def _name(value: Any) -> str:
    return "gone" if value is _GONE else ascii(value)[:24].replace("/", "|")


# Options.

_OPTIONS = [
    (option, value)
    for option, values in {
        "--gaps": ("0", "1,,2", "-1", "a", "", "1,", "1.5", "1 2", "²", "10001", "9" * 5000),
        "--iou": ("nan", "2", "1", "-0.1", "x", ""),
        "--clip-length": ("1", "0", "x", "", "9" * 5000),
        "--method": ("best", ""),
        "--format": ("voc", ""),
        "--frame-files": ("move", ""),
        "--split": (
            *("", "train", "train=", "=1", "train=x", "train=0.5,val=0.6", "a=0.5,a=0.5", "a=1,", "a=1=1"),
            *("train=nan,val=1", "train=inf", "train=-1,val=2", "train=0,val=1"),
            *("../x=1", "a/b=1", "..=1", "a\\b=1", "a\nb=1", "x" * 300 + "=1"),
        ),
    }.items()
    for value in values
]


@pytest.mark.parametrize(("option", "value"), _OPTIONS, ids=[f"{option} {_name(value)}" for option, value in _OPTIONS])
def test_a_value_that_cannot_be_is_refused_by_the_name_of_its_option(
    alone: Callable[..., str], option: str, value: str
) -> None:
    line = alone(option, value)
    assert option.strip("-").replace("-", "_") in line.replace("-", "_")
    assert "tuple" not in line
    assert len(line) < 10_000


@pytest.mark.parametrize("value", ["/nope", "", "x" * 300, "masks", "empty", "loop", "file.txt"])
def test_a_place_for_moved_videos_without_any_is_refused(alone: Callable[..., str], tmp_path: Path, value: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file.txt").write_text("text")
    alone("--videos", value, folder=tmp_path, needles=[value[:40] or "--videos"])


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-o", "dataset"),
        ("masks",),
        ("--merge",),
        ("--check",),
        ("masks", "-o", ""),
        ("masks", "-o", "dataset", "--check", "dataset"),
        ("masks", "-o", "dataset", "--nonsense"),
        ("masks", "-o", "dataset", "--gaps"),
    ],
    ids=" ".join,
)
def test_half_a_command_is_bad_usage(
    refused: Callable[..., str], masks: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    refused(*arguments, folder=tmp_path)


# Where masks are looked for.


@pytest.mark.parametrize(
    "address",
    [
        *("nope", "loop", "loop/x", "loop.masks.json", "file", "file/x", "videos", "empty", "x" * 300, "x" * 5000),
        *("folder.masks.json", "masks/clip.masks.json/x", "/dev/null", "/proc/nope", "line\nfeed"),
    ],
    ids=_name,
)
def test_an_address_without_masks_is_refused_by_name(
    refused: Callable[..., str], masks: Path, dataset: Path, tmp_path: Path, address: str
) -> None:
    (tmp_path / "file").write_text("text")
    for name in ("empty", "folder.masks.json"):
        (tmp_path / name).mkdir()
    for name in ("loop", "loop.masks.json"):
        (tmp_path / name).symlink_to(name)
    needle = address[:40].replace("\n", "\\n")
    refused(masks, address, "-o", dataset, folder=tmp_path, needles=[needle])


def test_an_empty_address_is_not_the_folder_one_stands_in(
    refused: Callable[..., str], masks: Path, dataset: Path
) -> None:
    refused("", "-o", dataset, folder=masks.parent)


@pytest.mark.parametrize("way", ["same folder", "file of the folder", "copy", "link", "other case"])
def test_two_masks_of_one_name_are_refused(
    refused: Callable[..., str], masks: Path, dataset: Path, tmp_path: Path, way: str
) -> None:
    other = tmp_path / "other"
    if way == "same folder":
        other = masks.parent
    elif way == "file of the folder":
        other = masks
    elif way == "copy":
        shutil.copytree(masks.parent, other)
    elif way == "link":
        other.symlink_to(masks.parent)
    else:
        write_clip(tmp_path / "others", other, 3, "CLIP")
    refused(masks.parent, other, "-o", dataset, needles=["clip", "leave one out"])


def test_names_that_differ_in_case_alone_are_refused_in_one_folder_too(
    refused: Callable[..., str], masks: Path, dataset: Path, tmp_path: Path
) -> None:
    write_clip(tmp_path / "others", masks.parent, 3, "Clip")
    refused(masks.parent, "-o", dataset, needles=["clip", "leave one out"])


@pytest.mark.parametrize("more", [(), ("--split", "a=0.5,b=0.5")], ids=["whole", "split"])
@pytest.mark.parametrize(
    "name", [b"bad \xff byte", b"two words", b"line\nfeed", b".", b"-o", "Straße".encode()], ids=_name
)
def test_a_masks_file_of_an_odd_name_is_exported_or_listed(
    curate: Callable[..., Result], masks: Path, good: str, dataset: Path, more: tuple[str, ...], name: bytes
) -> None:
    write_clip(masks.parent.parent / "videos", masks.parent, 4, "third")
    masks.rename(masks.parent / os.fsdecode(name + b".masks.json"))
    result = curate(masks.parent, "-o", dataset, *more)
    if not name.startswith(b"."):
        # It may be all that there is for one part of a split.
        result.fails_with("holds the masks of clip", code=2 if more and result.code == 2 else 1)
    assert not result.strays
    assert not hidden(dataset.parent)
    if not dataset.exists():
        return
    for folder in sorted(dataset.iterdir()) if more else [dataset]:
        if folder.is_dir():
            assert_valid(folder)


# Masks files.


_TEXTS = [
    *("", " ", "{", "[]", "null", "5", '"text"', "nul", "<html>", "\0" * 100, "{}{}", "1" * 5000),
    *('{"schema": "flowcut.masks/1"}', '{"schema": "flowcut.masks/1", "video": null}'),
    *("[" * 100_000, '{"schema":' * 100_000, '{"schema": "flowcut.masks/1", "video":' + "[" * 100_000),
]
_BYTES = [b"\xff\xfe\x00", b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b'{"\xff": 1}']


def test_every_file_that_holds_no_masks_is_listed(each_listed: Callable[..., None]) -> None:
    each_listed([*[text.encode() for text in _TEXTS], *_BYTES])


@pytest.mark.parametrize("part", [1, 300, -2])
def test_a_masks_file_that_was_cut_off_is_refused(alone: Callable[..., str], masks: Path, part: int) -> None:
    masks.write_bytes(masks.read_bytes()[:part])
    alone(needles=["clip.masks.json", "JSON"])


def test_masks_of_another_schema_or_version_are_listed(each_listed: Callable[..., None]) -> None:
    schemas = ["flowcut.masks/2", "flowcut.masks/99", "flowcut.dataset/1", "", None, 1, [], {}, "line\nfeed", _GONE]
    each_listed([(("schema",), schema) for schema in schemas], needles=["schema", "flowcut.masks/1"])


_FRAME = ("frames", 1)
_MASK = (*_FRAME, "instances", 0)
_CODE = (*_MASK, "segmentation")
_DAMAGES: dict[tuple[str | int, ...], Sequence[Any]] = {
    ("video",): (None, [], {}, "x"),
    ("video", "name"): (None, 5, "", "..", "../clip", "a/b", "clip ", "other", "x" * 300, _GONE),
    ("video", "path"): (
        *("", "x" * 300, "/" + "a/" * 3000, "x\0y", "\ud800", "line\nfeed", "~", "::", "..", "/", "clip::clip"),
        *("/dev/zero", "/dev/stdin", "/etc/passwd", "/proc/self/mem", "/proc/nope", "nope.mp4", "nope.json"),
        *(None, True, 5, 1.5, _NAN, [], {}, _GONE),
    ),
    ("video", "frames"): (None, "5", 0, 3, -1, _NAN, [], _GONE),
    ("video", "height"): (None, "48", 0, -48, 47, _NAN, _HUGE, [], _GONE),
    ("video", "fingerprint"): (None, 5, "", "other", _GONE),
    ("parameters",): (None, [1], 5, {"alpha": 7}, {"unknown": 1}, _GONE),
    ("provenance",): (None, 5, "x", [1], _GONE),
    ("frames",): (None, 5, "x", {"a": 1}, _GONE),
    _FRAME: (None, 5, "x", [], {}),
    (*_FRAME, "index"): (None, "1", 0, 2, 5, 99, -1, 1.0, 1.5, _NAN, _HUGE, [], _GONE),
    (*_FRAME, "file"): (
        *(5, [], "", ".", "..", "../x.jpg", "/etc/passwd", "a/../../x.jpg", _GONE),
        *("C:\\x.jpg", "a\\b.jpg", "a\0.jpg", "a\nb.jpg", "\ud800.jpg"),
    ),
    (*_FRAME, "stop"): (None, 5, "tired", _GONE),
    (*_FRAME, "instances"): (None, 5, "x", {"a": 1}, [5], [None], _GONE),
    (*_FRAME, "rejected"): (None, 5, "x", [5], [{"seed": []}], [{"seed": None}]),
    (*_MASK, "id"): (None, 0, -1, 1.0, "1", True, _NAN, 2, _GONE),
    (*_MASK, "area"): (None, 0, -1, 255, "256", _NAN, _HUGE, [256], _GONE),
    (*_MASK, "bbox"): (None, 5, "x", [], {}, [4, 16, 16], [0, 0, 1, 1], ["4", 16, 16, 16], [_NAN] * 4, _HUGE, _GONE),
    (*_MASK, "origin"): (None, 5, "found"),
    (*_MASK, "seed"): (5, True, _GONE),
    _CODE: (None, 5, "x", [], {}, _GONE),
    (*_CODE, "size"): (
        *(None, 48, "48", [], [48], [64, 48], [48, 64, 1], [0, 0], [-48, -64], [True, 64], [_HUGE, 64], [_NAN, 64]),
        _GONE,
    ),
    (*_CODE, "counts"): (
        *(None, 5, [], [1, 2], [0, 3072], "", " ", "!!!", "zzzzzzzz", "é", "\n", "\0", "\ud800", _GONE),
        *("P" * 9, "0" * 99, "000", "O2", "1`0", "Pb`00000000"),
    ),
}


@pytest.mark.parametrize("keys", _DAMAGES, ids=lambda keys: ".".join(map(str, keys)))
def test_damaged_masks_are_listed_by_their_file_or_video(
    each_listed: Callable[..., None], keys: tuple[str | int, ...]
) -> None:
    each_listed([(keys, value) for value in _DAMAGES[keys]])


def test_runs_that_stop_short_or_go_on_for_too_long_are_refused(alone: Callable[..., str], masks: Path) -> None:
    counts = json.loads(masks.read_text())["frames"][1]["instances"][0]["segmentation"]["counts"]
    for other in (counts[:-1], counts[:-3], counts + "1", counts + counts, counts[1:]):
        edit(masks, (*_CODE, "counts"), other)
        alone(needles=["clip.masks.json"])


def test_frames_out_of_order_or_there_twice_are_refused(alone: Callable[..., str], masks: Path) -> None:
    frames = json.loads(masks.read_text())["frames"]
    for other in (frames[::-1], [frames[0], *frames], [*frames, frames[-1]], [frames[1], frames[0], *frames[2:]]):
        edit(masks, ["frames"], other)
        alone(needles=["clip.masks.json", "order"])


@pytest.mark.parametrize("value", ["x", None, [], -3, 7])
def test_a_parameter_that_cannot_be_is_named(alone: Callable[..., str], masks: Path, value: Any) -> None:
    edit(masks, ["parameters", "alpha"], value)
    alone(needles=["clip.masks.json", "alpha"])


@pytest.mark.parametrize("value", [_NAN, float("inf"), -float("inf")])
@pytest.mark.parametrize(
    "keys", [("provenance", "features"), ("provenance", "note"), ("video", "height")], ids=".".join
)
def test_numbers_that_json_does_not_know_are_refused_or_do_no_harm(
    curate: Callable[..., Result], masks: Path, good: str, dataset: Path, keys: tuple[str, ...], value: float
) -> None:
    edit(masks, keys, value)
    if keys[0] == "video":  # without masks there is nothing that it could be compared with
        edit(masks, ["frames"], [{**frame, "instances": []} for frame in json.loads(masks.read_text())["frames"]])
    result = curate(masks.parent, "-o", dataset)
    if result.code:
        result.fails_with("clip.masks.json", code=1)
    assert_valid(dataset)


_UNUSED = [
    (*_FRAME, "partner"),
    *[(*_MASK, name) for name in ("iteration", "eigenvalue", "eigengap", "crf_iou", "seed")],
]


@pytest.mark.parametrize("keys", _UNUSED, ids=lambda keys: keys[-1])
def test_what_curation_does_not_need_may_be_wrong_only_without_harm(
    curate: Callable[..., Result], masks: Path, good: str, dataset: Path, keys: tuple[str | int, ...]
) -> None:
    for value in (_NAN, "x"):
        edit(masks, keys, value)
        result = curate(masks.parent, "-o", dataset, "--overwrite")
        if result.code:
            result.fails_with("clip.masks.json", code=1)
        assert_valid(dataset)


@pytest.mark.parametrize("form", ["ytvis", "davis"])
@pytest.mark.parametrize(
    "file", ["x", "x/", "00001.jpg.txt", ".hidden.jpg", "00000.jpg", "n" * 300 + ".jpg", None], ids=_name
)
def test_a_frame_of_another_name_than_its_file_is_refused_or_exported_whole(
    curate: Callable[..., Result], masks: Path, good: str, dataset: Path, form: str, file: str | None
) -> None:
    edit(masks, (*_FRAME, "file"), file)
    result = curate(masks.parent, "-o", dataset, "--format", form)
    if result.code:
        result.fails_with(code=1)
    assert_valid(dataset)
    assert not hidden(dataset.parent)


@pytest.mark.parametrize(
    ("keys", "needle"),
    [(("schema",), "schema"), ((*_FRAME, "stop"), "stop"), ((*_MASK, "origin"), "origin"), (("video", "name"), "name")],
    ids=["schema", "stop", "origin", "name"],
)
def test_a_huge_text_in_the_wrong_place_does_not_flood_the_terminal(
    alone: Callable[..., str], masks: Path, keys: tuple[str | int, ...], needle: str
) -> None:
    edit(masks, keys, "long " * 20_000)
    assert len(alone(needles=[needle])) < 2000


def test_every_damaged_masks_file_is_listed_and_the_good_ones_are_exported(
    curate: Callable[..., Result], masks: Path, good: str, dataset: Path
) -> None:
    content = masks.read_text()
    for place in range(8):
        (masks.parent / f"bad{place}.masks.json").write_text(content[: 100 * place])
    (masks.parent / "bad8.masks.json").mkdir()
    (masks.parent / "bad9.masks.json").symlink_to("bad9.masks.json")
    result = curate(masks.parent, "-o", dataset)
    assert result.code == 1
    assert not result.strays
    assert len(result.errors) == 10
    for place in range(10):
        assert f"bad{place}.masks.json" in result.errors[place]
    assert about(dataset)["counts"]["videos"] == 2
    assert_valid(dataset)


def test_a_pipe_in_place_of_a_masks_file_does_not_hang(
    curate: Callable[..., Result], masks: Path, good: str, dataset: Path
) -> None:
    masks.unlink()
    os.mkfifo(masks)
    curate(masks.parent, "-o", dataset, timeout=3).fails_with("clip.masks.json", code=1)


@pytest.mark.parametrize("value", [_NAN, 1])
def test_a_field_too_many_in_a_mask_is_refused_or_left_out(
    curate: Callable[..., Result], masks: Path, good: str, dataset: Path, value: Any
) -> None:
    edit(masks, (*_CODE, "surprise"), value)
    result = curate(masks.parent, "-o", dataset)
    if result.code:
        result.fails_with("clip.masks.json", code=1)
    assert_valid(dataset)


# Decisions.


def _made(kind: str, **values: Any) -> dict[str, Any]:
    verdict = {} if kind in ("join", "split", "identity") else {"verdict": "reject"}
    return {"kind": kind, **verdict, "by": "", "at": "", **values}


_DECISIONS: dict[str, Any] = {
    "no decision": 5,
    "a list": [],
    "a text": "reject",
    "nothing": {},
    "unknown kind": _made("burn", instance=[0, 1]),
    "kind of the wrong type": {**_made("instance", instance=[0, 1]), "kind": []},
    "kind with a line feed": _made("line\nfeed", instance=[0, 1]),
    "unknown frame": _made("instance", instance=[99, 1]),
    "frame before the first": _made("instance", instance=[-1, 1]),
    "unknown instance": _made("tracklet", instance=[0, 9]),
    "instance of another frame": _made("split", instance=[1, 0]),
    "huge number": _made("instance", instance=[0, _HUGE]),
    "no number": _made("instance", instance=[0, _NAN]),
    "fraction": _made("instance", instance=[0, 1.0]),
    "truth for a number": _made("instance", instance=[False, True]),
    "text for numbers": _made("instance", instance="01"),
    "one number": _made("instance", instance=[0]),
    "three numbers": _made("instance", instance=[0, 1, 1]),
    "null": _made("instance", instance=None),
    "nested": _made("instance", instance=[[0], [1]]),
    "no instance": _made("instance"),
    "a field too many": _made("instance", instance=[0, 1], colour="red"),
    "unknown verdict": _made("instance", instance=[0, 1], verdict="maybe"),
    "verdict of the wrong type": _made("instance", instance=[0, 1], verdict=["reject"]),
    "no verdict": _made("instance", instance=[0, 1], verdict=None),
    "by of the wrong type": _made("instance", instance=[0, 1], by=5),
    "at of the wrong type": _made("instance", instance=[0, 1], at=_NAN),
    "clip with an unknown frame": _made("clip", clip=[0, 99]),
    "clip of the wrong type": _made("clip", clip=3),
    "clip as a text": _made("clip", clip="01"),
    "join backwards": _made("join", first=[1, 1], second=[0, 1]),
    "join in one frame": _made("join", first=[1, 1], second=[1, 2]),
    "join with itself": _made("join", first=[1, 1], second=[1, 1]),
    "join with an unknown instance": _made("join", first=[0, 1], second=[1, 9]),
    "identity 0": _made("identity", instance=[0, 1], identity=0),
    "identity below 0": _made("identity", instance=[0, 1], identity=-1),
    "identity as a text": _made("identity", instance=[0, 1], identity="1"),
    "identity that is no number": _made("identity", instance=[0, 1], identity=_NAN),
    "identity that is true": _made("identity", instance=[0, 1], identity=True),
    "no identity": _made("identity", instance=[0, 1]),
}


def decide(masks: Path, *made: Any, **more: Any) -> None:
    basis = load_masks(masks).basis
    edit(masks, ["decisions"], {"basis": basis, "made": list(made), "stale": [], **more})


def test_every_decision_that_means_nothing_is_listed_by_its_file(each_listed: Callable[..., None], masks: Path) -> None:
    basis = load_masks(masks).basis
    each_listed(
        [(("decisions",), {"basis": basis, "made": [decision], "stale": []}) for decision in _DECISIONS.values()],
        names=list(_DECISIONS),
    )


@pytest.mark.parametrize("frames", [[], [0], [0, 0], [1, 0]], ids=str)
def test_a_verdict_on_what_can_be_no_clip_is_refused(alone: Callable[..., str], masks: Path, frames: list[int]) -> None:
    decide(masks, _made("clip", clip=frames))
    alone(needles=["clip.masks.json"])


def test_decisions_that_are_no_decisions_are_listed(each_listed: Callable[..., None]) -> None:
    empty = {"basis": "", "made": [], "stale": []}
    mask = {"basis": "x", "kind": "mask", "frame": 0, "instance": {}}
    damaged: list[Any] = [5, "x", [5], _GONE]
    damaged += [{name: value for name, value in empty.items() if name != left_out} for left_out in empty]
    damaged += [{**empty, name: value} for name in ("made", "stale") for value in (5, None, "x", [5], [[]], {"a": 1})]
    damaged += [{**empty, "stale": [stale]} for stale in (mask, {**mask, "frame": "0"}, {**mask, "basis": 5}, {})]
    each_listed([(("decisions",), value) for value in damaged])


@pytest.mark.parametrize("form", ["ytvis", "coco", "davis"])
def test_contradicting_identities_are_refused_and_named(alone: Callable[..., str], masks: Path, form: str) -> None:
    decide(masks, *[_made("identity", instance=[0, number], identity=5) for number in (1, 2)])
    alone("--format", form, needles=["clip", "identity 5", "frame 0"])


def test_a_huge_identity_is_no_trouble(curate: Callable[..., Result], masks: Path, dataset: Path) -> None:
    decide(masks, _made("identity", instance=[0, 1], identity=10**60))
    for form in ("ytvis", "coco", "davis"):
        curate(masks, "-o", dataset, "--format", form, "--overwrite").succeeds_silently()
        assert_valid(dataset)


def test_decisions_on_other_masks_are_noted_not_followed(
    curate: Callable[..., Result], masks: Path, dataset: Path
) -> None:
    decide(masks, _made("instance", instance=[99, 9]), basis="another")
    before = masks.read_bytes()
    curate(masks, "-o", dataset).succeeds_with_note("clip", "1 decision", "without effect")
    assert masks.read_bytes() == before
    assert_valid(dataset)


# No clip at all.


@pytest.mark.parametrize("why", ["no masks", "all rejected", "nothing accepted"])
def test_where_no_clip_is_left_the_advice_fits_the_reason(alone: Callable[..., str], masks: Path, why: str) -> None:
    more: tuple[str, ...] = ()
    if why == "no masks":
        edit(masks, ["frames"], [{**frame, "instances": []} for frame in json.loads(masks.read_text())["frames"]])
    elif why == "all rejected":
        decide(masks, *[_made("tracklet", instance=[0, number]) for number in (1, 2)])
    else:
        more = ("--only-accepted",)
    line = alone(*more, needles=["no dataset", *more])
    assert "--iou" not in line


@pytest.mark.parametrize("frames", [[], 1], ids=["no frame", "one frame"])
def test_too_few_frames_for_a_clip_are_said(alone: Callable[..., str], masks: Path, frames: Any) -> None:
    edit(masks, ["frames"], json.loads(masks.read_text())["frames"][:frames] if frames else [])
    alone(needles=["no dataset", "frames"])


def test_a_video_that_failed_is_named_also_where_no_clip_is_left(
    curate: Callable[..., Result], masks: Path, good: str, dataset: Path
) -> None:
    content = json.loads((masks.parent / "good.masks.json").read_text())
    content["frames"] = [{**frame, "instances": []} for frame in content["frames"]]
    (masks.parent / "good.masks.json").write_text(json.dumps(content))
    masks.write_text("{")
    result = curate(masks.parent, "-o", dataset)
    assert result.code == 2
    assert not result.strays
    assert "clip.masks.json" in result.err
    assert not dataset.exists()


# Frames.


def _numbered(folder: Path, index: int = 2) -> Path:
    return folder / f"{index:05d}.jpg"


def _shrink(folder: Path) -> None:
    for path in folder.iterdir():
        Image.open(path).resize((32, 24)).save(path)


_CHANGES: dict[str, Callable[[Path], object]] = {
    "one is missing": lambda folder: _numbered(folder).unlink(),
    "all are missing": shutil.rmtree,
    "the folder is empty": lambda folder: [path.unlink() for path in folder.iterdir()],
    "one is more": lambda folder: shutil.copy(_numbered(folder), folder / "00009.jpg"),
    "one is renamed": lambda folder: _numbered(folder).rename(folder / "00002b.jpg"),
    "one is empty": lambda folder: cut_to_nothing(_numbered(folder)),
    "one is cut off": lambda folder: cut_jpeg(_numbered(folder)),
    "one is garbage": lambda folder: _numbered(folder).write_bytes(b"x" * _numbered(folder).stat().st_size),
    "one is a folder": lambda folder: (_numbered(folder).unlink(), _numbered(folder).mkdir()),
    "one is a pipe": lambda folder: (_numbered(folder).unlink(), os.mkfifo(_numbered(folder))),
    "one links to itself": lambda folder: (_numbered(folder).unlink(), _numbered(folder).symlink_to("00002.jpg")),
    "one links to nothing": lambda folder: (_numbered(folder).unlink(), _numbered(folder).symlink_to("nope.jpg")),
    "one is smaller": lambda folder: Image.open(_numbered(folder)).resize((32, 24)).save(_numbered(folder)),
    "all are smaller": _shrink,
    "the first is changed": lambda folder: Image.new("RGB", (64, 48)).save(_numbered(folder, 0)),
    "the folder links to itself": lambda folder: (shutil.rmtree(folder), folder.symlink_to(folder.name)),
    "the folder is a file": lambda folder: (shutil.rmtree(folder), folder.write_text("text")),
    "the folder is a pipe": lambda folder: (shutil.rmtree(folder), os.mkfifo(folder)),
}


@pytest.mark.parametrize("change", _CHANGES.values(), ids=_CHANGES)
def test_frames_that_are_not_what_they_were_are_listed_and_other_videos_exported(
    listed: Callable[..., str], frames: Path, change: Callable[[Path], object]
) -> None:
    change(frames)
    listed(needles=["clip"], timeout=10)


@pytest.mark.parametrize("more", [("--format", "davis"), ("--format", "coco"), ("--frame-files", "link")], ids=" ".join)
def test_a_missing_frame_is_listed_whatever_the_dataset(
    listed: Callable[..., str], frames: Path, more: tuple[str, ...]
) -> None:
    _numbered(frames, 4).unlink()
    listed(*more, needles=["clip"])


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read anything")
def test_frames_without_permission_are_listed(listed: Callable[..., str], frames: Path) -> None:
    _numbered(frames).chmod(0)
    listed(needles=["clip"])


def test_a_path_that_is_too_long_is_no_trouble_of_the_dataset(listed: Callable[..., str], masks: Path) -> None:
    edit(masks, ["video", "path"], "x" * 300)
    assert "cannot be written" not in listed(needles=["clip"])


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"videos": []}', '{"videos": [{"id": 1, "file_names": ["../clip/00000.jpg"]}]}'],
    ids=_name,
)
def test_a_json_that_does_not_list_the_video_any_more_is_named(
    listed: Callable[..., str], masks: Path, tmp_path: Path, content: str
) -> None:
    (tmp_path / "videos" / "videos.json").write_text(content)
    edit(masks, ["video", "path"], str(tmp_path / "videos" / "videos.json"))
    listed(needles=["videos.json"])


@pytest.mark.parametrize("form", ["ytvis", "davis"])
def test_a_frame_beyond_the_end_of_the_video_is_listed(listed: Callable[..., str], masks: Path, form: str) -> None:
    edit(masks, ["video", "frames"], 99)
    edit(masks, ["frames", 4, "index"], 50)
    listed("--format", form, needles=["clip"])


@pytest.mark.parametrize("form", ["ytvis", "coco", "davis"])
def test_masks_of_another_size_than_the_frames_are_listed(listed: Callable[..., str], masks: Path, form: str) -> None:
    made = load_masks(masks)
    small = Instance.of_mask(1, np.eye(24, 32, dtype=bool), "cut")
    frames = tuple(replace(frame, instances=(small,)) for frame in made.frames)
    save_masks(replace(made, video=replace(made.video, height=24, width=32), frames=frames), masks)
    listed("--format", form, needles=["clip"])


def test_a_video_that_moved_is_asked_for_and_found(
    curate: Callable[..., Result], refused: Callable[..., str], masks: Path, frames: Path, dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    frames.rename(tmp_path / "new" / "clip")
    refused(masks, "-o", dataset, needles=["clip", "--videos"])
    for place in ("new", "new/clip"):
        curate(masks, "-o", dataset, "--overwrite", "--videos", tmp_path / place).succeeds_silently()
        assert_valid(dataset)


@pytest.mark.parametrize("stays", [True, False], ids=["the right one is there", "the right one is gone"])
def test_another_video_of_the_same_name_is_not_taken_for_the_one_that_moved(
    listed: Callable[..., str], frames: Path, tmp_path: Path, stays: bool
) -> None:
    write_frames(tmp_path / "new" / "clip", 5, (48, 64), suffix=".jpg")
    Image.new("RGB", (64, 48)).save(tmp_path / "new" / "clip" / "00000.jpg")
    if not stays:
        shutil.rmtree(frames)
    listed("--videos", tmp_path / "new", needles=["clip"])


def test_videos_that_are_not_the_one_that_moved_are_no_help(
    listed: Callable[..., str], frames: Path, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    frames.rename(tmp_path / "new" / "other")
    listed("--videos", tmp_path / "new", needles=["clip", "--videos"])


@pytest.fixture
def sideways(masks: Path, frames: Path) -> Path:
    """Store one of the frames on its side; return it."""
    path = _numbered(frames)
    picture = Image.open(path)
    exif = picture.getexif()
    exif[_TURNED] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    _as_it_is_now(masks, frames)
    return path


def _as_it_is_now(masks: Path, video: Path) -> None:
    made, found = load_masks(masks), open_video(video)
    files = {frame.index: file for frame in made.frames if (file := found.frame_file(frame.index)) is not None}
    record = replace(made.video, path=str(video), fingerprint=found.fingerprint())
    save_masks(replace(made, video=record, files=files), masks)


@pytest.mark.parametrize("form", ["ytvis", "coco", "davis"])
@pytest.mark.parametrize("mode", ["link", "reference"])
def test_a_frame_on_its_side_cannot_be_linked(listed: Callable[..., str], sideways: Path, form: str, mode: str) -> None:
    listed("--format", form, "--frame-files", mode, needles=[sideways.name, "--frame-files copy"])


@pytest.mark.parametrize("form", ["ytvis", "coco", "davis"])
def test_a_frame_on_its_side_is_copied_upright(
    curate: Callable[..., Result], masks: Path, sideways: Path, dataset: Path, form: str
) -> None:
    curate(masks, "-o", dataset, "--format", form).succeeds_silently()
    assert_valid(dataset)
    pictures = [path for path in dataset.rglob("00002.*") if "Annotations" not in path.parts]
    assert [Image.open(path).getexif().get(_TURNED) for path in pictures] == [None]
    assert [Image.open(path).size for path in pictures] == [(64, 48)]


@pytest.fixture
def film(masks: Path, tmp_path: Path) -> Path:
    """Make the video a file."""
    path = write_video(tmp_path / "videos" / "clip.mp4", 5)
    _as_it_is_now(masks, path)
    return path


@pytest.mark.parametrize("mode", ["link", "reference"])
@pytest.mark.parametrize("form", ["ytvis", "davis"])
def test_frames_inside_a_video_file_cannot_be_linked(
    listed: Callable[..., str], film: Path, form: str, mode: str
) -> None:
    listed("--format", form, "--frame-files", mode, needles=["clip.mp4", "--frame-files copy"])


@pytest.mark.parametrize("trouble", ["empty", "cut off", "another", "gone", "a folder", "too short"])
def test_a_video_file_that_is_not_what_it_was_is_listed(
    listed: Callable[..., str], masks: Path, film: Path, trouble: str
) -> None:
    if trouble == "empty":
        cut_to_nothing(film)
    elif trouble == "cut off":
        cut_jpeg(film)
    elif trouble == "another":
        write_video(film, 7)
    elif trouble == "too short":
        edit(masks, ["video", "frames"], 99)
        edit(masks, ["frames", 4, "index"], 50)
    else:
        film.unlink()
    if trouble == "a folder":
        film.mkdir()
    listed(needles=["clip"])


def test_frames_on_another_disk_cannot_be_hard_linked(refused: Callable[..., str], masks: Path, tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not os.access(other, os.W_OK) or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system to write to")
    with tempfile.TemporaryDirectory(dir=other) as folder:
        refused(masks, "-o", Path(folder, "dataset"), "--frame-files", "link", needles=["clip", "--frame-files copy"])
        assert os.listdir(folder) == []


def test_two_davis_sequences_of_one_name_are_told_apart_or_one_is_listed(
    curate: Callable[..., Result], tmp_path: Path, dataset: Path
) -> None:
    for name, count in (("a", 3), ("a_00000_00001", 2)):
        write_clip(tmp_path / "videos", tmp_path / "masks", count, name)
    result = curate(tmp_path / "masks", "-o", dataset, "--format", "davis", "--clip-length", "2", "--gaps", "1")
    if result.code:
        result.fails_with("a_00000_00001", code=1)
    assert_valid(dataset)


# Where the dataset is to be.


@pytest.mark.parametrize(
    "place",
    [
        *("file", "file/below", "link to file", "link to folder", "link to nothing", "loop", "loop/below", "full"),
        *("masks", "videos", "videos/clip", ".", "..", "/", "/dev/null", "/dev/null/x", "/proc/nope/x"),
        *("x" * 250, "x" * 300, "x/" * 2500 + "x"),
    ],
    ids=_name,
)
def test_a_place_where_no_dataset_can_be_is_refused(
    refused: Callable[..., str], masks: Path, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    for name in ("file", "folder", "nothing"):
        (tmp_path / f"link to {name}").symlink_to(name)
    (tmp_path / "loop").symlink_to("loop")
    for more in ((), ("--overwrite",)):
        line = refused(masks, "-o", place, *more, folder=tmp_path)
        assert "cannot" in line or "in the way" in line or "other files" in line


@pytest.mark.parametrize(
    "mark", ['{"mine": 1}', "", "[]", '{"schema": "flowcut.masks/1"}', '{"schema": "flowcut.x/1"}']
)
def test_a_folder_with_a_dataset_json_of_something_else_is_never_replaced(
    refused: Callable[..., str], masks: Path, dataset: Path, mark: str
) -> None:
    dataset.mkdir()
    (dataset / "dataset.json").write_text(mark)
    (dataset / "thesis.txt").write_text("years of work")
    for more in ((), ("--overwrite",)):
        refused(masks, "-o", dataset, *more, needles=["dataset"])


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_without_permission_is_refused(refused: Callable[..., str], masks: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    refused(masks, "-o", tmp_path / "closed" / "dataset", needles=["closed", "permission"])


def test_the_empty_folder_one_stands_in_is_filled_or_left_empty(
    curate: Callable[..., Result], masks: Path, dataset: Path
) -> None:
    dataset.mkdir()
    result = curate(masks, "-o", ".", folder=dataset)
    assert not hidden(dataset.parent)
    if result.code:
        result.fails_with()
        assert written(dataset) == []
    else:
        assert_valid(dataset)


@pytest.mark.parametrize(
    "name",
    [
        *(" two  spaces ", "-dash", "été 視頻 🐟", "[bold]", "$(touch x);&|'\"", "%s{0}"),
        *("line\nfeed", "\x1b[31mred", "..dots..", "a::b", os.fsdecode(b"bad \xff byte")),
    ],
    ids=ascii,
)
def test_a_dataset_of_any_name_can_be_made_and_checked(
    curate: Callable[..., Result], masks: Path, tmp_path: Path, name: str
) -> None:
    place = tmp_path / "new" / name
    result = curate(masks, "-o", place)
    result.succeeds_silently()
    assert result.out.isprintable() or result.out.replace("\n", "").isprintable()
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]
    assert_valid(place)


@pytest.mark.parametrize("trouble", ["there", "damaged masks", "no masks", "frames gone", "bad option"])
def test_a_dataset_that_is_there_stays_as_it_is_when_the_next_cannot_be_made(
    curate: Callable[..., Result], refused: Callable[..., str], masks: Path, frames: Path, dataset: Path, trouble: str
) -> None:
    assert curate(masks, "-o", dataset).code == 0
    more: tuple[str, ...] = ("--overwrite",)
    if trouble == "there":
        more = ()
    elif trouble == "damaged masks":
        masks.write_text("{")
    elif trouble == "no masks":
        masks.unlink()
    elif trouble == "frames gone":
        shutil.rmtree(frames)
    else:
        more = ("--overwrite", "--gaps", "1,,2")
    refused(masks.parent, "-o", dataset, *more)


@pytest.mark.parametrize("way", ["where it was", "moved", "split"])
@pytest.mark.parametrize("mode", ["reference", "link", "copy", "none"])
def test_a_dataset_whose_frames_are_the_video_is_not_replaced_so_that_they_are_lost(
    curate: Callable[..., Result], masks: Path, frames: Path, dataset: Path, mode: str, way: str
) -> None:
    assert curate(masks, "-o", dataset).code == 0
    pictures = sorted(path.read_bytes() for path in frames.iterdir())
    more = ("--split", "all=1") if way == "split" else ()
    if way == "moved":
        more = ("--videos", str(dataset / "frames"))
    else:
        _as_it_is_now(masks, dataset / "frames" / "clip")
    shutil.rmtree(frames)
    result = curate(masks, "-o", dataset, "--overwrite", "--frame-files", mode, *more)
    if result.code:
        result.fails_with("dataset")
    assert sorted(path.read_bytes() for path in dataset.rglob("*.jpg") if path.is_file()) == pictures


@pytest.mark.parametrize(
    ("form", "mode", "limit"),
    [
        *[("ytvis", "none", limit) for limit in (400, 3000, 5000, 9000, 40_000)],
        *[("coco", "none", limit) for limit in (400, 3000, 5000)],
        *[("davis", "none", limit) for limit in (400, 1000)],
        *[(form, "copy", 1000) for form in ("ytvis", "coco", "davis")],
    ],
)
def test_a_full_disk_leaves_no_dataset_and_the_one_that_was_there(
    curate: Callable[..., Result],
    refused: Callable[..., str],
    tmp_path: Path,
    dataset: Path,
    form: str,
    mode: str,
    limit: int,
) -> None:
    for count, name in ((4, "small"), (12, "large"), (14, "larger")):
        write_clip(tmp_path / "videos", tmp_path / "masks", count, name)
    assert curate(tmp_path / "masks" / "small.masks.json", "-o", dataset).code == 0
    for place in (dataset, tmp_path / "new"):
        command = [tmp_path / "masks", "-o", place, "--format", form, "--frame-files", mode, "--overwrite"]
        refused(*command, limits={"RLIMIT_FSIZE": limit}, needles=[place.name, "cannot be written"])


@pytest.mark.parametrize("limit", [400, 2000])
def test_a_full_disk_leaves_no_split(
    refused: Callable[..., str], good: str, masks: Path, dataset: Path, limit: int
) -> None:
    limits = {"RLIMIT_FSIZE": limit}
    more = ("--split", "a=0.5,b=0.5", "--frame-files", "none")
    refused(masks.parent, "-o", dataset, *more, limits=limits, needles=["dataset", "cannot be written"])


@pytest.mark.parametrize("more", [(), ("--json",)], ids=["text", "json"])
def test_a_full_standard_output_is_one_line(
    curate: Callable[..., Result], masks: Path, dataset: Path, more: tuple[str, ...]
) -> None:
    result = curate(masks, "-o", dataset, *more, stdout="/dev/full")
    assert result.code in (1, 2)
    assert not result.strays
    assert len(result.errors) == 1
    assert_valid(dataset)


# Pictures of it.


@pytest.mark.parametrize("more", [("--format", "davis"), ("--format", "coco"), ("--frame-files", "none")], ids=" ".join)
def test_a_preview_that_cannot_be_is_refused_before_anything_is_made(
    alone: Callable[..., str], more: tuple[str, ...]
) -> None:
    alone("--preview", *more, needles=["--preview"])


def test_a_frame_that_cannot_be_drawn_is_named_and_the_dataset_and_what_failed_are_not_lost(
    curate: Callable[..., Result], masks: Path, frames: Path, good: str, dataset: Path
) -> None:
    (masks.parent / "good.masks.json").write_text("{")
    cut_jpeg(_numbered(frames))
    _as_it_is_now(masks, frames)
    result = curate(masks.parent, "-o", dataset, "--preview")
    assert result.code in (1, 2)
    assert not result.strays
    assert "unexpected" not in result.err
    assert "00002.jpg" in result.err
    assert "good.masks.json" in result.err
    assert about(dataset)["counts"]["videos"] == 1


def test_a_full_disk_for_the_preview_leaves_the_dataset_and_no_half_picture(
    curate: Callable[..., Result], masks: Path, dataset: Path
) -> None:
    result = curate(masks, "-o", dataset, "--preview", limits={"RLIMIT_FSIZE": 10_000})
    result.fails_with("preview.png", code=1)
    assert "10 clips" in result.out
    assert not list(dataset.rglob("*.png"))
    assert not [path for path in written(dataset) if path.startswith(".")]
    assert_valid(dataset)


def test_a_preview_of_a_very_thin_video_stays_small(
    curate: Callable[..., Result], tmp_path: Path, dataset: Path
) -> None:
    size = (300, 4)
    folder = write_frames(tmp_path / "videos" / "thin", 2, (300, 150))
    for path in folder.iterdir():
        Image.open(path).resize(size[::-1]).save(path)
    record = {"path": str(folder), "fingerprint": open_video(folder).fingerprint()}
    save_masks(of_masks([{1: np.ones(size, dtype=bool)}] * 2, "thin", size, **record), tmp_path / "thin.masks.json")
    curate(tmp_path / "thin.masks.json", "-o", dataset, "--preview").succeeds_silently()
    with Image.open(dataset / "preview.png") as picture:
        assert max(picture.size) < 10_000


@pytest.mark.parametrize("name", ["line\nfeed", "視頻 🐟", os.fsdecode(b"bad \xff byte")], ids=ascii)
def test_a_dataset_of_any_name_can_be_drawn(
    curate: Callable[..., Result], masks: Path, tmp_path: Path, name: str
) -> None:
    curate(masks, "-o", tmp_path / name, "--preview").succeeds_silently()
    assert (tmp_path / name / "preview.png").is_file()
    assert_valid(tmp_path / name)


# Splits.


def test_a_split_for_which_there_are_too_few_videos_is_named(alone: Callable[..., str]) -> None:
    alone("--split", "train=0.9,test=0.1", needles=["test", "too few"])


def test_a_split_with_a_video_that_failed_is_made_of_the_others(
    curate: Callable[..., Result], masks: Path, tmp_path: Path, dataset: Path
) -> None:
    for name in ("b", "c", "d"):
        write_clip(tmp_path / "videos", masks.parent, 3, name)
    masks.write_text("{")
    curate(masks.parent, "-o", dataset, "--split", "x=0.5,y=0.5").fails_with("clip.masks.json", code=1)
    counts = []
    for split in ("x", "y"):
        assert_valid(dataset / split)
        counts.append(about(dataset / split)["counts"]["videos"])
    assert sum(counts) == 3


def test_a_split_of_which_nothing_is_left_makes_no_dataset_and_is_named(
    refused: Callable[..., str], masks: Path, good: str, dataset: Path
) -> None:
    masks.write_text("{")
    line = refused(masks.parent, "-o", dataset, "--split", "first=0.5,second=0.5", needles=["clip.masks.json"])
    assert "first" in line or "second" in line
    assert ".part" not in line


def test_a_split_is_not_checked_as_a_dataset_and_not_overwritten_unasked(
    curate: Callable[..., Result], refused: Callable[..., str], masks: Path, good: str, dataset: Path
) -> None:
    command = (masks.parent, "-o", dataset, "--split", "first=0.5,second=0.5")
    curate(*command).succeeds_silently()
    refused("--check", dataset, needles=["split", "first", "second"])
    refused(*command, needles=["is there already", "--overwrite"])
    curate(masks, "-o", dataset, "--overwrite").succeeds_silently()
    assert_valid(dataset)


# JSON.


def test_json_is_one_document_that_lists_what_failed(
    curate: Callable[..., Result], masks: Path, good: str, dataset: Path
) -> None:
    masks.write_text("{")
    for more in ((), ("--split", "all=1")):
        result = curate(masks.parent, "-o", dataset, "--overwrite", "--json", *more)
        result.fails_with("clip.masks.json", code=1)
        document = json.loads(result.out)
        document = document["splits"]["all"] if more else document
        assert document["dataset"] == str(dataset / "all" if more else dataset)
        assert [item["video"] for item in document["failed"]] == ["clip"]
        assert document["videos"] == 1


def test_json_of_odd_names_and_notes_is_one_document(
    curate: Callable[..., Result], masks: Path, tmp_path: Path
) -> None:
    decide(masks, _made("instance", instance=[99, 9]), basis="another")
    place = tmp_path / os.fsdecode("[red]\n\x1b視 ".encode() + b"\xff")
    result = curate(masks, "-o", place, "--json")
    result.succeeds_with_note("clip")
    document = json.loads(result.out)
    assert document["dataset"] == str(place)
    assert len(document["notes"]) == 1


@pytest.mark.parametrize("more", [("--gaps", "0"), ("--split", "a=0.5"), ("--iou", "2")], ids=" ".join)
def test_json_has_nothing_to_say_about_bad_usage(
    curate: Callable[..., Result], masks: Path, dataset: Path, more: tuple[str, ...]
) -> None:
    result = curate(masks, "-o", dataset, "--json", *more)
    result.fails_with()
    assert result.out == "" or json.loads(result.out)


# Several processes, and ends before the end.


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """Return masks of a video whose frames take a while to copy: they are large and stored on their side."""
    height, width, count = 1000, 800, 8
    folder = tmp_path / "videos" / "slow"
    folder.mkdir(parents=True)
    picture = np.random.default_rng(0).integers(0, 255, (width, height, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[_TURNED] = 6
    Image.fromarray(picture).save(folder / "00000.jpg", exif=exif)
    for index in range(1, count):
        os.link(folder / "00000.jpg", folder / f"{index:05d}.jpg")
    mask = np.zeros((height, width), dtype=bool)
    mask[200:600, 300:700] = True
    record = {"path": str(folder), "fingerprint": open_video(folder).fingerprint()}
    save_masks(of_masks([{1: mask}] * count, "slow", (height, width), **record), tmp_path / "masks" / "slow.masks.json")
    return tmp_path / "masks"


@pytest.fixture
def under_way(slow: Path, dataset: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start an export, and give it back when it has written the first of its frames."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "flowcut_napari.cli", "curate", slow, "-o", dataset, *more]
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.DEVNULL,
            stderr=(tmp_path / "stderr").open("wb"),
            # A test run started in the background ignores interrupts, and what it starts would inherit that.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        end = time.monotonic() + 60
        # The frames are JPEG; upright they become PNG.
        while not any(path.is_relative_to(dataset) is False for path in tmp_path.rglob("*.png")):
            assert process.poll() is None, "it has ended already"
            assert time.monotonic() < end, "it does not get to the first frame"
            time.sleep(0.002)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_of_two_exports_into_one_folder_the_second_is_refused(
    curate: Callable[..., Result], under_way: Callable[..., subprocess.Popen[bytes]], slow: Path, dataset: Path
) -> None:
    process = under_way()
    process.send_signal(signal.SIGSTOP)
    for more in ((), ("--overwrite",), ("--split", "all=1")):
        curate(slow, "-o", dataset, *more).fails_with("dataset", "another process")
    process.send_signal(signal.SIGCONT)
    assert process.wait(60) == 0
    assert_valid(dataset)
    assert not hidden(dataset.parent)


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "replaced"])
def test_an_export_that_is_killed_leaves_what_was_there_and_can_be_run_again(
    curate: Callable[..., Result],
    under_way: Callable[..., subprocess.Popen[bytes]],
    slow: Path,
    dataset: Path,
    is_there: bool,
) -> None:
    if is_there:
        curate(slow, "-o", dataset, "--frame-files", "none", "--gaps", "1").succeeds_silently()
    before = snapshot(dataset)
    process = under_way("--overwrite")
    process.kill()
    process.wait()
    assert snapshot(dataset) == before
    curate(slow, "-o", dataset, "--overwrite").succeeds_silently()
    assert_valid(dataset)
    assert not hidden(dataset.parent)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_export_that_is_interrupted_leaves_nothing(
    under_way: Callable[..., subprocess.Popen[bytes]], dataset: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = under_way()
    process.send_signal(number)
    assert process.wait(60) == code
    lines = (tmp_path / "stderr").read_text().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert not dataset.exists()
    assert not hidden(tmp_path)


def test_what_a_killed_export_had_put_aside_is_not_lost_by_a_run_that_fails(
    curate: Callable[..., Result], masks: Path, good: str, dataset: Path
) -> None:
    # As it is when the power goes between the two renames that replace a dataset.
    assert curate(masks, "-o", dataset).code == 0
    aside = dataset.with_name(f".{dataset.name}.old")
    dataset.rename(aside)
    before = snapshot(aside)
    (masks.parent / "good.masks.json").write_text("{")
    masks.write_text("{")
    curate(masks.parent, "-o", dataset).fails_with("clip.masks.json")
    kept = aside if aside.exists() else dataset
    assert [path.replace(str(kept), "") for path in snapshot(kept)] == [path.replace(str(aside), "") for path in before]
