"""The layers of predictions: what they show, made frame by frame, and that they leave everything as it was."""

from __future__ import annotations

import gc
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_frames
from made_predictions import SIZE, box, made_video, write_prediction
from made_results import write_indexed

pytest.importorskip("napari")
from napari.components import ViewerModel

from flowcut_napari.core.prediction_files import read_prediction
from flowcut_napari.core.predictions import differences
from flowcut_napari.core.reference_masks import ReferenceMasks, read_ground_truth
from flowcut_napari.core.video import Video, open_video
from flowcut_napari.viewer import layer_styles as styles
from flowcut_napari.viewer.captions import draw_captions
from flowcut_napari.viewer.prediction_arrays import Differences, Mode, PredictionLabels, PredictionView
from flowcut_napari.viewer.prediction_layers import ROLES, PredictionLayers, track_features
from flowcut_napari.viewer.video_layers import KEY, frames_layer, layer_of

FIRST, SECOND = box(4, 4, 20, 20), box(12, 12, 20, 30)


@pytest.fixture
def video(tmp_path: Path) -> Video:
    return made_video(tmp_path)


@pytest.fixture
def truth(tmp_path: Path, video: Video) -> ReferenceMasks:
    numbers = np.zeros((4, *SIZE), np.uint8)
    numbers[:, 6:26, 8:30] = 1
    numbers[:, :2] = 255
    return read_ground_truth(write_indexed(tmp_path / "truth", numbers), video)


@pytest.fixture
def view(tmp_path: Path, video: Video, truth: ReferenceMasks) -> PredictionView:
    tracks = [(0.9, [FIRST, None, FIRST, FIRST]), (0.4, [SECOND] * 4)]
    prediction = read_prediction(write_prediction(tmp_path / "p", video, tracks), video)
    return PredictionView(prediction, 0.3, truth=truth)


@pytest.fixture
def viewer(video: Video) -> ViewerModel:
    """A viewer with a video, masks of ours that are seen and flow that is not, and a layer of the user's own."""
    made = ViewerModel()
    frames_layer(made, video)
    for role, is_seen in (("masks", True), ("flow", False)):
        data = np.zeros((4, *SIZE), np.uint8)
        made.add_labels(data, name=role, metadata={KEY: {"role": role}}, visible=is_seen)
    made.add_labels(np.zeros((4, *SIZE), np.uint8), name="mine")
    made.layers.selection = {made.layers["masks"]}
    return made


def shown(viewer: ViewerModel, video: Video, view: PredictionView, mode: Mode = "blend") -> PredictionLayers:
    view.mode = mode
    layers = PredictionLayers(viewer, video, view)
    layers.arrange()
    make_all(layers)
    return layers


def make_all(layers: PredictionLayers) -> None:
    for role in layers.missing():
        layers.make(role)


def state(viewer: ViewerModel) -> list[tuple[str, bool]]:
    return [(layer.name, layer.visible) for layer in viewer.layers]


def seen(viewer: ViewerModel) -> set[str]:
    return {layer.name for layer in viewer.layers if layer.visible}


# What must not be disturbed.


@pytest.mark.parametrize("mode", ["blend", "beside", "differences"])
def test_closing_leaves_the_viewer_as_it_was(
    viewer: ViewerModel, video: Video, view: PredictionView, mode: Mode
) -> None:
    before = state(viewer)
    selected = set(viewer.layers.selection)
    layers = shown(viewer, video, view, mode)
    assert state(viewer) != before
    assert "masks" not in seen(viewer)
    assert "mine" in seen(viewer)
    layers.close()
    assert state(viewer) == before
    assert set(viewer.layers.selection) == selected
    callbacks = viewer.layers.events.removed.callbacks
    assert not any("_on_removed" in str(callback) and "PredictionLayers" in str(callback) for callback in callbacks)


def test_frames_that_were_hidden_are_seen_meanwhile_and_hidden_again(
    viewer: ViewerModel, video: Video, view: PredictionView
) -> None:
    frames = layer_of(viewer, video)
    assert frames is not None
    frames.visible = False
    layers = shown(viewer, video, view)
    assert frames.visible
    layers.close()
    assert not frames.visible


