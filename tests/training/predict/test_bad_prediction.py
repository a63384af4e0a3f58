"""Bad input: prediction. One clear line, the right exit code, nothing half-written, what is finished is kept."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Result, _Forkserver, cut_jpeg, snapshot, written
from conftest import write_frames
from made_models import TINY, YTVIS_FILES, about, results, tiny_model, write_json, write_tiny
from PIL import Image

from flowcut_training.weight_files import About, write_model


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture
def predict(server: _Forkserver, out: Path, weights: Path) -> Callable[..., Result]:
    """Run `flowcut predict` with the tiny model: videos and further options, then what `_Forkserver.run` takes."""

    def run(*arguments: str | Path, model: str | Path = weights, **how: Any) -> Result:
        return server.run(["predict", "-o", out, "--device", "cpu", model, *arguments], **how)

    return run


def beside(out: Path) -> list[str]:
    """Return what lies where the results would, hidden files included."""
    return sorted(entry.name for entry in out.parent.iterdir() if out.name in entry.name)


# Models


@pytest.mark.parametrize("run", ["nope", "", "x" * 300], ids=["nope", "empty", "long"])
def test_a_run_that_is_not_there_is_refused(predict: Callable[..., Result], clip: Path, out: Path, run: str) -> None:
    predict(clip, model=run).fails_with("run" if not run.startswith("x") else "")
    assert beside(out) == []


def test_a_run_without_checkpoints_is_refused(predict: Callable[..., Result], clip: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    predict(clip, model=tmp_path / "run").fails_with(str(tmp_path / "run"), "no checkpoint")


@pytest.mark.parametrize("how", ["cut", "garbage", "empty", "nan", "resnet"])
def test_damaged_weights_are_refused(
    predict: Callable[..., Result], clip: Path, out: Path, tmp_path: Path, weights: Path, how: str
) -> None:
    bad, content = tmp_path / "bad.safetensors", weights.read_bytes()
    if how in ("nan", "resnet"):
        tensors = tiny_model().state_dict()
        if how == "nan":
            tensors["query_decoder.norm.weight"][3] = math.nan
            write_model(bad, tensors, About(model=TINY))
        else:
            from safetensors.torch import save_file

            save_file({k[9:]: v for k, v in tensors.items() if k.startswith("backbone.")}, bad)
    else:
        bad.write_bytes({"cut": content[:-1000], "garbage": b"garbage" * 99, "empty": b""}[how])
    predict(clip, model=bad).fails_with(str(bad))
    assert beside(out) == []


def test_a_model_that_gives_no_numbers_is_named(
    predict: Callable[..., Result], clip: Path, out: Path, tmp_path: Path
) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.query_decoder.mask_embed[4].weight.fill_(3e38)
    write_model(tmp_path / "wild.safetensors", model.state_dict(), About(model=TINY))
    predict(clip, model=tmp_path / "wild.safetensors").fails_with("clip", str(tmp_path / "wild.safetensors"), "NaN")
    assert beside(out) == []


# Options


@pytest.mark.parametrize(
    ("options", "needles"),
    [
        (("--threshold", "1.5"), ("threshold", "1.5")),
        (("--threshold", "-0.1"), ("threshold",)),
        (("--threshold", "nan"), ("threshold",)),
        (("--top", "0"), ("top",)),
        (("--window", "1"), ("window", "1")),
        (("--window", "-3"), ("window",)),
        (("--short-side", "3"), ("short_side",)),
        (("--short-side", "200", "--max-side", "100"), ("max_side", "100")),
        (("--format", "coco"), ("--format", "ytvis", "davis")),
        (("--precision", "fp16"), ("--precision", "bf16")),
        (("--device", "cuda"), ("cuda", "--device cpu")),
        (("--device", "toaster"), ("toaster",)),
        (("--frames", "a"), ("--frames",)),
        (("--frames", "90:"), ("--frames 90:", "3 frames")),
        (("--checkpoint",), ("checkpoint",)),
    ],
    ids=lambda value: " ".join(value),
)
def test_options_that_make_no_sense_are_refused(
    predict: Callable[..., Result], clip: Path, out: Path, options: tuple[str, ...], needles: tuple[str, ...]
) -> None:
    predict(clip, *options).fails_with(*needles)
    assert beside(out) == []


# Videos


def test_a_video_that_is_not_there_is_refused(predict: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    predict(tmp_path / "nope").fails_with("nope", "no such file")
    assert beside(out) == []


@pytest.mark.parametrize(
    ("how", "order", "form"),
    [
        ("missing", "first", "ytvis"),
        ("missing", "last", "davis"),
        ("truncated", "first", "ytvis"),
        ("truncated", "last", "ytvis"),
        ("truncated", "first", "davis"),
        ("other size", "first", "ytvis"),
    ],
)
def test_one_bad_video_of_several_leaves_the_others(
    predict: Callable[..., Result], out: Path, clip: Path, tmp_path: Path, how: str, order: str, form: str
) -> None:
    bad = tmp_path / "bad"
    if how != "missing":
        write_frames(bad, 3, suffix=".jpg")
        if how == "truncated":
            cut_jpeg(bad / "00001.jpg")
        else:
            Image.new("RGB", (30, 20)).save(bad / "00001.jpg")
    videos = [bad, clip] if order == "first" else [clip, bad]
    result = predict(*videos, "--format", form, "--threshold", "0")
    assert result.code == 1
    assert not result.strays
    about_it, summary = result.errors
    assert ("no such file" if how == "missing" else "00001.jpg") in about_it
    assert "1 of 2 videos failed" in summary
    assert "bad" in summary
    if form == "ytvis":
        assert written(out) == YTVIS_FILES
        # The id is the place among the videos that were found.
        number = 2 if order == "first" and how != "missing" else 1
        assert {result["video_id"] for result in results(out)} == {number}
        assert [video["name"] for video in json.loads((out / "videos.json").read_text())["videos"]] == ["clip"]
    else:
        assert written(out) == [*(f"clip/{place:05d}.png" for place in range(3)), "prediction.json"]
    assert about(out)["complete"]
    assert [failure["video"].endswith("bad") for failure in about(out)["failed"]] == [True]
    as_json = predict(*videos, "--format", form, "--overwrite", "--json")
    assert as_json.code == 1
    document = json.loads(as_json.out)
    assert [video["name"] for video in document["videos"]] == ["clip"]
    assert len(document["failed"]) == 1


def test_when_all_videos_fail_nothing_is_written_and_the_code_is_two(
    predict: Callable[..., Result], out: Path, tmp_path: Path
) -> None:
    bad = write_frames(tmp_path / "bad", 3, suffix=".jpg")
    cut_jpeg(bad / "00002.jpg")
    result = predict(bad, tmp_path / "nope", "--json")
    assert result.code == 2
    assert len(result.errors) == 2
    assert json.loads(result.out)["results"] is None
    assert beside(out) == []


def test_two_videos_of_one_name_are_refused(predict: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    first, second = (write_frames(tmp_path / parent / "same", 2) for parent in ("a", "b"))
    predict(first, second).fails_with(str(first), str(second), "same")
    predict(first, first).fails_with(str(first), "twice")
    assert beside(out) == []


def test_frames_of_another_size_than_their_json_says_are_refused(
    predict: Callable[..., Result], out: Path, tmp_path: Path
) -> None:
    folder = write_json(tmp_path / "set", {1: 1, 2: 1})
    document = json.loads((folder / "annotations.json").read_text())
    document["videos"][0]["height"] = 480
    (folder / "annotations.json").write_text(json.dumps(document))
    result = predict(folder)
    assert result.code == 1
    assert "video 1 (v1)" in result.errors[0]
    assert "480" in result.errors[0]
    assert {item["video_id"] for item in results(out)} == {2}


def test_frames_cannot_be_chosen_of_a_json(predict: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    predict(write_json(tmp_path / "set", {1: 3}), "--frames", "::2").fails_with("--frames", "json")
    assert beside(out) == []


# Where results go


def test_a_folder_with_other_things_is_never_touched(predict: Callable[..., Result], out: Path, clip: Path) -> None:
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    for more in ((), ("--overwrite",)):
        predict(clip, *more).fails_with(str(out), "other files")
        assert written(out) == ["thesis.tex"]
    (out / "thesis.tex").unlink()
    assert predict(clip).code == 0
    before = snapshot(out)
    predict(clip).fails_with(str(out), "--overwrite")
    assert snapshot(out) == before
    (out / "notes.txt").write_text("mine")
    predict(clip, "--overwrite").fails_with(str(out), "other files")
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").unlink()
    assert predict(clip, "--overwrite", "--format", "davis", "--threshold", "0").code == 0
    assert written(out) == [*(f"clip/{place:05d}.png" for place in range(3)), "prediction.json"]
    assert predict(clip, "--overwrite").code == 0
    assert written(out) == YTVIS_FILES


def test_a_prediction_is_not_replaced_by_one_of_its_own_pictures(
    predict: Callable[..., Result], out: Path, clip: Path
) -> None:
    assert predict(clip, "--format", "davis", "--threshold", "0").code == 0
    before = snapshot(out)
    predict(out / "clip", "--overwrite").fails_with(str(out), "holds what this is made of")
    assert snapshot(out) == before


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nope/out", "/dev/null/out", "x" * 300, ""])
def test_an_output_folder_that_cannot_be_is_refused(
    server: _Forkserver, weights: Path, tmp_path: Path, clip: Path, place: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    server.run(["predict", weights, clip, "-o", place, "--device", "cpu"], folder=tmp_path).fails_with(
        place[:4] or "--out", "cannot" if place.strip("file") else ""
    )
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("form", ["ytvis", "davis"])
def test_a_full_disk_leaves_nothing_of_the_first_video(
    predict: Callable[..., Result], out: Path, clip: Path, form: str
) -> None:
    predict(clip, "--format", form, "--threshold", "0", limits={"RLIMIT_FSIZE": 200}).fails_with("cannot be written")
    assert [name for name in beside(out) if not name.endswith(".lock")] == []


@pytest.mark.parametrize("form", ["ytvis", "davis"])
def test_a_full_disk_leaves_the_videos_before(
    predict: Callable[..., Result], out: Path, clip: Path, tmp_path: Path, form: str
) -> None:
    big = write_frames(tmp_path / "zbig", 3, size=(700, 900))
    options = ("--format", form, "--threshold", "0")
    assert predict(clip, *options).code == 0
    before = snapshot(out)
    largest = max(path.stat().st_size for path in out.rglob("*") if path.is_file())
    result = predict(clip, big, clip.parent / "nope", *options, "--overwrite", limits={"RLIMIT_FSIZE": largest + 3000})
    assert result.code == 1
    assert not result.strays
    assert any("cannot be written" in line for line in result.errors)
    after = snapshot(out)
    for name in before:
        if not name.endswith("prediction.json"):
            assert after[name] == before[name]
    assert not about(out)["complete"]
    assert [video["name"] for video in about(out)["videos"]] == ["clip"]
    assert beside(out) == [out.name]


def test_a_video_called_like_a_file_of_ours_is_refused_where_it_would_be_in_its_way(
    predict: Callable[..., Result], out: Path, tmp_path: Path
) -> None:
    folder = write_frames(tmp_path / "videos" / "Prediction.json", 1)
    predict(folder, "--format", "davis").fails_with("Prediction.json", "rename")
    assert predict(folder).code == 0
