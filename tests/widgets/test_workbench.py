from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benches import SMALL, application, labels_of, open_bench, settle
from command_line import cut_to_nothing
from conftest import write_frames
from made_masks import write_clip
from napari.components import ViewerModel
from napari_window import started_here, wait, wait_until
from npe2 import PluginManager
from numpy.testing import assert_array_equal

from flowcut_napari.core import CutParameters, InputError, open_video, sample, segment_video
from flowcut_napari.live.messages import Described, Machine
from flowcut_napari.viewer.layer_set import role_of
from flowcut_napari.viewer.preferences import Preferences
from flowcut_napari.widgets.workbench import Workbench, workbench_of

ALL = ["frames", "flow", "eigenvector 2", "eigenvector 1", "cut 2", "cut 1", "masks", "seeds"]


@pytest.fixture
def bench() -> Iterator[Workbench]:
    with open_bench() as opened:
        yield opened


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_frames(tmp_path / "clip", 6, (96, 128))


def _heard(signal_: Any) -> list[tuple[Any, ...]]:
    heard: list[tuple[Any, ...]] = []
    signal_.connect(lambda *values: heard.append(values))
    return heard


def _roles(bench: Workbench) -> list[str | None]:
    return [role_of(layer) for layer in bench.viewer.layers]


def _step(bench: Workbench, frame: int) -> None:
    bench.viewer.dims.set_current_step(0, frame)


def _open(bench: Workbench, path: Path) -> None:
    """Open a video at its first frame (napari begins in the middle), and wait for all about it."""
    bench.open(str(path))
    _step(bench, 0)
    settle(bench)


def _expected(path: Path, frame: int, parameters: CutParameters = SMALL) -> Any:
    (masks,) = segment_video(open_video(path), parameters, indices=[frame]).frames
    return masks


def test_a_viewer_has_one_workbench_and_two_viewers_share_nothing(clip: Path) -> None:
    application()
    viewers = ViewerModel(), ViewerModel()
    first, second = (workbench_of(viewer) for viewer in viewers)
    assert workbench_of(viewers[0]) is first is not second
    heard = [_heard(getattr(second, name)) for name in ("video_changed", "parameters_changed", "layers_changed")]
    first.open(str(clip))
    first.set_parameters(SMALL.with_changes(tau=0.33))
    first.set_machine(Machine("cpu"))
    assert second.video is None
    assert second.parameters != first.parameters
    assert second.machine.device == "auto"
    assert len(viewers[1].layers) == 0
    assert heard == [[], [], []]
    first.shutdown()
    assert not second.is_shut
    # A viewer whose bench was shut begins anew.
    assert workbench_of(viewers[0]) is not first
    for viewer in viewers:
        workbench_of(viewer).shutdown()


def test_a_workbench_does_not_keep_its_viewer_alive() -> None:
    application()
    viewer = ViewerModel()
    bench, gone = workbench_of(viewer), weakref.ref(viewer)
    del viewer
    gc.collect()
    assert gone() is None
    with pytest.raises(ReferenceError, match="closed"):
        _ = bench.viewer
    bench.shutdown()


def test_opening_a_video_gives_its_layers_with_the_masks_of_a_whole_run(bench: Workbench, clip: Path) -> None:
    _open(bench, clip)
    assert _roles(bench) == ALL
    masks = bench.viewer.layers["masks"]
    expected = _expected(clip, 0)
    assert_array_equal(masks.data[0], labels_of(expected, (96, 128)))
    assert expected.instances
    assert masks.features["index"].tolist() == [
        *(instance.id for instance in expected.instances),
        *(rejected.iteration for rejected in expected.rejected),
    ]
    # All lie on the frame, to the pixel, however coarse their grid is.
    for layer in bench.viewer.layers:
        first, last = layer.extent.world[:, 1:]
        half = layer.scale[1:] / 2
        assert_array_equal([first - half, last + half], [[-0.5, -0.5], [95.5, 127.5]], layer.name)


def test_the_bundled_clip_opens(bench: Workbench) -> None:
    bench.open(f"{sample.sample_folder()}::{sample.NAME}")
    settle(bench)
    assert bench.video is not None
    assert (bench.video.name, len(bench.video), _roles(bench)) == ("toys", 24, ALL)


def test_without_flow_there_is_no_layer_for_it_and_sliders_bring_and_take_layers(bench: Workbench, clip: Path) -> None:
    bench.set_parameters(SMALL.with_changes(alpha=1.0, max_instances=1))
    _open(bench, clip)
    assert _roles(bench) == ["frames", "eigenvector 1", "cut 1", "masks", "seeds"]
    bench.set_parameters(SMALL)
    wait_until(lambda: _roles(bench) == ALL, "the layers of flow and of a second cut")