def test_masks_that_come_late_do_not_lie_over_the_predictions(
    viewer: ViewerModel, video: Video, view: PredictionView
) -> None:
    layers = shown(viewer, video, view)
    late = viewer.add_labels(np.zeros((4, *SIZE), np.uint8), name="seeds", metadata={KEY: {"role": "seeds"}})
    assert not late.visible
    mine = viewer.add_labels(np.zeros((4, *SIZE), np.uint8), name="more of mine")
    assert mine.visible
    layers.close()
    assert late.visible


def test_layers_that_went_meanwhile_are_not_missed(viewer: ViewerModel, video: Video, view: PredictionView) -> None:
    layers = shown(viewer, video, view, "beside")
    viewer.layers.remove("masks")
    viewer.layers.clear()
    layers.arrange()
    layers.refresh()
    make_all(layers)  # without frames there is nothing to copy
    layers.close()
    assert "masks" not in viewer.layers


@pytest.mark.parametrize("role", ROLES)
def test_a_deleted_layer_stays_away_until_it_is_asked_for(
    viewer: ViewerModel, video: Video, view: PredictionView, role: str
) -> None:
    layers = shown(viewer, video, view, "differences" if role == "differences" else "beside")
    if layers[role] is None:  # there are no pseudo-masks here
        assert role in ("pseudo-masks", "frame of pseudo-masks")
        return
    viewer.layers.remove(role)
    assert layers.deleted == {role}
    layers.arrange()
    layers.refresh()
    layers.highlight(1)
    assert layers.missing() == []
    layers.restore()
    assert layers.missing() == [role]
    make_all(layers)
    assert role in viewer.layers
    layers.close()
    assert role not in viewer.layers


def test_a_viewer_that_is_gone_is_survived(video: Video, view: PredictionView) -> None:
    viewer = ViewerModel()
    frames_layer(viewer, video)
    layers = PredictionLayers(viewer, video, view)
    known = weakref.ref(viewer)
    del viewer
    gc.collect()
    assert known() is None
    assert not layers.arrange()
    layers.fit()
    layers.make("predictions")
    layers.close()


# What is seen.


def test_blend_lies_over_the_frame_by_identity(viewer: ViewerModel, video: Video, view: PredictionView) -> None:
    shown(viewer, video, view)
    layer = viewer.layers["predictions"]
    assert seen(viewer) == {"clip", "predictions", "mine"}
    assert not layer.editable
    assert view.prediction is not None
    for frame in range(4):
        assert np.array_equal(np.asarray(layer.data[frame]), view.prediction.paint(frame, 0.3))
    assert np.asarray(layer.data[1]).max() == 2  # the better one is elsewhere, the other keeps its number
    with pytest.raises(ValueError, match="computed"):
        layer.data[0] = 1


def test_a_track_has_the_colour_of_its_swatch() -> None:
    from flowcut_napari.core.preview import COLOURS

    colours = styles.object_colormap().map(np.array([1, 2, len(COLOURS) + 1]))
    assert np.allclose(colours[0, :3], np.array(COLOURS[0]) / 255, atol=0.01)
    assert np.allclose(colours[1, :3], np.array(COLOURS[1]) / 255, atol=0.01)
    assert np.allclose(colours[2], colours[0])


def test_the_threshold_changes_what_is_seen_and_the_table(
    viewer: ViewerModel, video: Video, view: PredictionView
) -> None:
    layers = shown(viewer, video, view)
    layer = viewer.layers["predictions"]
    assert layer.features["index"].tolist() == [1, 2]
    assert layer.features["score"].tolist() == [0.9, 0.4]
    assert layer.features["frames"].tolist() == [3, 4]
    drawn: list[Any] = []
    layer.events.set_data.connect(drawn.append)
    view.threshold = 0.35  # cuts nothing
    layers.refresh()
    assert not drawn
    view.threshold = 0.8
    layers.refresh()
    assert drawn
    assert layer.features["index"].tolist() == [1]
    assert not np.asarray(layer.data[1]).any()
    view.threshold = 0.95
    layers.refresh()
    assert len(layer.features) == 0
    assert not np.asarray(layer.data[0]).any()


