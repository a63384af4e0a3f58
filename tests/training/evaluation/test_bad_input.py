"""What cannot be evaluated is refused in one line that names the file, the place and the reason."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Result, _Forkserver
from made_results import box, ground_truth, results, write_indexed
from PIL import Image
from slow_metrics import DenseTube

from flowcut_napari.core import InputError
from flowcut_training.evaluation import evaluate_ytvis, find_sequences
from flowcut_training.evaluation.davis_files import read_indexed
from flowcut_training.evaluation.ytvis_input import read_ground_truth_file, read_json

SHAPE = (2, 20, 30)
THING = DenseTube(1, 1, box(SHAPE, 3, 4, 9, 11), 0.5)
GT = ground_truth([THING, THING], {1: SHAPE, 2: SHAPE})
DT = results([THING, THING])
_GONE = object()
# Beyond all floats.
_HUGE = 10**400


def _changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy in which the value at a path is another, or is gone."""
    if not path:
        return value
    document = copy.deepcopy(document)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    if value is _GONE:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return document


_RLE = DT[0]["segmentations"][0]
_MASK = ("annotations", 1, "segmentations", 1)


@pytest.mark.parametrize(
    ("path", "value", "needles"),
    [
        ((), [], ["is a list", "ground truth comes first"]),
        ((), None, ["no ground truth"]),
        ((), "text", ["no ground truth"]),
        (("videos",), _GONE, ["no list of videos"]),
        (("annotations",), {}, ["no list of annotations"]),
        (("categories",), None, ["no list of categories"]),
        (("videos", 0), 7, ["videos[0]", "no JSON object"]),
        (("videos", 0, "id"), _GONE, ["videos[0]", "has no id"]),
        (("videos", 0, "id"), True, ["videos[0]", "True"]),
        (("videos", 0, "id"), 0, ["videos[0]", "start at 1"]),
        (("videos", 1, "id"), 1, ["videos[1]", "id 1 is there twice"]),
        (("videos", 0, "height"), _GONE, ["video 1", "has no height"]),
        (("videos", 0, "height"), 0, ["video 1", "30x0"]),
        (("videos", 0, "width"), 10**9, ["video 1", "makes no sense"]),
        (("videos", 0, "width"), "30", ["video 1", "'30'"]),
        (("videos", 0, "length"), 3, ["video 1", "length is 3"]),
        (("videos", 0, "length"), 2.0, ["video 1", "2.0"]),
        (("videos", 0, "file_names"), "a.jpg", ["video 1", "file_names"]),
        (("categories", 0, "id"), None, ["categories[0]", "None"]),
        (("categories", 1, "id"), 3, ["categories[1]", "twice"]),
        (("annotations", 0), None, ["annotations[0]", "no JSON object"]),
        (("annotations", 0, "id"), 0, ["annotations[0]", "id is 0", "start at 1"]),
        (("annotations", 0, "id"), -4, ["annotations[0]", "-4"]),
        (("annotations", 0, "id"), "1", ["annotations[0]", "'1'"]),
        (("annotations", 1, "id"), 1, ["annotations[1]", "id 1 is there twice"]),
        (("annotations", 0, "video_id"), 9, ["annotation 1", "video 9"]),
        (("annotations", 0, "video_id"), [1], ["annotation 1", "[1]"]),
        (("annotations", 0, "category_id"), 9, ["annotation 1", "category 9"]),
        (("annotations", 0, "category_id"), _GONE, ["annotation 1", "category_id"]),
        (("annotations", 0, "iscrowd"), 2, ["annotation 1", "iscrowd is 2"]),
        (("annotations", 0, "iscrowd"), "no", ["annotation 1", "iscrowd"]),
        (("annotations", 0, "segmentations"), _GONE, ["annotation 1", "no segmentations"]),
        (("annotations", 0, "segmentations"), None, ["annotation 1", "no list"]),
        (("annotations", 0, "segmentations"), [None], ["annotation 1", "1 segmentations", "2 frames"]),
        (("annotations", 0, "areas"), _GONE, ["annotation 1", "no areas"]),
        (("annotations", 0, "areas"), [1, 2, 3], ["annotation 1", "3 areas"]),
        (("annotations", 0, "areas", 1), "9", ["annotation 1", "frame 1", "'9'"]),
        (("annotations", 0, "areas", 1), True, ["annotation 1", "frame 1", "True"]),
        (("annotations", 0, "areas", 1), -3, ["annotation 1", "frame 1", "-3"]),
        (("annotations", 0, "areas", 1), float("inf"), ["annotation 1", "frame 1", "inf"]),
        (("annotations", 0, "areas", 1), _HUGE, ["annotation 1", "frame 1", "no finite number"]),
        (("annotations", 0, "id"), 2**70, ["annotations[0]", "start at 1"]),
        (_MASK, 5, ["annotation 2", "video 1", "frame 1", "run-length"]),
        (_MASK, {}, ["annotation 2", "frame 1", "run-length"]),
        (_MASK, [], ["annotation 2", "frame 1", "polygons"]),
        (_MASK, [[1, 1, 5, 1, 5, 5]], ["annotation 2", "frame 1", "polygons"]),
        ((*_MASK, "size"), [30, 20], ["annotation 2", "frame 1", "[30, 20]", "[20, 30]"]),
        ((*_MASK, "size"), [20.0, 30], ["annotation 2", "frame 1", "20.0"]),
        ((*_MASK, "size"), None, ["annotation 2", "frame 1", "None"]),
        ((*_MASK, "counts"), None, ["annotation 2", "frame 1", "neither"]),
        ((*_MASK, "counts"), "", ["annotation 2", "do not fill 20x30"]),
        ((*_MASK, "counts"), _RLE["counts"][:-2], ["annotation 2", "20x30"]),
        ((*_MASK, "counts"), _RLE["counts"] + "o" * 40, ["annotation 2", "run-length code"]),
        ((*_MASK, "counts"), "P" * 1000, ["annotation 2", "run-length code"]),
        ((*_MASK, "counts"), "\u00e4", ["annotation 2", "run-length code"]),
        ((*_MASK, "counts"), "\x00\x01", ["annotation 2", "run-length code"]),
        ((*_MASK, "counts"), [100, 500, 1], ["annotation 2", "do not fill 20x30"]),
        ((*_MASK, "counts"), [-1, 601], ["annotation 2", "do not fill 20x30"]),
        ((*_MASK, "counts"), [600.0], ["annotation 2", "do not fill 20x30"]),
        ((*_MASK, "counts"), [True, 599], ["annotation 2", "do not fill 20x30"]),
        ((*_MASK, "counts"), [2**70], ["annotation 2", "do not fill 20x30"]),
    ],
)
def test_ground_truth_that_is_wrong_is_refused(path: tuple[Any, ...], value: Any, needles: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        evaluate_ytvis(_changed(GT, path, value), DT)
    _is_one_line(caught.value, "ground truth", *needles)


@pytest.mark.parametrize(
    ("path", "value", "needles"),
    [
        ((), GT, ["is a ground truth", "comes first"]),
        ((), {"results": []}, ["is a JSON object"]),
        ((), None, ["no list of results"]),
        ((), "[]", ["no list of results"]),
        ((1,), [], ["result 1", "no JSON object"]),
        ((1, "video_id"), _GONE, ["result 1", "has no video_id"]),
        ((1, "video_id"), 77, ["result 1", "video 77", "not in the ground truth"]),
        ((1, "video_id"), "1", ["result 1", "'1'"]),
        ((1, "video_id"), True, ["result 1", "True"]),
        ((1, "category_id"), _GONE, ["result 1", "has no category_id"]),
        ((1, "category_id"), 8, ["result 1", "video 1", "category 8"]),
        ((1, "score"), _GONE, ["result 1", "video 1", "has no score"]),
        ((1, "score"), None, ["result 1", "score is None"]),
        ((1, "score"), float("nan"), ["result 1", "score is nan"]),
        ((1, "score"), float("-inf"), ["result 1", "score is -inf"]),
        ((1, "score"), True, ["result 1", "score is True"]),
        ((1, "score"), "0.5", ["result 1", "score is '0.5'"]),
        ((1, "score"), _HUGE, ["result 1", "score is 1000", "no finite number"]),
        ((1, "segmentations"), _GONE, ["result 1", "has no segmentations"]),
        ((1, "segmentations"), {"size": [20, 30]}, ["result 1", "no list"]),
        ((1, "segmentations"), [None] * 3, ["result 1", "3 segmentations", "2 frames"]),
        ((1, "segmentations", 0), [[1, 1, 5, 1, 5, 5]], ["result 1", "video 1", "frame 0", "polygons"]),
        ((1, "segmentations", 0, "size"), [20, 31], ["result 1", "frame 0", "[20, 31]"]),
        ((1, "segmentations", 0, "counts"), "0" * 99, ["result 1", "frame 0", "20x30"]),
    ],
)
def test_predictions_that_are_wrong_are_refused(path: tuple[Any, ...], value: Any, needles: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        evaluate_ytvis(GT, _changed(DT, path, value))
    _is_one_line(caught.value, "predictions", *needles)


def test_numbers_that_python_does_not_write_are_refused_too() -> None:
    immense = 10**6000
    for path in (
        *(("videos", 0, "height"), ("videos", 0, "length"), ("annotations", 0, "id"), ("annotations", 0, "video_id")),
        *(("annotations", 0, "category_id"), ("annotations", 0, "areas", 0), (*_MASK, "size")),
    ):
        value = [immense, 1] if path[-1] == "size" else immense
        with pytest.raises(InputError, match="huge"):
            evaluate_ytvis(_changed(GT, path, value), DT)


def test_masks_that_are_too_many_to_count_are_looked_at_all_the_same() -> None:
    last = _changed(DT[0], ("segmentations", 0, "counts"), "0")
    with pytest.raises(InputError, match="result 120"):
        evaluate_ytvis(GT, [*DT * 60, {**last, "score": 0.01}])


def test_errors_of_worker_processes_come_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowcut_training.evaluation.ytvis._FEW_MASKS", 0)
    with pytest.raises(InputError, match=r"annotation 2 .*frame 1"):
        evaluate_ytvis(_changed(GT, (*_MASK, "counts"), "0"), DT, workers=2)


def _is_one_line(error: Exception, *needles: str) -> None:
    text = str(error)
    assert "\n" not in text
    assert len(text) < 300, text
    for needle in needles:
        assert needle in text


@pytest.mark.parametrize(
    ("content", "needle"),
    [
        (b"", "cannot be read as JSON"),
        (b"[{", "cannot be read as JSON"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"\xff\xfe\x00", "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b"1" * 10_000, "cannot be read as JSON"),
    ],
)
def test_files_that_are_no_json_are_refused(content: bytes, needle: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=needle):
        read_json(path)


def test_folders_and_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "results.json")
    with pytest.raises(InputError, match="is a folder"):
        read_json(tmp_path)
    with pytest.raises(InputError, match=r"no annotations\.json"):
        read_ground_truth_file(tmp_path)


@pytest.fixture
def davis(tmp_path: Path) -> tuple[Path, Path]:
    """Annotations and predictions of two sequences."""
    labels = np.zeros((3, 12, 16), dtype=np.uint8)
    labels[:, 2:8, 3:9] = 1
    for name in ("cat", "dog"):
        write_indexed(tmp_path / "gt" / name, labels)
        write_indexed(tmp_path / "pred" / name, labels)
    return tmp_path / "gt", tmp_path / "pred"


def _run_davis(server: _Forkserver, davis: tuple[Path, Path], *more: str) -> Result:
    return server.run(["evaluate", "davis", *davis, "--workers", "1", *more])


def _remove(path: Path) -> None:
    for file in path.iterdir():
        file.unlink()
    path.rmdir()


def test_a_sequence_without_predictions_is_named(server: _Forkserver, davis: tuple[Path, Path]) -> None:
    _remove(davis[1] / "dog")
    _run_davis(server, davis).fails_with(str(davis[1]), "no predictions of dog", "1 of 2 sequences")
    result = _run_davis(server, davis, "--missing-as-empty", "--json")
    result.succeeds_with_note("dog")
    assert json.loads(result.out)["stats"]["J-Mean"] == 0.5
    _remove(davis[1] / "cat")
    (davis[1] / "cow").mkdir()
    _run_davis(server, davis, "--missing-as-empty").fails_with("no predictions of cat, dog")


def test_a_frame_without_prediction_is_named(server: _Forkserver, davis: tuple[Path, Path]) -> None:
    (davis[1] / "dog" / "00001.png").unlink()
    _run_davis(server, davis).fails_with(str(davis[1] / "dog"), "00001.png", "1 of 3 frames")


@pytest.mark.parametrize(
    ("spoil", "needles"),
    [
        (lambda path: Image.new("RGB", (16, 12)).save(path), ["mode RGB"]),
        (lambda path: Image.new("RGBA", (16, 12)).save(path), ["mode RGBA"]),
        (lambda path: Image.fromarray(np.ones((12, 16), np.uint16)).save(path), ["mode I;16"]),
        (lambda path: Image.new("1", (16, 12)).save(path), ["mode 1"]),
        (lambda path: Image.new("P", (12, 16)).save(path), ["is 12x16", "are 16x12"]),
        (lambda path: Image.fromarray(np.eye(12, 16, dtype=np.uint8) * 255).save(path), ["black and white"]),
        (lambda path: Image.fromarray(np.eye(12, 16, dtype=np.uint8) * 21).save(path), ["numbered up to 21"]),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), ["cannot be read as a PNG"]),
        (lambda path: path.write_bytes(b""), ["cannot be read as a PNG"]),
        (lambda path: Image.new("RGB", (16, 12)).save(path, format="JPEG"), ["cannot be read as a PNG"]),
    ],
)
def test_pictures_that_are_wrong_are_refused(
    spoil: Callable[[Path], Any], needles: list[str], server: _Forkserver, davis: tuple[Path, Path]
) -> None:
    path = davis[1] / "dog" / "00001.png"
    spoil(path)
    line = _run_davis(server, davis).fails_with(*needles)
    assert str(path) in line or "dog: proposals" in line