def test_another_working_size_gives_the_layers_its_grid(bench: Workbench, clip: Path) -> None:
    _open(bench, clip)
    before = bench.viewer.layers["cut 1"].data.shape
    bench.set_parameters(SMALL.with_changes(height=192, width=256))
    settle(bench)
    wait_until(lambda: bench.viewer.layers["cut 1"].data.shape != before, "layers of the new grid")
    assert bench.viewer.layers["cut 1"].data.shape[1:] == bench.grid
    assert _roles(bench) == ALL


def test_a_step_in_time_shows_that_frame(bench: Workbench, clip: Path) -> None:
    _open(bench, clip)
    changed = _heard(bench.frame_changed)
    _step(bench, 3)
    assert (bench.frame, len(changed)) == (3, 1)
    settle(bench)
    assert_array_equal(bench.viewer.layers["masks"].data[3], labels_of(_expected(clip, 3), (96, 128)))
    assert bench.partner == 5
    _step(bench, 3)
    assert len(changed) == 1


def test_parameters_changed_is_told_once_for_each_change(bench: Workbench, clip: Path) -> None:
    _open(bench, clip)
    changed = _heard(bench.parameters_changed)
    bench.set_parameters(SMALL)
    assert changed == []
    moved = SMALL.with_changes(tau=0.3)
    bench.set_parameters(moved)
    bench.set_parameters(moved)
    assert len(changed) == 1
    assert bench.results.parameters == moved
    settle(bench)
    assert bench.answer is not None
    assert bench.answer.parameters == moved
    assert_array_equal(bench.viewer.layers["masks"].data[0], labels_of(_expected(clip, 0, moved), (96, 128)))


def test_answers_to_a_slider_that_was_moved_since_are_dropped(bench: Workbench, clip: Path) -> None:
    _open(bench, clip)
    for step in range(20):
        bench.set_parameters(SMALL.with_changes(tau=0.3 + 0.01 * step))
        wait(5)
    settle(bench)
    assert bench.answer is not None
    assert bench.answer.parameters == bench.parameters
    assert set(bench.results.fresh_masks()) == {0}
    stale = Described(99, 0, SMALL.with_changes(gap=1), (1, 1), None, None)
    bench._on_answer(stale)
    assert bench.grid != (1, 1)


def test_answers_about_a_video_that_was_left_are_dropped(bench: Workbench, clip: Path, tmp_path: Path) -> None:
    other = write_frames(tmp_path / "other", 4, (64, 96))
    bench.open(str(clip))
    # All that is said of the first lies ready, unread, when the other is opened.
    time.sleep(4)
    bench.open(str(other))
    wait(1)
    assert bench.results.answer(bench.frame) is None
    assert bench.results.flow_picture(bench.frame) is None
    settle(bench)
    shown = bench.viewer.layers["masks"].data[bench.frame]
    assert_array_equal(shown, labels_of(_expected(other, bench.frame), (64, 96)))


def test_what_is_known_of_a_video_is_kept_while_it_is_open(bench: Workbench, clip: Path, tmp_path: Path) -> None:
    other = write_frames(tmp_path / "other", 4, (64, 96))
    _open(bench, clip)
    first = bench.video
    assert first is not None
    _open(bench, other)
    assert [layer.visible for layer in bench.viewer.layers if role_of(layer) == "frames"] == [False, True]
    assert [video.name for video in bench.desk.videos()] == ["clip", "other"]
    bench.switch(first)
    assert bench.video is first
    assert bench.results.is_complete(0)
    # The same place again is no second layer.
    bench.open(str(other))
    assert [video.name for video in bench.desk.videos()] == ["clip", "other"]


def test_with_other_weights_nothing_old_is_shown_as_new(bench: Workbench, clip: Path, tmp_path: Path) -> None:
    _open(bench, clip)
    bench.give_weights("dino", tmp_path / "dino.pth")
    assert not bench.results.is_complete(0)
    settle(bench)
    assert bench.results.is_complete(0)


def test_layers_of_the_user_are_left_alone(bench: Workbench, clip: Path, tmp_path: Path) -> None:
    mine = bench.viewer.add_image(np.ones((5, 5)), name="mine")
    masks = bench.viewer.add_labels(np.ones((5, 5), int), name="masks")
    _open(bench, clip)
    bench.open(str(write_frames(tmp_path / "other", 4, (64, 96))))
    settle(bench)
    bench.restore_layers()
    assert mine in bench.viewer.layers
    assert masks in bench.viewer.layers
    assert (mine.name, mine.visible, masks.visible, mine.metadata) == ("mine", True, True, {})
    assert_array_equal(masks.data, np.ones((5, 5)))


