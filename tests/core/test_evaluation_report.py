"""What an evaluation printed, as the window reads it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import _Forkserver
from conftest import write_frames
from made_results import box, ground_truth, results, write_indexed
from slow_metrics import DenseTube

from flowcut_napari.core.dataset_scan import scan_json
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.evaluated_truth import davis_truth, ytvis_truth
from flowcut_napari.core.evaluated_videos import FramesNotFoundError, entry_of, frame_names, place_of
from flowcut_napari.core.evaluation_report import STATS, Report, VideoResult, WorstFrame, read_report
from flowcut_napari.core.evaluation_tables import COLUMNS, numbers_csv, stat_rows, summary, tip_of, videos_csv
from flowcut_napari.core.published_results import footnotes, published_rows
from flowcut_napari.core.video import open_video

SHAPE = (3, 48, 64)
KINDS = ("ytvis", "davis")


def _worst(**more: Any) -> dict[str, Any]:
    return {"worst_frame": 2, "worst_file": "boat/00002.jpg", "worst_iou": 0.25, **more}


def _ytvis(**more: Any) -> dict[str, Any]:
    video = _worst(
        video=7, name="boat", objects=1, detections=3, best_iou=0.5, address="/gt.json::boat", file_names=["boat/0.jpg"]
    )
    return {
        "ground_truth": "/gt.json",
        "predictions": "/pred.json",
        "stats": dict.fromkeys(STATS["ytvis"], 0.25) | {"APl": -1.0},
        "videos": 1,
        "objects": 1,
        "detections": 3,
        "per_video": [video],
        "per_object": [_worst(annotation=4, video=7, best_iou=0.5)],
        **more,
    }


def _davis(**more: Any) -> dict[str, Any]:
    shared = {"sequence": "dog", "J&F-Mean": 0.5}
    video = _worst(**shared, objects=1, proposals=2, address=None, folder="/D/dog", file_names=["00000.png"])
    return {
        "ground_truth": "/D",
        "predictions": "/pred",
        "stats": dict.fromkeys(STATS["davis"], 0.5) | {"J-Decay": -0.125},
        "sequences": 1,
        "objects": 1,
        "proposals": 2,
        "per_sequence": [video],
        "per_object": [_worst(**shared, object=1)],
        "notes": ["left out: cat"],
        **more,
    }


# Hostile first.


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({}, "ground_truth"),
        (_ytvis(stats={}), "AP"),
        (_ytvis(stats={"AP": "0.5"}), "stats.AP"),
        (_ytvis(stats=dict.fromkeys(STATS["ytvis"], 1.5)), "stats.AP"),
        (_ytvis(stats=dict.fromkeys(STATS["ytvis"], float("nan"))), "stats.AP"),
        (_ytvis(threshold=0.8, stats_threshold={"AP": 0.5}), "AP50"),
        (_ytvis(videos=-1), "videos"),
        (_ytvis(videos=True), "videos"),
        (_ytvis(per_video=None), "per_video"),
        (_ytvis(per_video=[{"video": 7}]), "per_video.0"),
        (_ytvis(per_object=[_worst(annotation=4, video=7, best_iou=2)]), "per_object.0.best_iou"),
        (_ytvis(per_object=[_worst(annotation=4, video="7", best_iou=0.5)]), "per_object.0.video"),
        (_davis(), "videos"),
    ],
)
def test_what_is_no_such_document_is_refused_with_the_place(document: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match="another version of this package") as error:
        read_report("ytvis", document)
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_wrong_cannot_do_anything_to_a_window() -> None:
    with pytest.raises(InputError) as error:
        read_report("davis", _davis(per_object=[{"\x1b[31m": 1}]))
    assert str(error.value).isprintable()


def test_a_later_version_may_say_more() -> None:
    assert read_report("ytvis", _ytvis(news=[1])).all_videos == 1


@pytest.mark.parametrize(
    "files", [(), ("../../etc/passwd",), ("/etc/passwd",), ("a/../../b.jpg",), ("x" * 1001,), ("C:\\boat\\0.jpg",)]
)
def test_names_in_a_ground_truth_lead_nowhere_else(tmp_path: Path, files: tuple[str, ...]) -> None:
    video = VideoResult("boat", 1, 1, 1, 0.5, None, None, None, files, ())
    with pytest.raises(InputError, match="names no frames"):
        entry_of(_report(tmp_path / "gt.json", video), video, (Path("/"),)).open()


def test_frames_that_are_nowhere_can_be_asked_for(tmp_path: Path) -> None:
    video = VideoResult("boat", 1, 1, 1, 0.5, None, None, tmp_path / "A" / "boat", ("boat/00000.jpg",), ())
    for kind in KINDS:
        with pytest.raises(FramesNotFoundError, match="not beside"):
            entry_of(_report(tmp_path / "gt.json", video, kind), video).open()


def test_annotations_of_other_frames_are_not_laid_over_a_video(tmp_path: Path) -> None:
    write_indexed(tmp_path / "dog", np.ones((3, 8, 9), dtype=np.uint8))
    video = _sequence(tmp_path / "dog", 3)
    with pytest.raises(InputError, match="belongs to one of these frames"):
        davis_truth(video, ["a", "b"])
    (tmp_path / "dog" / "00000.png").unlink()
    with pytest.raises(InputError, match="cannot be shown"):
        davis_truth(video, ["00000", "00001", "00002"])


def test_a_json_that_has_changed_since_is_not_laid_over_a_video(tmp_path: Path) -> None:
    path = tmp_path / "gt.json"
    path.write_text(json.dumps(ground_truth([DenseTube(1, 1, box(SHAPE, 0, 0, 4, 4))], {1: SHAPE})))
    index = scan_json(path)
    files = tuple(f"clip1/{frame:05d}.jpg" for frame in range(3))
    video = VideoResult("clip1", 9, 1, 1, 0.5, None, None, None, files, ())
    with pytest.raises(InputError, match="evaluate again"):
        ytvis_truth(index, video)
    path.write_text("{}")
    with pytest.raises(InputError, match="changed"):
        ytvis_truth(index, VideoResult("clip1", 1, 1, 1, 0.5, None, None, None, files, ()))


# What it is for.


def _report(ground_truth: Path, video: VideoResult, kind: Any = "ytvis") -> Report:
    stats = dict.fromkeys(STATS[kind], 0.5)
    return Report(kind, ground_truth, Path("/pred"), stats, None, None, (video,), 1, 1, 1, ())


def _sequence(folder: Path, frames: int) -> VideoResult:
    files = tuple(f"{frame:05d}.png" for frame in range(frames))
    return VideoResult(folder.name, 0, 1, 1, 0.5, None, None, folder, files, ())


def test_a_video_has_its_objects_and_its_worst_frame() -> None:
    report = read_report("ytvis", _ytvis())
    (video,) = report.videos
    assert (video.name, video.number, video.found, video.score) == ("boat", 7, 3, 0.5)
    assert video.worst == WorstFrame(2, "boat/00002.jpg", 0.25)
    assert video.worst.name == "00002"
    assert tip_of(video) == "boat\nannotation 4: 50.0, worst at 00002 (IoU 25.0)"
    assert summary(report) == "1 video, 1 object, 3 detections"
    (sequence,) = read_report("davis", _davis()).videos
    assert (sequence.folder, sequence.address, sequence.found) == (Path("/D/dog"), None, 2)


def test_our_rows_come_first_in_percent_and_what_is_undefined_is_a_dash() -> None:
    above = dict.fromkeys(STATS["ytvis"], 0.5)
    report = read_report("ytvis", _ytvis(threshold=0.8, stats_threshold=above))
    rows = stat_rows(report)
    assert [(row.label, row.is_ours) for row in rows[:2]] == [("all", True), ("≥ 0.8", True)]
    assert rows[0].values == ("25.0", "25.0", "25.0", "25.0", "25.0", "–", "25.0")  # noqa: RUF001
    assert "AR100 25.0" in rows[0].tip
    assert rows[2].is_heading
    assert "J-Decay -12.5" in stat_rows(read_report("davis", _davis()))[0].tip


@pytest.mark.parametrize("kind", KINDS)
def test_published_rows_are_in_our_columns_have_a_source_and_fit_into_the_table(kind: Any) -> None:
    for row in published_rows(kind):
        assert set(row.values) <= set(COLUMNS[kind])
        assert all(0 < value < 100 for value in row.values.values())
        assert "arXiv" in row.source and "Table" in row.source
        assert bool(row.note) == bool(row.mark)
        assert not row.marked or row.marked in row.values
    assert len({row.benchmark for row in published_rows(kind)}) == 1
    report = read_report(kind, _ytvis() if kind == "ytvis" else _davis())
    assert {len(row.values) for row in stat_rows(report)} == {0, len(COLUMNS[kind])}


def test_a_number_that_does_not_fit_its_row_is_marked_and_the_note_says_by_what() -> None:
    row = published_rows("davis")[0]
    mean = (row.values["J-Mean"] + row.values["F-Mean"]) / 2
    assert row.values["J&F-Mean"] != pytest.approx(mean, abs=0.05)
    assert f"{mean:.1f}" in footnotes("davis")[0]
    shown = next(row for row in stat_rows(read_report("davis", _davis())) if row.label == "FlowCut")
    assert shown.values == ("58.3*", "53.3", "57.5")
    assert row.note in shown.tip


def test_the_tables_can_be_read_again() -> None:
    report = read_report("ytvis", _ytvis(threshold=0.8, stats_threshold=dict.fromkeys(STATS["ytvis"], 0.5)))
    rows = list(csv.DictReader(io.StringIO(numbers_csv(report))))
    assert [row["row"] for row in rows[:2]] == ["all", "score >= 0.8"]
    assert (rows[0]["AP"], rows[0]["APl"], rows[1]["AR100"]) == ("0.25", "", "0.5")
    assert rows[2]["AP"] == "0.243" and "arXiv" in rows[2]["source"]
    (video,) = csv.DictReader(io.StringIO(videos_csv(report)))
    assert (video["video"], video["best_iou"], video["worst_file"]) == ("boat", "0.5", "boat/00002.jpg")


def test_names_with_commas_and_quotes_survive_the_csv() -> None:
    document = _davis()
    document["per_sequence"][0]["sequence"] = document["per_object"][0]["sequence"] = 'a, "b"\nc'
    (row,) = csv.DictReader(io.StringIO(videos_csv(read_report("davis", document))))
    assert row["video"] == 'a, "b"\nc'


def test_the_report_of_a_real_evaluation_opens_its_videos(server: _Forkserver, tmp_path: Path) -> None:
    # Two clips of one folder share its name.
    objects = [DenseTube(1, 1, box(SHAPE, 3, 4, 10, 10)), DenseTube(2, 2, box(SHAPE, 20, 30, 9, 9))]
    gt = ground_truth(objects, {1: SHAPE, 2: SHAPE})
    write_frames(tmp_path / "clip1", 6, SHAPE[1:], ".jpg")
    gt["videos"][1]["file_names"] = [f"clip1/{frame:05d}.jpg" for frame in (1, 3, 5)]
    (tmp_path / "gt.json").write_text(json.dumps(gt))
    (tmp_path / "pred.json").write_text(json.dumps(results([DenseTube(1, 1, box(SHAPE, 3, 4, 10, 5), 0.5)])))
    run = server.run(["evaluate", "ytvis", tmp_path / "gt.json", tmp_path / "pred.json", "--events"])
    report = read_report("ytvis", json.loads(run.out.splitlines()[-1]))
    index = scan_json(report.ground_truth)
    assert [video.address for video in report.videos] == [
        f"{tmp_path}/gt.json::clip1_2",
        f"{tmp_path}/gt.json::clip1",
    ]
    for video in report.videos:
        assert video.address is not None
        entry, known = entry_of(report, video), open_video(video.address)
        opened = entry.open()
        assert (opened.name, opened.path, len(opened)) == (known.name, known.path, len(known))
        assert frame_names(opened) == [Path(file).stem for file in video.files]
        assert np.array_equal(opened[2], known[2])
        truth = ytvis_truth(index, video)
        thing = objects[video.number - 1]
        for frame in range(3):
            assert np.array_equal(truth.frame(frame) > 0, thing.masks[frame])


def test_a_user_may_say_where_frames_are(tmp_path: Path) -> None:
    frames = write_frames(tmp_path / "elsewhere" / "JPEGImages" / "boat", 3, suffix=".jpg")
    files = tuple(f"boat/{frame:05d}.jpg" for frame in range(3))
    video = VideoResult("boat", 1, 1, 1, 0.5, None, "x::boat", tmp_path / "boat", files, ())
    for kind in KINDS:
        for chosen in (tmp_path / "elsewhere", tmp_path / "elsewhere" / "JPEGImages", frames):
            opened = entry_of(_report(tmp_path / "gt.json", video, kind), video, (chosen,)).open()
            assert (len(opened), opened.frame_path(0)) == (3, frames / "00000.jpg")


def test_a_frame_is_found_by_its_name_else_by_its_place(tmp_path: Path) -> None:
    video = open_video(write_frames(tmp_path / "boat", 6, suffix=".jpg"))
    assert place_of(video, WorstFrame(0, "boat/00004.jpg", 0.0), 2) == 4
    assert place_of(video, WorstFrame(1, "other/img_1.jpg", 0.0), 6) == 1
    assert place_of(video, WorstFrame(1, "other/img_1.jpg", 0.0), 5) is None
    assert place_of(video, None, 6) is None


def test_annotations_lie_over_the_frames_of_their_names_and_void_is_nothing(tmp_path: Path) -> None:
    labels = np.zeros((3, 8, 9), dtype=np.uint8)
    labels[1, :4], labels[1, 4:] = 2, 255
    write_indexed(tmp_path / "dog", labels)
    video = _sequence(tmp_path / "dog", 3)
    by_name = davis_truth(video, ["00001", "x", "00000", "00002"])
    assert by_name.frames == 4
    assert np.array_equal(by_name.frame(0), np.where(labels[1] == 2, 2, 0))
    assert not by_name.frame(1).any()
    by_place = davis_truth(video, ["a", "b", "c"])
    assert by_place.frame(1).max() == 2
    (tmp_path / "dog" / "00001.png").write_bytes(b"damaged meanwhile")
    assert not by_place.frame(1).any()
