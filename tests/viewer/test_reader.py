from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import cut_to_nothing, write_video
from conftest import REPOSITORY, write_frames
from made_masks import write_clip
from napari.components import ViewerModel
from napari.utils.notifications import Notification, NotificationSeverity, notification_manager
from npe2 import PluginManager, PluginManifest
from numpy.testing import assert_array_equal

from flowcut_napari.core import CutParameters, load_masks, open_video, segment_video
from flowcut_napari.core.store import save_masks
from flowcut_napari.viewer.layer_set import role_of
from flowcut_napari.viewer.reader import get_reader
from flowcut_napari.viewer.writer import write_masks


@pytest.fixture
def told() -> Iterator[list[Notification]]:
    """All that is notified meanwhile."""
    heard: list[Notification] = []
    notification_manager.notification_ready.connect(heard.append)
    yield heard
    notification_manager.notification_ready.disconnect(heard.append)


@pytest.fixture
def viewer() -> ViewerModel:
    """A viewer without a window, that knows the plugins a window knows."""
    PluginManager.instance().discover()
    return ViewerModel()


def _layers(path: Path | str) -> list[Any]:
    reader = get_reader(str(path))
    assert reader is not None
    return reader(str(path))


def test_a_folder_of_images_is_a_layer_of_frames(tmp_path: Path, told: list[Notification]) -> None:
    folder = write_frames(tmp_path / "clip", 4)
    ((data, options, kind),) = _layers(folder)
    video = open_video(folder)
    assert (kind, options["name"], options["rgb"], options["axis_labels"]) == (
        "image",
        "clip",
        True,
        ("frame", "y", "x"),
    )
    assert_array_equal(np.asarray(data), np.stack(list(video)))
    assert told == []


def test_a_video_file_is_a_layer_of_frames(tmp_path: Path, told: list[Notification]) -> None:
    path = write_video(tmp_path / "moving.mp4", 6)
    ((data, options, _),) = _layers(path)
    assert options["name"] == "moving"
    # Out of order, as somebody goes through it.
    for index in (5, 0, 3):
        assert_array_equal(data[index], open_video(path)[index])
    assert told == []


def test_of_a_davis_root_the_first_video_is_opened_and_the_others_are_told_of(
    tmp_path: Path, told: list[Notification]
) -> None:
    for name in ("bear", "camel", "dog"):
        write_frames(tmp_path / "DAVIS" / "JPEGImages" / "480p" / name, 2, suffix=".jpg")
    ((data, options, _),) = _layers(tmp_path / "DAVIS")
    assert (data.video.name, options["name"]) == ("bear", "bear")
    (notification,) = told
    assert notification.severity == NotificationSeverity.INFO
    assert "3 videos; opened bear" in notification.message


def test_masks_come_with_their_video_and_go_round(tmp_path: Path, told: list[Notification]) -> None:
    masks = write_clip(tmp_path / "videos", tmp_path / "out")
    path = tmp_path / "out" / "clip.masks.json"
    (frames, frame_options, kind), (labels, options, other_kind) = _layers(path)
    assert (kind, other_kind) == ("image", "labels")
    assert (frame_options["name"], options["name"]) == ("clip", "clip masks")
    assert frames.shape[:3] == labels.shape == (6, 48, 64)
    for index, frame in enumerate(masks.frames):
        expected = np.zeros((48, 64), np.uint16)
        for instance in frame.instances:
            expected[instance.mask] = instance.id
        assert_array_equal(labels[index], expected)
        assert set(np.unique(expected)) == {0, 1, 2}
    (written,) = write_masks(str(tmp_path / "again.masks.json"), labels, {"name": "clip masks"})
    assert load_masks(Path(written)) == masks == load_masks(path)
    assert Path(written).read_bytes() == path.read_bytes()
    assert told == []