def test_void_in_predictions_tells_that_the_folders_may_be_the_wrong_way_round(
    server: _Forkserver, davis: tuple[Path, Path]
) -> None:
    labels = np.zeros((3, 12, 16), dtype=np.uint8)
    labels[0, :4, :4] = 1
    labels[:, 6:] = 255
    write_indexed(davis[0] / "dog", labels)
    assert _run_davis(server, davis).code == 0
    _run_davis(server, davis[::-1]).fails_with("dog", "255 is void")


def test_folders_that_are_wrong_are_refused(tmp_path: Path, davis: tuple[Path, Path]) -> None:
    gt, pred = davis
    (tmp_path / "empty").mkdir()
    root = tmp_path / "DAVIS" / "Annotations_unsupervised" / "480p"
    root.parent.mkdir(parents=True)
    gt.rename(root)
    root_folder = tmp_path / "DAVIS"
    for first, second, needle in (
        (tmp_path / "none", pred, "no such folder"),
        (root_folder, tmp_path / "none", "no such folder"),
        (tmp_path / "empty", pred, "has no folders of sequences"),
        (root_folder, tmp_path / "empty", "has no folders of sequences"),
        (root_folder, pred / "dog", "give the folder above it"),
        (pred, root_folder, "is a DAVIS root; the annotations come first"),
        (tmp_path, pred, "no predictions of"),
    ):
        with pytest.raises(InputError, match=needle):
            find_sequences(first, second)
    (root / "dog" / "00000.png").rename(root / "dog" / "00000.jpg")
    assert len(find_sequences(root_folder, pred)[0]["dog"].annotations) == 2
    _remove(root / "dog")
    (root / "dog").mkdir()
    with pytest.raises(InputError, match=r"dog: no annotations \(PNG\)"):
        find_sequences(root_folder, pred)


