from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import _Forkserver, written
from made_masks import of_masks
from made_results import box, ground_truth, results, write_indexed
from PIL import Image
from slow_metrics import DenseTube

from flowcut_napari.core import find_masks, open_video, save_masks
from flowcut_napari.core.dataset import ExportPlan, export_dataset
from flowcut_napari.core.store import masks_path

SHAPE = (2, 20, 30)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two videos; of three objects one is found well, one half, one not at all."""
    whole, half = box(SHAPE, 0, 0, 10, 10), box(SHAPE, 0, 0, 10, 6)
    objects = [DenseTube(1, 1, whole), DenseTube(2, 2, whole), DenseTube(2, 1, box(SHAPE, 12, 12, 4, 4))]
    found = [DenseTube(1, 1, whole, 0.9), DenseTube(2, 1, half, 0.6), DenseTube(2, 1, box(SHAPE, 0, 20, 5, 5), 0.3)]
    paths = tmp_path / "gt.json", tmp_path / "pred.json"
    for path, content in zip(paths, (ground_truth(objects, {1: SHAPE, 2: SHAPE}), results(found)), strict=True):
        path.write_text(json.dumps(content))
    return paths


def test_the_numbers_stand_on_one_line_and_the_worst_below(server: _Forkserver, files: tuple[Path, Path]) -> None:
    result = server.run(["evaluate", "ytvis", *files, "--workers", "1"])
    result.succeeds_silently()
    lines = result.out.splitlines()
    assert lines[0].split() == ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
    assert lines[1].split()[:3] == ["43.5", "66.3", "33.7"]
    assert lines[1].split()[4:6] == ["-", "-"]
    videos = next(place for place, line in enumerate(lines) if line.startswith("worst videos"))
    assert lines[videos + 1].split() == ["clip2", "(2)", "2", "2", "30.0", "50.0", "0.0", "1"]
    objects = next(place for place, line in enumerate(lines) if line.startswith("worst objects"))
    assert lines[objects + 1].split() == ["clip2", "(2)", "3", "2", "0.0", "-", "00000"]
    assert lines[-1] == f"{files[1]}: 2 videos, 3 objects, 3 detections, class-agnostic"
    assert max(map(len, lines[:-1])) < 80


def test_one_json_document_with_the_numbers_under_stats(server: _Forkserver, files: tuple[Path, Path]) -> None:
    result = server.run(["evaluate", "ytvis", *files, "--json", "--threshold", "0.7", "--worst", "0"])
    result.succeeds_silently()
    document = json.loads(result.out)
    assert document["stats"]["AP50"] == pytest.approx(67 / 101)
    assert document["threshold"] == 0.7
    assert document["stats_threshold"]["AP50"] == pytest.approx(34 / 101)
    assert list(document["stats"]) == list(document["stats_threshold"])
    assert [video["video"] for video in document["per_video"]] == [2, 1]
    assert [item["best_iou"] for item in document["per_object"]] == [0.0, 0.6, 1.0]


def test_a_threshold_adds_a_line_and_leaves_the_other_as_it_was(server: _Forkserver, files: tuple[Path, Path]) -> None:
    result = server.run(["evaluate", "ytvis", *files, "--threshold", "0.7", "--worst", "1", "--workers", "1"])
    result.succeeds_silently()
    lines = result.out.splitlines()
    assert lines[0].startswith("score")
    assert lines[1].split()[:3] == ["all", "43.5", "66.3"]
    assert lines[2].split()[:4] == [">=", "0.7", "33.7", "33.7"]
    assert max(map(len, lines[:-1])) <= 80


def test_categories_are_told_apart_when_asked(server: _Forkserver, files: tuple[Path, Path]) -> None:
    result = server.run(["evaluate", "ytvis", *files, "--use-categories", "--json"])
    document = json.loads(result.out)
    assert document["use_categories"] is True
    assert document["stats"]["AP50"] == pytest.approx((51 / 101 + 0) / 2)


def test_every_object_goes_to_a_table(server: _Forkserver, files: tuple[Path, Path], tmp_path: Path) -> None:
    table = tmp_path / "new" / "objects.csv"
    server.run(["evaluate", "ytvis", *files, "--csv", table]).succeeds_silently()
    assert written(table.parent) == ["objects.csv"]
    rows = list(csv.DictReader(table.open()))
    assert [(row["annotation"], row["score"], row["length"]) for row in rows] == [
        ("3", "", "2"),
        ("2", "0.6", "2"),
        ("1", "0.9", "2"),
    ]


def test_names_in_a_file_cannot_do_anything_to_a_terminal(server: _Forkserver, files: tuple[Path, Path]) -> None:
    content = json.loads(files[0].read_text())
    content["videos"][1]["file_names"] = ["\x1b[31m[bold]x/0.jpg", "1.jpg"]
    files[0].write_text(json.dumps(content))
    result = server.run(["evaluate", "ytvis", *files])
    assert "\x1b" not in result.out
    assert "[bold]x" in result.out


def test_a_dataset_against_itself_is_perfect(server: _Forkserver, sample_clip: Path, tmp_path: Path) -> None:
    video = open_video(f"{sample_clip}::toys")
    annotations = sorted((sample_clip / "Annotations" / "toys").iterdir())[:6]
    frames = [np.asarray(Image.open(path)) for path in annotations]
    toys = [{number: frame == number for number in (1, 2, 3) if (frame == number).any()} for frame in frames]
    record = {"path": str(video.path), "fingerprint": video.fingerprint()}
    save_masks(of_masks(toys, "toys", (360, 640), **record), masks_path(tmp_path / "masks", "toys"))
    dataset = tmp_path / "dataset"
    report = export_dataset(find_masks([tmp_path / "masks"]), dataset, ExportPlan(frame_files="none"))
    content = json.loads((dataset / "annotations.json").read_text())
    keys = ("video_id", "category_id", "segmentations")
    found: list[dict[str, Any]] = [
        {**{key: item[key] for key in keys}, "score": 1.0} for item in content["annotations"]
    ]
    predictions = tmp_path / "pred.json"
    predictions.write_text(json.dumps(found))
    result = server.run(["evaluate", "ytvis", dataset, predictions, "--json"])
    result.succeeds_silently()
    document = json.loads(result.out)
    assert document["stats"]["AP"] == pytest.approx(1)
    assert document["stats"]["AR100"] == pytest.approx(1)
    assert len(document["per_object"]) == report.total.instances > 0
    assert {item["best_iou"] for item in document["per_object"]} == {1.0}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    labels = np.zeros((4, 40, 60), dtype=np.uint8)
    labels[:, 5:15, 5:15] = 1
    labels[:, 20:35, 30:50] = 2
    root = tmp_path / "DAVIS"
    for name in ("dog", "cat"):
        write_indexed(root / "Annotations_unsupervised" / "480p" / name, labels)
    write_indexed(tmp_path / "pred" / "dog", np.where(labels == 1, 4, labels).astype(np.uint8))
    write_indexed(tmp_path / "pred" / "cat", np.where(labels == 1, 1, 0).astype(np.uint8))
    write_indexed(tmp_path / "pred" / "other", labels)
    return root, tmp_path / "pred"


def test_davis_gives_its_seven_numbers_and_the_worst_objects(server: _Forkserver, folders: tuple[Path, Path]) -> None:
    result = server.run(["evaluate", "davis", *folders, "--workers", "1", "--worst", "2"])
    result.succeeds_with_note("other")
    lines = result.out.splitlines()
    assert lines[0].split() == ["J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay"]
    assert lines[1].split() == ["75.0", "75.0", "75.0", "0.0", "75.0", "75.0", "0.0"]
    assert lines[4].split() == ["cat", "2", "-", "0.0", "0.0", "0.0", "0.0", "0.0"]
    assert lines[-1] == f"{folders[1]}: 2 sequences, 4 objects"


def test_davis_as_json_and_table_is_the_same_with_processes(
    server: _Forkserver, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    table = tmp_path / "objects.csv"
    runs = [
        server.run(["evaluate", "davis", *folders, "--json", "--workers", count, "--csv", table])
        for count in ("1", "2")
    ]
    assert runs[0].code == 0
    assert runs[0].out == runs[1].out
    document = json.loads(runs[0].out)
    assert document["stats"]["J&F-Mean"] == 0.75
    assert [(item["sequence"], item["object"], item["proposal"]) for item in document["per_object"]] == [
        ("cat", 2, None),
        ("cat", 1, 1),
        ("dog", 1, 4),
        ("dog", 2, 2),
    ]
    assert document["per_object"][0]["J"] == [0, 0, 0, 0]
    assert [item["sequence"] for item in document["per_sequence"]] == ["cat", "dog"]
    rows = list(csv.DictReader(table.open()))
    assert [row["J&F-Mean"] for row in rows] == ["0.0", "1.0", "1.0", "1.0"]


def test_a_subset_of_the_sequences_can_be_chosen(server: _Forkserver, folders: tuple[Path, Path]) -> None:
    lists = folders[0] / "ImageSets" / "2017"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("dog\n")
    result = server.run(["evaluate", "davis", *folders, "--subset", "val", "--json", "--workers", "1"])
    assert json.loads(result.out)["stats"]["J&F-Mean"] == 1


def test_a_folder_of_predictions_and_a_plain_davis_root_are_what_they_look_like(
    server: _Forkserver, files: tuple[Path, Path], sample_clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "pred").mkdir()
    (tmp_path / "pred" / "results.json").write_bytes(files[1].read_bytes())
    named, found = (
        server.run(["evaluate", "ytvis", files[0], path, "--json"]) for path in (files[1], tmp_path / "pred")
    )
    assert json.loads(found.out)["stats"] == json.loads(named.out)["stats"]
    # The annotations beside themselves; a root has pictures beside them.
    result = server.run(["evaluate", "davis", sample_clip, sample_clip / "Annotations", "--json"])
    assert json.loads(result.out)["stats"]["J&F-Mean"] == 1


@pytest.mark.parametrize("threshold", ["-0.1", "8", "nan"])
def test_a_threshold_is_a_score(server: _Forkserver, files: tuple[Path, Path], threshold: str) -> None:
    server.run(["evaluate", "ytvis", *files, f"--threshold={threshold}"]).fails_with("--threshold", "0 to 1")