def test_differences_are_those_of_the_foreground(
    viewer: ViewerModel, video: Video, view: PredictionView, truth: ReferenceMasks
) -> None:
    shown(viewer, video, view, "differences")
    assert seen(viewer) == {"clip", "differences", "mine"}
    assert view.prediction is not None
    for frame in range(4):
        expected = differences(view.prediction.paint(frame, 0.3), truth.paint(frame), truth.void(frame))
        assert np.array_equal(np.asarray(viewer.layers["differences"].data[frame]), expected)
        assert set(np.unique(expected)) == {0, 1, 2, 3} or frame == 1


def test_frames_that_cannot_be_compared_show_no_difference(tmp_path: Path, video: Video, view: PredictionView) -> None:
    part = read_prediction(write_prediction(tmp_path / "q", video, [(0.9, [FIRST, FIRST])], frames=[0, 2]), video)
    view.prediction = part
    array = Differences(view, video)
    assert [bool(array[frame].any()) for frame in range(4)] == [True, False, True, False]
    view.truth = None
    assert not array[0].any()


def _seen_as(colour: tuple[int, int, int], kind: str) -> np.ndarray:
    """Return a colour as it is seen by somebody without one kind of cones (Vienot, 1999), linear RGB."""
    linear = (np.array(colour) / 255) ** 2.2
    if kind == "protan":
        matrix = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
    elif kind == "deutan":
        matrix = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    elif kind == "grey":
        matrix = np.tile([0.2126, 0.7152, 0.0722], (3, 1))
    else:
        matrix = np.eye(3)
    return np.clip(matrix @ linear, 0, 1) ** (1 / 2.2)


@pytest.mark.parametrize("kind", ["normal", "protan", "deutan", "grey"])
def test_hit_miss_and_false_are_told_apart_by_everybody(kind: str) -> None:
    colours = [_seen_as(one, kind) for one in (styles.HIT_COLOUR, styles.MISS_COLOUR, styles.FALSE_COLOUR)]
    for first in range(3):
        for second in range(first):
            assert np.abs(colours[first] - colours[second]).max() > 0.2
    drawn = styles.difference_colormap().map(np.array([0, 1, 2, 3]))
    assert drawn[0, 3] == 0
    assert np.allclose(drawn[1:, :3] * 255, [styles.HIT_COLOUR, styles.MISS_COLOUR, styles.FALSE_COLOUR], atol=1)


def test_side_by_side_has_a_frame_for_each_and_none_covers_another(
    viewer: ViewerModel, video: Video, view: PredictionView, truth: ReferenceMasks
) -> None:
    view.pseudo = ReferenceMasks("pseudo-masks", "clip", SIZE, truth.frames)
    layers = shown(viewer, video, view, "beside")
    assert layers.panels == ("predictions", "pseudo-masks", "ground truth")
    corners = set()
    for kind in ("pseudo-masks", "ground truth"):
        masks, frame = viewer.layers[kind], viewer.layers[f"frame of {kind}"]
        assert masks.visible and frame.visible
        assert tuple(masks.translate) == tuple(frame.translate)
        assert frame.data is viewer.layers["clip"].data  # decoded once
        assert viewer.layers.index(frame) < viewer.layers.index(masks)
        assert np.array_equal(np.asarray(masks.data[2]), truth.paint(2))
        corners.add(tuple(masks.translate))
    assert tuple(viewer.layers["predictions"].translate) == (0, 0, 0)
    corners.add((0.0, 0.0, 0.0))
    assert len(corners) == 3
    for first in corners:
        for second in corners - {first}:
            assert abs(first[1] - second[1]) >= SIZE[0] or abs(first[2] - second[2]) >= SIZE[1]
    captions = viewer.layers["captions"]
    assert captions.ndim == 2  # they stand there on every frame


def test_captions_stand_above_their_frames_and_on_none(video: Video) -> None:
    corners = {"predictions": (0.0, 0.0), "pseudo-masks": (0.0, 80.0), "ground truth": (60.0, 0.0)}
    height = 12.0
    picture = draw_captions(corners, video.width, height, 4.0)
    assert picture.shape == (4 * 72, 4 * 144, 4)
    for top, left in corners.values():
        # The picture begins the height of a caption above the first frame.
        room = picture[round(4 * top) : round(4 * (top + height)), round(4 * left) : round(4 * (left + video.width))]
        frame = picture[round(4 * (top + height)) :, round(4 * left) : round(4 * (left + video.width))]
        assert room[..., 3].any()
        assert not frame[: 4 * 40, :, 3].any()