def test_a_list_of_sequences_chooses_and_must_fit(tmp_path: Path, davis: tuple[Path, Path]) -> None:
    gt, pred = davis
    root = tmp_path / "DAVIS"
    (root / "Annotations").mkdir(parents=True)
    gt.rename(root / "Annotations" / "480p")
    lists = root / "ImageSets" / "2017"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("dog\n\n")
    sequences, notes = find_sequences(root, pred, subset="val")
    assert list(sequences) == ["dog"]
    assert notes == ["left out, for want of annotations: cat"]
    for content, needle in (
        (b"", "lists no sequence"),
        (b"dog\ncow\n", "lists cow"),
        (b"\xff\xfe\x00", "cannot be read"),
    ):
        (lists / "val.txt").write_bytes(content)
        with pytest.raises(InputError, match=needle):
            find_sequences(root, pred, subset="val")
    with pytest.raises(InputError, match=r"ImageSets/2017/train\.txt"):
        find_sequences(root, pred, subset="train")


def test_grey_pictures_with_numbers_are_as_good_as_palettes(tmp_path: Path) -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(labels).save(tmp_path / "grey.png")
    assert np.array_equal(read_indexed(tmp_path / "grey.png"), labels)


def test_files_are_named_by_the_command(server: _Forkserver, tmp_path: Path) -> None:
    gt, dt = tmp_path / "gt.json", tmp_path / "dt.json"
    gt.write_text(json.dumps(GT))
    dt.write_text(json.dumps(_changed(DT, (0, "score"), "high")))
    run = ["evaluate", "ytvis", gt, dt, "--workers", "1"]
    server.run(run).fails_with(f"{dt}: result 0", "'high'")
    dt.write_text(json.dumps(DT)[:-9])
    server.run(run).fails_with(str(dt), "cannot be read as JSON")
    dt.write_text(json.dumps(DT))
    server.run(["evaluate", "ytvis", dt, gt]).fails_with(str(dt), "the ground truth comes first")
    server.run(["evaluate", "ytvis", gt, gt]).fails_with(str(gt), "no list of results")
    gt.write_text(json.dumps(_changed(GT, ("annotations", 0, "id"), 0)))
    server.run(run).fails_with(f"{gt}: annotations[0]", "start at 1")
    server.run(["evaluate", "ytvis", gt]).fails_with("PRED")
    server.run([*run, "--threshold", "nan"]).fails_with("--threshold nan")
    server.run([*run, "--worst", "-1"]).fails_with("--worst")
    server.run([*run, "--csv", tmp_path]).fails_with("--csv", "is no file")
    server.run([*run, "--csv", dt]).fails_with("--csv", "would replace what is evaluated")