def test_a_deleted_layer_stays_deleted_until_it_is_brought_back(bench: Workbench, clip: Path) -> None:
    _open(bench, clip)
    changed = _heard(bench.layers_changed)
    for name in ("masks", "cut 1"):
        bench.viewer.layers.remove(name)
    assert len(changed) == 2
    _step(bench, 2)
    settle(bench)
    bench.set_parameters(SMALL.with_changes(tau=0.3))
    settle(bench)
    wait(200)
    assert set(_roles(bench)) == set(ALL) - {"masks", "cut 1"}
    assert bench.restore_layers() == {"masks", "cut 1"}
    wait_until(lambda: set(_roles(bench)) == set(ALL), "the layers back")
    settle(bench)
    assert _roles(bench) == ALL
    assert bench.restore_layers() == set()


def test_even_the_frames_can_be_deleted_and_brought_back(bench: Workbench, clip: Path) -> None:
    _open(bench, clip)
    bench.viewer.layers.remove("clip")
    _step(bench, 1)
    wait(100)
    assert "frames" not in _roles(bench)
    assert bench.restore_layers() == {"frames"}
    assert _roles(bench)[0] == "frames"
    assert_array_equal(bench.viewer.layers[0].data[1], open_video(clip)[1])


def test_all_layers_can_be_deleted_while_they_are_made(bench: Workbench, clip: Path) -> None:
    bench.open(str(clip))
    wait_until(lambda: len(bench.viewer.layers) >= 3, "the first layers")
    bench.viewer.layers.clear()
    wait_until(lambda: not bench.work, "the end of the work")
    wait(300)
    _open(bench, clip)
    assert _roles(bench) == ALL


def test_masks_that_are_dropped_on_the_window_are_taken_up(bench: Workbench, tmp_path: Path) -> None:
    PluginManager.instance().discover()
    masks = write_clip(tmp_path / "videos", tmp_path / "out")
    bench.viewer.open(str(tmp_path / "out" / "clip.masks.json"), plugin="flowcut-napari")
    wait_until(lambda: bench.video is not None and bench.results.saved is not None, "the masks of the file")
    assert bench.parameters == masks.parameters
    assert bench.results.masks(4) == masks.frames[4]
    assert "file masks" not in _roles(bench)


def test_missing_weights_are_a_trouble_that_goes_when_it_is_mended(bench: Workbench, clip: Path) -> None:
    _open(bench, clip)
    bench.set_parameters(SMALL.with_changes(features="dino"))
    wait_until(lambda: bench.trouble is not None, "the trouble")
    assert bench.trouble is not None
    assert bench.trouble.missing == ("dino",)
    assert not bench.work
    # What was made in another way is not shown as if it were the answer.
    assert not bench.viewer.layers["masks"].data[0].any()
    bench.set_parameters(SMALL)
    assert bench.trouble is None
    settle(bench)
    assert bench.viewer.layers["masks"].data[0].any()


def test_a_damaged_frame_is_said_once_and_the_others_go_on(bench: Workbench, clip: Path) -> None:
    remarks = _heard(bench.remarked)
    _open(bench, clip)
    # Its header is looked at when the video is opened.
    cut_to_nothing(clip / "00005.png")
    _step(bench, 5)
    wait_until(lambda: bench.trouble is not None, "the trouble")
    assert "00005.png" in bench.trouble.text  # type: ignore[union-attr]
    assert not [text for (text,) in remarks if "00005.png" in text]
    _step(bench, 1)
    settle(bench)
    assert bench.trouble is None
    # While nothing is cut, nobody else would say it.
    bench.set_live(False)
    cut_to_nothing(clip / "00004.png")
    _step(bench, 4)
    bench.layers["frames"].refresh()  # type: ignore[index, union-attr]
    assert len([text for (text,) in remarks if "00004.png" in text]) == 1


def test_what_cannot_be_opened_changes_nothing(bench: Workbench, clip: Path, tmp_path: Path) -> None:
    _open(bench, clip)
    before = bench.video
    with pytest.raises(InputError):
        bench.open(str(tmp_path / "nowhere"))
    assert bench.video is before
    assert _roles(bench) == ALL


def test_a_killed_process_is_started_again_and_that_is_said(bench: Workbench, clip: Path) -> None:
    remarks = _heard(bench.remarked)
    _open(bench, clip)
    killed = bench.live.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: bench.live.pid not in (None, killed), "another process")
    ((text,),) = remarks
    assert "SIGKILL" in text
    bench.set_parameters(SMALL.with_changes(tau=0.3))
    settle(bench)
    assert bench.trouble is None