def test_masks_find_their_video_wherever_it_is_called_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[Notification]
) -> None:
    write_clip(tmp_path / "videos", tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    assert len(_layers("clip.masks.json")) == 2
    assert told == []


def test_masks_find_their_video_in_a_youtube_vis_json_whatever_it_is_called(
    tmp_path: Path, told: list[Notification]
) -> None:
    for name in ("other", "my clip"):
        write_frames(tmp_path / name, 3)
    videos = [{"id": 1, "file_names": [f"{name}/{i:05d}.png" for i in range(3)]} for name in ("other", "my clip")]
    (tmp_path / "set.json").write_text(json.dumps({"videos": videos}))
    video = open_video(f"{tmp_path / 'set.json'}::my clip")
    parameters = CutParameters.preset("handmade").with_changes(height=64, width=96, gap=1, crf=False)
    path = tmp_path / f"{video.name}.masks.json"
    save_masks(segment_video(video, parameters), path)
    (frames, _, _), _ = _layers(path)
    assert frames.video.name == video.name
    assert_array_equal(frames[2], video[2])
    assert told == []


def test_masks_of_a_video_that_has_changed_are_shown_with_a_note(tmp_path: Path, told: list[Notification]) -> None:
    write_clip(tmp_path / "videos", tmp_path / "out")
    first, second = sorted((tmp_path / "videos" / "clip").iterdir())[:2]
    first.write_bytes(second.read_bytes())
    assert len(_layers(tmp_path / "out" / "clip.masks.json")) == 2
    (notification,) = told
    assert notification.severity == NotificationSeverity.INFO
    assert "has changed since these masks were made" in notification.message


def _empty(path: Path) -> Path:
    path.mkdir()
    return path


def _no_images(path: Path) -> Path:
    path.mkdir()
    (path / "notes.txt").write_text("nothing to see")
    return path


def _no_video(path: Path) -> Path:
    path = path.with_suffix(".mp4")
    path.write_bytes(b"no video at all")
    return path


def _damaged_masks(path: Path) -> Path:
    path = path.with_name("clip.masks.json")
    path.write_text('{"schema": "flowcut.masks/1"')
    return path


def _masks_without_video(path: Path) -> Path:
    write_clip(path, path / "out")
    shutil.rmtree(path / "clip")
    return path / "out" / "clip.masks.json"


def _masks_of_more_frames(path: Path) -> Path:
    write_clip(path, path / "out")
    (path / "clip" / "00005.jpg").unlink()
    return path / "out" / "clip.masks.json"


def _no_first_frame(path: Path) -> Path:
    write_frames(path, 3)
    cut_to_nothing(path / "00000.png")
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_empty, "no"),
        (_no_images, "image"),
        (lambda path: path / "nowhere", "nowhere"),
        (lambda path: path / "nowhere.mp4", "nowhere.mp4"),
        (_no_video, "video"),
        (_damaged_masks, "clip.masks.json"),
        (_masks_without_video, "the video of these masks cannot be opened"),
        (_masks_of_more_frames, "had 6 frames of 64x48, but"),
        (_no_first_frame, "00000.png"),
    ],
)
def test_what_cannot_be_read_gives_one_notification_and_no_layer(
    make: Any, words: str, tmp_path: Path, told: list[Notification]
) -> None:
    path = make(tmp_path / "bad")
    assert _layers(path) == [(None,)]
    (notification,) = told
    assert notification.severity == NotificationSeverity.ERROR
    assert words in notification.message
    assert "\n" not in notification.message


def test_napari_takes_a_bad_folder_for_read_and_adds_nothing(
    viewer: ViewerModel, tmp_path: Path, told: list[Notification]
) -> None:
    assert viewer.open(str(_empty(tmp_path / "bad")), plugin="flowcut-napari") == []
    assert len(viewer.layers) == 0
    assert [notification.severity for notification in told] == [NotificationSeverity.ERROR]


def test_napari_opens_what_the_manifest_claims(viewer: ViewerModel, tmp_path: Path, told: list[Notification]) -> None:
    write_clip(tmp_path / "videos", tmp_path / "out")
    viewer.open(str(tmp_path / "out" / "clip.masks.json"), plugin="flowcut-napari")
    assert [role_of(layer) for layer in viewer.layers] == ["frames", "file masks"]
    assert viewer.layers[1].data[3].any()
    # A point of the canvas is the same in both.
    assert viewer.layers[0].scale[-2:].tolist() == viewer.layers[1].scale[-2:].tolist()
    assert told == []


def test_several_paths_at_once_are_no_video() -> None:
    assert get_reader(["a.png", "b.png"]) is None


@pytest.mark.parametrize(
    ("path", "is_ours"),
    [("a.mp4", True), ("a.MOV", True), ("b.masks.json", True), ("c.json", False), ("d.png", False), ("e.tif", False)],
)
def test_only_videos_and_masks_are_claimed(path: str, is_ours: bool) -> None:
    manager = PluginManager()
    manager.register(PluginManifest.from_file(REPOSITORY / "napari.yaml"))
    found = [reader.plugin_name for reader in manager.iter_compatible_readers(path)]
    assert found == (["flowcut-napari"] if is_ours else [])