def test_modes_follow_one_another_without_a_trace(viewer: ViewerModel, video: Video, view: PredictionView) -> None:
    layers = shown(viewer, video, view, "beside")
    assert "frame of ground truth" in viewer.layers
    for mode, alone in (("differences", "differences"), ("blend", "predictions")):
        view.mode = mode  # type: ignore[assignment]  # one of them
        assert layers.arrange()
        make_all(layers)
        assert seen(viewer) == {"clip", alone, "mine"}
        # Where napari fits the view to them, hidden as they are.
        assert tuple(viewer.layers["frame of ground truth"].translate) == (0, 0, 0)
        assert viewer.layers["captions"].data.shape[:2] == (1, 1)
    view.mode = "beside"
    assert layers.arrange()
    make_all(layers)
    assert seen(viewer) == {"clip", "predictions", "ground truth", "frame of ground truth", "captions", "mine"}
    assert viewer.layers["captions"].data[..., 3].any()
    assert not layers.arrange()


@pytest.mark.parametrize("canvas", [(700, 500), (400, 1200), (50, 50)])
def test_all_frames_are_fitted_into_the_canvas(
    viewer: ViewerModel, video: Video, view: PredictionView, canvas: tuple[int, int]
) -> None:
    viewer.canvas.size = canvas
    layers = shown(viewer, video, view, "beside")
    layers.fit()
    _, y, x = viewer.scene.camera.center
    half = canvas[0] / viewer.scene.camera.zoom / 2, canvas[1] / viewer.scene.camera.zoom / 2
    for name in ("predictions", "ground truth"):
        top, left = viewer.layers[name].translate[1:]
        assert y - half[0] <= top and top + SIZE[0] <= y + half[0] + 1
        assert x - half[1] <= left and left + SIZE[1] <= x + half[1] + 1


def test_one_track_alone(viewer: ViewerModel, video: Video, view: PredictionView) -> None:
    layers = shown(viewer, video, view)
    layers.highlight(2)
    assert viewer.layers["predictions"].selected_label == 2
    assert viewer.layers["predictions"].show_selected_label
    layers.highlight(0)
    assert not viewer.layers["predictions"].show_selected_label


# Memory and time.


def test_a_long_video_keeps_few_frames(tmp_path: Path) -> None:
    video = open_video(write_frames(tmp_path / "long", 60))
    tracks = [(0.9, [FIRST] * 60)]
    view = PredictionView(read_prediction(write_prediction(tmp_path / "p", video, tracks), video), 0.3)
    array = PredictionLabels(view, video)
    for frame in range(60):
        array[frame]
    assert array.kept_bytes <= 8 * array[0].nbytes
    assert np.shares_memory(array[5], array[5])
    view.threshold = 0.95
    assert not array[5].any()


def test_what_was_made_of_another_video_is_not_shown(tmp_path: Path, view: PredictionView) -> None:
    other = open_video(write_frames(tmp_path / "other", 2, (20, 30)))
    assert PredictionLabels(view, other)[0].shape == (20, 30)
    assert not PredictionLabels(view, other)[0].any()


def test_a_frame_of_a_davis_video_is_painted_in_a_few_milliseconds(tmp_path: Path) -> None:
    size = (480, 854)
    video = open_video(write_frames(tmp_path / "dog", 6, size))
    tracks = [(0.9 - place / 20, [box(20 * place, 40 * place, 200, 300, size)] * 6) for place in range(5)]
    prediction = read_prediction(write_prediction(tmp_path / "p", video, tracks), video)
    array = PredictionLabels(PredictionView(prediction, 0.3), video)
    times = []
    for frame in range(6):
        began = time.perf_counter()
        array[frame]
        times.append(time.perf_counter() - began)
    assert min(times) < 0.02


def test_the_table_of_nothing_is_empty() -> None:
    assert track_features(PredictionView()) == {"index": [], "score": [], "frames": []}