def test_a_process_that_dies_again_and_again_is_given_up_until_it_is_asked_for(bench: Workbench, clip: Path) -> None:
    _open(bench, clip)
    for _ in range(4):
        wait_until(lambda: bench.live.pid is not None, "a process")
        killed = bench.live.pid
        os.kill(killed, signal.SIGKILL)  # type: ignore[arg-type]
        wait_until(lambda killed=killed: bench.live.pid != killed, "its end")
    wait_until(lambda: bench.trouble is not None, "the trouble")
    assert bench.trouble is not None
    assert bench.trouble.is_dead
    assert bench.live.pid is None
    # Whatever else is tried: only the button, which stays, starts it again.
    bench.set_parameters(SMALL.with_changes(tau=0.3))
    _step(bench, 2)
    assert bench.trouble is not None
    assert bench.trouble.is_dead
    assert bench.live.pid is None
    bench.retry()
    settle(bench)
    assert bench.trouble is None


def test_a_slider_on_its_way_is_followed_step_by_step(bench: Workbench, clip: Path) -> None:
    _open(bench, clip)
    shown: list[CutParameters] = []

    def note(what: str) -> None:
        if what == "cuts" and bench.answer is not None:
            shown.append(bench.answer.parameters)

    bench.answered.connect(note)
    for step in range(40):
        bench.set_parameters(SMALL.with_changes(tau=0.2 + 0.01 * step))
        wait(10)
    settle(bench)
    # Not every step, but some on the way, in their order, and the last.
    steps = [parameters.tau for parameters in shown]
    assert len(steps) > 2
    assert steps == sorted(steps)
    assert steps[-1] == bench.parameters.tau


def test_a_workbench_that_is_shut_lets_its_viewer_go(clip: Path) -> None:
    application()
    viewer = ViewerModel()
    bench = Workbench(viewer, Preferences(autosave_seconds=0))
    bench.open(str(clip))
    wait(100)
    bench.shutdown()
    gone = weakref.ref(viewer)
    viewer.layers.clear()
    del viewer, bench
    wait(50)
    gc.collect()
    assert gone() is None


def test_a_video_in_3d_is_put_back_to_frames(bench: Workbench, clip: Path) -> None:
    remarks = _heard(bench.remarked)
    _open(bench, clip)
    bench.viewer.dims.ndisplay = 3
    assert bench.viewer.dims.ndisplay == 2
    assert any("3D" in text for (text,) in remarks)


def test_nothing_is_computed_while_no_panel_is_open_or_it_is_switched_off(clip: Path) -> None:
    with open_bench() as bench:
        bench.detach_panel()
        bench.open(str(clip))
        wait(300)
        assert (bench.live.pid, bench.work) == (None, "")
        bench.attach_panel()
        settle(bench)
        bench.set_live(False)
        wait_until(lambda: not started_here(), "no process", 10)
        _step(bench, 3)
        wait(200)
        assert bench.live.pid is None
        bench.set_live(True)
        settle(bench)
        bench.detach_panel()
        wait_until(lambda: not started_here(), "no process", 10)


def test_shutdown_ends_all_processes_and_may_be_called_again(bench: Workbench, clip: Path) -> None:
    closing = _heard(bench.closing)
    _open(bench, clip)
    assert started_here()
    bench.shutdown()
    bench.shutdown()
    assert len(closing) == 1
    bench.look()
    bench.set_parameters(SMALL.with_changes(tau=0.3))
    wait_until(lambda: not started_here(), "no process", 10)


def test_what_was_shut_can_be_collected_in_any_order() -> None:
    # In a process of its own, which ended in QObject::~QObject before.
    program = """
import gc
from benches import application
from napari.components import ViewerModel
from flowcut_napari.viewer.preferences import Preferences
from flowcut_napari.widgets.curate.desk import curation_of
from flowcut_napari.widgets.workbench import Workbench
from napari_window import wait

gc.disable()
application()
for _ in range(3):
    bench = Workbench(ViewerModel(), Preferences(autosave_seconds=0))
    desk = curation_of(bench)
    bench.shutdown()
    del bench
    # What is held moves to the front: a child is collected before its root.
    gc.collect()
    wait(20)
    del desk
    gc.collect()
print("collected")
"""
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])}
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (run.returncode, run.stdout.strip()) == (0, "collected"), run.stderr


def test_the_next_window_begins_where_the_last_one_ended(tmp_path: Path) -> None:
    weights = tmp_path / "dino.pth"
    weights.write_bytes(b"")
    keeping = Preferences(autosave_seconds=1)
    moved = SMALL.with_changes(tau=0.123)
    with open_bench(moved, keeping) as bench:
        bench.set_machine(Machine("cpu", {"dino": weights, "raft-small": tmp_path / "gone.pth"}))
    wait(300)  # it is written on a thread
    with open_bench(moved, keeping) as bench:
        other = Workbench(bench.viewer, keeping)
        assert other.parameters == moved
        assert (other.machine.device, dict(other.machine.weights)) == ("cpu", {"dino": weights})
        forgetful = Workbench(bench.viewer, Preferences(autosave_seconds=0))
        assert forgetful.parameters == CutParameters.preset("handmade")
        other.shutdown()
        forgetful.shutdown()
