from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import data_path, write_frames

from flowcut_napari.core import ArrayCache, CutParameters, InputError, Segmenter, open_video, save_masks, segment_video
from flowcut_napari.core import refine as refine_module
from flowcut_napari.core.models import resolve_device
from flowcut_napari.core.scoring import best_overlaps, read_annotations, score_union
from flowcut_napari.core.workers import one_thread

SMALL = CutParameters.preset("handmade").with_changes(gap=4, height=96, width=128)


@pytest.mark.parametrize("kind", ["folder", "video file"])
def test_results_do_not_depend_on_the_number_of_workers(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    folder = write_frames(tmp_path / "clip", 14, (96, 128))
    video = open_video(folder if kind == "folder" else _as_video_file(folder))
    for workers in (1, 2, 3):
        save_masks(segment_video(video, SMALL, workers=workers), tmp_path / f"{workers}.json")
    first = (tmp_path / "1.json").read_bytes()
    assert b'"instances":[{' in first
    assert (tmp_path / "2.json").read_bytes() == first
    assert (tmp_path / "3.json").read_bytes() == first


def _as_video_file(folder: Path) -> Path:
    import cv2

    path = folder.parent / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (128, 96))
    for frame in open_video(folder):
        writer.write(frame[..., ::-1])
    writer.release()
    return path


def test_describing_here_and_cutting_in_workers_gives_the_same(tmp_path: Path) -> None:
    # The way of a GPU, walked on a CPU.
    video = open_video(write_frames(tmp_path / "clip", 11, (96, 128)))
    with Segmenter(SMALL, workers=2) as segmenter:
        segmenter._on_cpu, segmenter._describer = False, segmenter.plan.build()
        assert segmenter.segment(video).frames == segment_video(video, SMALL).frames


def test_one_set_of_workers_serves_several_videos(tmp_path: Path) -> None:
    videos = [open_video(write_frames(tmp_path / name, count, (96, 128))) for name, count in (("a", 5), ("b", 9))]
    with Segmenter(SMALL, workers=2) as segmenter:
        together = [segmenter.segment(video) for video in videos]
    for video, masks in zip(videos, together, strict=True):
        assert masks.frames == segment_video(video, SMALL).frames


def test_only_the_chosen_frames_get_masks_and_partners_come_from_all(tmp_path: Path) -> None:
    video = open_video(write_frames(tmp_path / "clip", 10, (96, 128)))
    masks = segment_video(video, SMALL, indices=[8, 0, 3])
    assert [(frame.index, frame.partner) for frame in masks.frames] == [(0, 4), (3, 7), (8, 4)]


def test_a_single_frame_is_cut_without_flow_and_that_is_said(tmp_path: Path) -> None:
    video = open_video(write_frames(tmp_path / "clip", 1, (96, 128)))
    masks = segment_video(video, SMALL)
    assert [frame.partner for frame in masks.frames] == [None]
    assert masks.frames == segment_video(video, SMALL.with_changes(alpha=1)).frames
    assert masks.provenance["notes"] == ["clip: a single frame has no flow, alpha is 1 instead of 0.5"]


def test_without_crf_masks_stay_unrefined_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = open_video(write_frames(tmp_path / "clip", 3, (96, 128)))
    unrefined = segment_video(video, SMALL.with_changes(crf=False))
    for module in ("run", "models", "pseudo_masks"):
        monkeypatch.setattr(f"flowcut_napari.core.{module}.crf_is_available", lambda: False)
    with Segmenter(SMALL) as segmenter:
        masks = segmenter.segment(video)
    assert [notice for notice in segmenter.notices if refine_module.CRF_INSTALL_HINT in notice] == segmenter.notices
    assert len(segmenter.notices) == 1
    assert masks.frames == unrefined.frames
    assert masks.provenance["crf"] is None


def test_a_frame_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip", 9, (96, 128), suffix=".jpg")
    file = folder / "00005.jpg"
    file.write_bytes(file.read_bytes()[:-700])
    for workers in (1, 2):
        with pytest.raises(InputError, match=r"00005\.jpg: damaged image"):
            segment_video(open_video(folder), SMALL, workers=workers)


def test_devices_that_are_not_there_are_refused() -> None:
    for device in ("tpu", "cuda:99", "cuda:x"):
        with pytest.raises(InputError, match=r"device"):
            resolve_device(device)
    assert resolve_device("cpu") == "cpu"


def test_threads_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_the_bundled_clip_shows_its_moving_toys(sample_clip: Path, tmp_path: Path) -> None:
    video = open_video(f"{sample_clip}::toys")
    masks = segment_video(video, CutParameters.preset("handmade"), indices=range(0, 24, 6), workers=2)
    annotations = read_annotations(sample_clip / "Annotations" / "toys")
    assert np.mean(list(score_union(masks, annotations).values())) > 0.3
    assert np.mean(best_overlaps(masks, annotations)[1]) > 0.5  # the fish, the toy that moves most


@pytest.mark.real
def test_flow_helps_on_real_sequences(tmp_path: Path) -> None:
    root, weights = data_path("data", "davis16"), {"raft-small": data_path("weights", "raft_small.pth")}
    base = CutParameters.preset("handmade").with_changes(flow="raft-small", crf=False)
    scores: dict[float, list[float]] = {base.alpha: [], 1.0: []}
    cache = ArrayCache(tmp_path / "cache")
    for name in ("camel", "dog", "breakdance"):
        video = open_video(f"{root}::{name}")
        annotations = read_annotations(root / "Annotations" / "480p" / name)
        for alpha, values in scores.items():
            parameters = base.with_changes(alpha=alpha)
            masks = segment_video(video, parameters, indices=[4, 24], weights=weights, cache=cache, workers=2)
            values += score_union(masks, annotations).values()
    assert np.mean(scores[base.alpha]) > np.mean(scores[1.0]) + 0.2
    assert replace(masks, frames=()).provenance["features"]["name"] == "handmade"
