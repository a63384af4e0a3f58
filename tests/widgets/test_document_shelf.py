"""Documents of several videos, read and matched on threads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from benches import open_bench
from desks import box, look_at, two_objects, write_masked
from napari_window import wait_until

from flowcut_napari.core import CurationParameters, load_masks, save_masks
from flowcut_napari.core.decisions import ClipVerdict, Relabel
from flowcut_napari.widgets.curate import document as documents
from flowcut_napari.widgets.curate.actions import BY_NAME
from flowcut_napari.widgets.curate.desk import CurationDesk, curation_of


@pytest.fixture
def desk() -> Iterator[CurationDesk]:
    with open_bench() as bench:
        bench.set_live(False)
        yield curation_of(bench)


def test_a_long_video_is_matched_on_a_thread_and_the_last_threshold_counts(
    desk: CurationDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_at(desk, write_masked(tmp_path, two_objects(12), 12))
    monkeypatch.setattr(documents, "_MANY_PAIRS", 3)
    for threshold in (0.6, 0.7, 0.8):
        desk.set_parameters(CurationParameters(iou=threshold, gaps=(1, 3)))
    assert desk.parameters.iou == 0.8
    BY_NAME["accept_clip"].do(desk)  # meanwhile
    wait_until(lambda: desk.review.curation.parameters.iou == 0.8, "the last threshold")
    assert desk.review.gaps == (1, 3)
    assert desk.review.curation.masks is desk.masks
    assert desk.review.pairs[1, 0].verdict == "accept"


def test_a_long_video_whose_decisions_contradict_keeps_the_threshold_that_it_had(
    desk: CurationDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = {0: {1: box(4, 4, 12, 20)}, 1: {1: box(4, 4, 12, 12), 2: box(30, 4, 12, 12)}}
    path = write_masked(tmp_path, frames, 2)
    save_masks(load_masks(path).decide(Relabel((0, 1), 5), Relabel((1, 2), 5)), path)
    desk.set_parameters(CurationParameters(iou=0.9))
    look_at(desk, path)
    monkeypatch.setattr(documents, "_MANY_PAIRS", 0)
    desk.set_parameters(CurationParameters(iou=0.2))
    wait_until(lambda: desk.parameters.iou == 0.9, "the threshold before")
    assert desk.review.curation.parameters.iou == 0.9


def test_work_that_cannot_be_saved_outlives_the_layers_of_its_video(desk: CurationDesk, tmp_path: Path) -> None:
    first = write_masked(tmp_path, two_objects(4), 4, name="first")
    second = write_masked(tmp_path, two_objects(4), 4, name="second")
    look_at(desk, first)
    document = desk.document
    theirs = load_masks(first).decide(ClipVerdict((2, 3), "reject"))
    save_masks(theirs, first)
    BY_NAME["accept_clip"].do(desk)
    document.file.wait(5)
    assert document.file.state.kind == "conflict"
    look_at(desk, second)
    viewer = desk.parent().viewer
    viewer.layers.remove(next(layer for layer in viewer.layers if layer.name == "first"))
    assert document in desk.documents()
    assert load_masks(first) == theirs


def test_masks_of_another_video_are_not_taken_for_theirs(desk: CurationDesk, tmp_path: Path) -> None:
    first = write_masked(tmp_path, two_objects(4), 4, name="first")
    other = write_masked(tmp_path, two_objects(5), 5, name="other")
    look_at(desk, first)
    shutil.copy(other, first)
    BY_NAME["accept_clip"].do(desk)
    desk.flush()
    said: list[str] = []
    desk.parent().remarked.connect(said.append)
    mine = desk.masks
    desk.take_theirs()
    wait_until(lambda: said, "why not")
    assert "holds the masks of another video now" in said[-1]
    assert desk.masks is mine and desk.save_state.kind == "conflict"
