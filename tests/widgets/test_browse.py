from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benches import SMALL, application, open_bench, settle
from conftest import write_frames
from hypothesis import given
from hypothesis import strategies as st
from made_masks import write_clip
from napari_window import wait, wait_until
from qtpy.QtTest import QTest

from flowcut_napari.core.clip_view import ClipView
from flowcut_napari.core.dataset import ExportPlan, export_dataset
from flowcut_napari.core.dataset_reader import open_dataset
from flowcut_napari.core.dataset_scan import Progress
from flowcut_napari.core.images import read_rgb
from flowcut_napari.core.parameters import CurationParameters, DatasetFormat
from flowcut_napari.core.sources import find_masks
from flowcut_napari.viewer.clip_layers import ClipLayers, ClipPicture, columns_for, compose
from flowcut_napari.viewer.preferences import Preferences
from flowcut_napari.viewer.video_layers import KEY, role_of
from flowcut_napari.widgets.browse import opener
from flowcut_napari.widgets.browse.desk import BrowseDesk, Window, browse_of
from flowcut_napari.widgets.browse.widget import BrowseTab
from flowcut_napari.widgets.browse.words import origin_of
from flowcut_napari.widgets.recent import Recent, recent_path
from flowcut_napari.widgets.workbench import Workbench

CLIP, MASKS = "dataset clip", "dataset masks"


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports of two videos, of 24 frames and of four, in a folder for each format."""
    folder = tmp_path_factory.mktemp("datasets")
    for count, name in ((24, "boat"), (4, "car")):
        write_clip(folder / "videos", folder / "out", count, name)
    forms: tuple[DatasetFormat, ...] = ("ytvis", "davis", "coco")
    for form in forms:
        plan = ExportPlan(CurationParameters(gaps=(1,)), format=form)
        export_dataset(find_masks([folder / "out"]), folder / form, plan)
    plan = ExportPlan(CurationParameters(gaps=(1,)), frame_files="none")
    export_dataset(find_masks([folder / "out"]), folder / "bare", plan)
    return folder


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    with open_bench() as opened:
        opened.set_live(False)
        yield opened


@pytest.fixture
def tab(bench: Workbench) -> Iterator[BrowseTab]:
    made = BrowseTab(bench)
    made.resize(390, 600)
    made.show()
    yield made
    made.hide()
    made.deleteLater()


@pytest.fixture
def desk(tab: BrowseTab) -> BrowseDesk:
    return tab.desk


def open_in(tab: BrowseTab, path: Path) -> None:
    """Open a dataset, and wait for its first clip."""
    tab.open(str(path))
    wait_until(lambda: not tab.desk.opening, "the dataset")
    wait_until(lambda: is_read(tab.desk), f"its first clip; {tab.desk.problem}")


def is_read(desk: BrowseDesk) -> bool:
    return desk.picture is not None and desk.picture.view.number == desk.number


def move(desk: BrowseDesk, act: Callable[[], None]) -> ClipView:
    """Do something, and wait until the clip is read that it leads to."""
    act()
    wait_until(lambda: is_read(desk), "the clip")
    assert desk.picture is not None
    return desk.picture.view


def visible(bench: Workbench) -> dict[str, bool]:
    return {layer.name: layer.visible for layer in bench.viewer.layers}


# The canvas.


def test_what_was_seen_is_hidden_while_clips_are_looked_at_and_comes_back_exactly(
    bench: Workbench, tab: BrowseTab, datasets: Path, tmp_path: Path
) -> None:
    bench.set_live(True)
    bench.open(str(write_frames(tmp_path / "clip", 8, (96, 128))))
    settle(bench)
    viewer = bench.viewer
    viewer.layers["seeds"].visible = True
    viewer.layers["masks"].visible = False
    own = viewer.add_points([[0, 10, 10]], name="my points")
    viewer.layers.selection = {own}
    viewer.dims.set_current_step(0, 5)
    viewer.scene.camera.center, viewer.scene.camera.zoom = (0.0, 7.0, 9.0), 1.75

    def state() -> Any:
        chosen = {layer.name for layer in viewer.layers.selection}
        camera = tuple(viewer.scene.camera.center), viewer.scene.camera.zoom
        return visible(bench), list(visible(bench)), chosen, camera, viewer.dims.current_step, bench.frame

    before = state()
    leave: list[tuple[Callable[[], Any], Callable[[], Any]]] = [
        (tab.hide, tab.show),
        (lambda: tab.in_canvas.click(), lambda: tab.in_canvas.click()),
        (tab.desk.close, lambda: None),
    ]
    open_in(tab, datasets / "ytvis")
    for leave_it, come_back in leave:
        seen = [name for name, is_seen in visible(bench).items() if is_seen]
        assert seen == [CLIP, MASKS]
        leave_it()
        assert state() == before
        come_back()
        wait(50)


def test_the_canvas_has_the_frames_of_the_clip_with_their_masks(
    bench: Workbench, tab: BrowseTab, datasets: Path
) -> None:
    open_in(tab, datasets / "ytvis")
    view = move(tab.desk, tab.next_clip)
    frames, labels = (bench.viewer.layers[name].data for name in (CLIP, MASKS))
    assert view.files == ("boat/00001.jpg", "boat/00002.jpg")
    assert frames.shape == (*labels.shape, 3)
    parts = _cells(frames, 2), _cells(labels, 2)
    for place, (frame, mask) in enumerate(zip(*parts, strict=True)):
        np.testing.assert_array_equal(frame, read_rgb(datasets / "ytvis" / "frames" / view.files[place]))
        np.testing.assert_array_equal(mask, view.labels[place])
        assert set(np.unique(mask)) == {0, 1, 2}
    assert role_of(bench.viewer.layers[CLIP]) == "clip frames"
    assert role_of(bench.viewer.layers[MASKS]) == "clip masks"


def _cells(picture: np.ndarray, count: int) -> list[np.ndarray]:
    """Return the frames of 48x64 in a picture, row by row."""
    rows, columns = picture.shape[0] // 48, picture.shape[1] // 64
    tops = [picture.shape[0] - 48 if row else 0 for row in range(rows)]
    lefts = [picture.shape[1] - 64 if column else 0 for column in range(columns)]
    return [picture[top : top + 48, left : left + 64] for top in tops for left in lefts][:count]


def test_clips_are_no_video_to_the_workbench(bench: Workbench, tab: BrowseTab, datasets: Path) -> None:
    open_in(tab, datasets / "ytvis")
    bench.look_for_video()
    assert bench.video is None
    assert bench.desk.videos() == []


def test_another_video_takes_the_canvas_and_the_next_clip_takes_it_back(
    bench: Workbench, tab: BrowseTab, datasets: Path, tmp_path: Path
) -> None:
    bench.open(str(write_frames(tmp_path / "first", 4, (96, 128))))
    open_in(tab, datasets / "ytvis")
    bench.open(str(write_frames(tmp_path / "second", 4, (96, 128))))
    assert visible(bench) == {"first": False, "second": True}
    assert not tab.in_canvas.isChecked()
    move(tab.desk, tab.next_clip)
    assert visible(bench) == {"first": False, "second": False, CLIP: True, MASKS: True}
    tab.hide()
    assert visible(bench) == {"first": False, "second": True}


@pytest.mark.parametrize("names", [(CLIP,), (MASKS,), (CLIP, MASKS)])
def test_deleted_layers_are_there_again_with_the_next_clip(
    bench: Workbench, tab: BrowseTab, datasets: Path, names: tuple[str, ...]
) -> None:
    open_in(tab, datasets / "ytvis")
    for name in names:
        bench.viewer.layers.remove(name)
    move(tab.desk, tab.next_clip)
    assert list(visible(bench)) == [CLIP, MASKS]
    for name in names:
        bench.viewer.layers.remove(name)
    tab.hide()
    assert len(bench.viewer.layers) == 0


def test_layers_of_before_may_be_deleted_meanwhile(
    bench: Workbench, tab: BrowseTab, datasets: Path, tmp_path: Path
) -> None:
    bench.open(str(write_frames(tmp_path / "first", 4, (96, 128))))
    open_in(tab, datasets / "ytvis")
    bench.viewer.layers.remove("first")
    tab.hide()
    assert len(bench.viewer.layers) == 0


def test_layers_that_the_workbench_makes_meanwhile_stay_hidden_and_those_of_the_user_do_not(
    bench: Workbench, tab: BrowseTab, datasets: Path, tmp_path: Path
) -> None:
    bench.open(str(write_frames(tmp_path / "clip", 4, (96, 128))))
    open_in(tab, datasets / "ytvis")
    late = bench.viewer.add_labels(np.ones((4, 96, 128), np.uint8), metadata={KEY: {"role": "masks"}})
    own = bench.viewer.add_points([[0, 1, 1]])
    assert (late.visible, own.visible) == (False, True)
    tab.hide()
    assert (late.visible, own.visible) == (True, True)


def test_masks_that_a_user_hid_stay_hidden_from_clip_to_clip(bench: Workbench, tab: BrowseTab, datasets: Path) -> None:
    open_in(tab, datasets / "ytvis")
    masks = bench.viewer.layers[MASKS]
    masks.visible, masks.opacity = False, 0.3
    move(tab.desk, tab.next_clip)
    assert bench.viewer.layers[MASKS] is masks
    assert (masks.visible, masks.opacity) == (False, 0.3)


def test_the_whole_clip_is_in_sight(bench: Workbench, tab: BrowseTab, datasets: Path) -> None:
    open_in(tab, datasets / "ytvis")
    height, width = bench.viewer.layers[MASKS].data.shape
    camera, room = bench.viewer.scene.camera, bench.viewer.canvas.size
    assert tuple(camera.center[-2:]) == ((height - 1) / 2, (width - 1) / 2)
    filled = height * camera.zoom / room[0], width * camera.zoom / room[1]
    assert 0.9 < max(filled) < 1
    camera.zoom = 3.0
    move(tab.desk, tab.next_clip)
    assert camera.zoom == 3.0


# Paging.


def test_paging_goes_through_all_clips_and_holds_at_both_ends(tab: BrowseTab, datasets: Path) -> None:
    open_in(tab, datasets / "ytvis")
    desk, pager = tab.desk, tab.pager
    assert (pager.spin.text(), pager.of_all.text()) == ("clip 1", "of 26")
    assert not pager.previous.isEnabled()
    tab.previous_clip()
    assert desk.number == 0
    seen = [move(desk, pager.next.click).number for _ in range(25)]
    assert seen == list(range(1, 26))
    assert not pager.next.isEnabled()
    tab.next_clip()
    assert desk.number == 25
    assert move(desk, lambda: pager.spin.setValue(5)).number == 4
    assert move(desk, pager.previous.click).number == 3


def test_of_clips_asked_for_in_quick_succession_the_last_is_shown(
    bench: Workbench, tab: BrowseTab, datasets: Path
) -> None:
    open_in(tab, datasets / "ytvis")
    shown: list[int] = []
    tab.desk.clip_changed.connect(lambda: shown.append(tab.desk.picture.view.number if tab.desk.picture else -1))
    for _ in range(20):
        tab.next_clip()
    wait_until(lambda: is_read(tab.desk), "the last clip")
    wait(100)
    assert tab.desk.picture is not None
    assert tab.desk.picture.view.number == shown[-1] == 20
    assert shown == sorted(shown)
    assert tab.title.text() == "boat · id 21 · frames 00020, 00021"


def test_a_random_clip_is_another_one(tab: BrowseTab, datasets: Path) -> None:
    open_in(tab, datasets / "ytvis")
    for _ in range(20):
        before = tab.desk.number
        assert move(tab.desk, tab.random_clip).number != before


def test_a_filter_leaves_the_clips_of_some_videos(tab: BrowseTab, datasets: Path) -> None:
    open_in(tab, datasets / "ytvis")
    desk = tab.desk
    QTest.keyClicks(tab.filter, "CAR")
    wait_until(lambda: len(desk.numbers) == 3, "the filter")
    wait_until(lambda: is_read(desk), "the clip")
    assert tab.title.text().startswith("car · ")
    assert tab.pager.of_all.text() == "of 3"
    assert move(desk, tab.next_clip).files == ("car/00001.jpg", "car/00002.jpg")
    QTest.keyClicks(tab.filter, "x")
    wait_until(lambda: len(desk.numbers) == 0, "the filter")
    assert tab.title.text() == "no video has this in its name"
    tab.next_clip()
    tab.random_clip()
    tab.filter.clear()
    wait_until(lambda: len(desk.numbers) == 26, "the filter")


def test_the_clip_that_is_looked_at_stays_if_the_filter_leaves_it(tab: BrowseTab, datasets: Path) -> None:
    open_in(tab, datasets / "ytvis")
    move(tab.desk, lambda: tab.desk.go(24))
    tab.desk.set_filter("car")
    assert (tab.desk.number, tab.desk.place) == (24, 1)
    tab.desk.set_filter("")
    assert (tab.desk.number, tab.desk.place) == (24, 24)


def test_a_long_clip_is_seen_all_over_and_then_frame_by_frame(tab: BrowseTab, datasets: Path) -> None:
    open_in(tab, datasets / "davis")
    desk, controls = tab.desk, tab.window_of_frames

    def places() -> tuple[int, ...]:
        assert desk.picture is not None
        return desk.picture.view.places

    assert controls.isVisible()
    assert not controls.slider.isEnabled()
    assert places() == (0, 5, 9, 14, 18, 23)
    controls.count.setValue(3)
    controls.step.setValue(2)
    wait_until(lambda: places() == (0, 2, 4), "every second frame")
    assert controls.slider.maximum() == 19
    controls.slider.setValue(19)
    wait_until(lambda: places() == (19, 21, 23), "the last frames")
    view = move(desk, tab.next_clip)
    assert (view.video, view.places) == ("car", (0, 2))
    assert move(desk, tab.previous_clip).places == (0, 2, 4)


def test_of_a_short_clip_all_is_seen_and_there_is_nothing_to_choose(tab: BrowseTab, datasets: Path) -> None:
    open_in(tab, datasets / "ytvis")
    assert not tab.window_of_frames.isVisible()


@given(
    length=st.integers(0, 300),
    count=st.integers(1, 12),
    step=st.integers(0, 300),
    first=st.integers(0, 300),
)
def test_any_window_lies_in_its_clip(length: int, count: int, step: int, first: int) -> None:
    places = Window(count, step, first).places(length)
    assert all(0 <= place < length for place in places)
    assert len(places) <= count
    assert bool(places) == (length > 0)
    if step:
        assert all(distance == step for distance in np.diff(places))


# What is said.


def test_a_dataset_is_described(tab: BrowseTab, datasets: Path) -> None:
    assert tab.intro.isVisible()
    open_in(tab, datasets / "ytvis")
    assert not tab.intro.isVisible()
    assert tab.figures.text() == "2 videos · 26 clips of 2 frames · 28 frames · 52 instances"
    origin = "YouTube-VIS · made by flowcut-napari 0.1.0 · handmade features, dis flow, alpha 0.5 · gap 1"
    assert tab.origin.text().startswith(origin)
    assert not tab.dataset_problems.isVisible()
    assert origin_of(replace(open_dataset(datasets / "coco"), about=None)) == "COCO"


def test_instances_are_listed_and_one_of_them_is_seen_alone(bench: Workbench, tab: BrowseTab, datasets: Path) -> None:
    open_in(tab, datasets / "ytvis")
    table, masks = tab.table, bench.viewer.layers[MASKS]
    header = [table.horizontalHeaderItem(column).text() for column in range(table.columnCount())]
    assert header == ["id", "00000", "00001"]
    cells = [[table.item(row, column).text() for column in range(3)] for row in range(table.rowCount())]
    assert cells == [["1", "256", "256"], ["2", "60", "60"]]
    table.selectRow(1)
    assert (masks.show_selected_label, masks.selected_label) == (True, 2)
    tab.hide()
    tab.show()
    wait(50)
    masks = bench.viewer.layers[MASKS]
    assert (masks.show_selected_label, masks.selected_label) == (True, 2)
    move(tab.desk, tab.next_clip)
    assert not masks.show_selected_label
    assert not table.selectedIndexes()


def test_frames_that_cannot_be_found_are_asked_for(tab: BrowseTab, datasets: Path) -> None:
    open_in(tab, datasets / "bare")
    assert tab.root_text.isVisible()
    assert tab.choose_root.isVisible()
    move(tab.desk, lambda: tab.desk.go(7))
    tab.desk.choose_root(str(datasets / "out"))
    wait_until(lambda: not tab.desk.opening, "the frames")
    assert "no frame of this dataset is there" in tab.problem.text()
    tab.desk.choose_root(str(datasets / "videos"))
    wait_until(lambda: not tab.choose_root.isVisible(), "the frames")
    wait_until(lambda: is_read(tab.desk), "the clip")
    assert tab.desk.number == 7
    assert tab.desk.picture is not None
    assert all(frame is not None for frame in tab.desk.picture.view.frames)
    assert not tab.problem.isVisible()


@pytest.mark.parametrize("address", ["", "  ", "nothing", "empty", "list.json", "broken.json", "~nobody/x", "a\0b"])
def test_what_is_no_dataset_is_said_in_a_line_and_changes_nothing(
    bench: Workbench, tab: BrowseTab, datasets: Path, tmp_path: Path, address: str
) -> None:
    open_in(tab, datasets / "ytvis")
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "broken.json").write_text('{"videos":[{"id":1,')
    before = tab.desk.dataset, tab.desk.picture, visible(bench)
    tab.open(str(tmp_path / address) if address.strip() else address)
    wait_until(lambda: not tab.desk.opening, "the end of the opening")
    assert tab.problem.isVisible()
    assert "\n" not in tab.problem.text()
    assert (tab.desk.dataset, tab.desk.picture, visible(bench)) == before
    move(tab.desk, tab.next_clip)
    assert not tab.problem.isVisible()


def test_a_dataset_that_goes_while_it_is_looked_at_is_said(
    bench: Workbench, tab: BrowseTab, datasets: Path, tmp_path: Path
) -> None:
    path = tmp_path / "some.json"
    path.write_bytes((datasets / "ytvis" / "annotations.json").read_bytes())
    open_in(tab, path)
    path.unlink()
    tab.desk.go(20)
    wait_until(lambda: bool(tab.desk.problem), "a word")
    assert tab.problem.text() == f"{path}: cannot be read (No such file or directory)"
    assert len(bench.viewer.layers) == 0


def test_problems_of_a_clip_are_said(tab: BrowseTab, tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_text(
        '{"videos":[{"id":1,"width":8,"height":6,"file_names":["<b>x</b>.png"]}],'
        '"annotations":[{"id":3,"video_id":1,"segmentations":[5]}]}'
    )
    open_in(tab, path)
    assert tab.clip_problems.text() == "annotation 3, frame 0: its mask is neither a run-length code nor polygons"
    assert tab.title.text() == "<b>x< · id 1 · frame b>"
    assert tab.title.textFormat().name == "PlainText"


# Opening.


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let opening wait in its middle until this is set."""
    go_on = threading.Event()
    real = opener.DatasetOpener.start

    def start(self: Any, name: str, find: Any) -> None:
        def slowly(tell: Callable[[Progress], None]) -> Any:
            go_on.wait(20)
            tell(Progress(17, 0.5))
            return find(tell)

        real(self, name, slowly)

    monkeypatch.setattr(opener.DatasetOpener, "start", start)
    yield go_on
    go_on.set()


def test_a_cancelled_opening_leaves_all_as_it_was(tab: BrowseTab, datasets: Path, held: threading.Event) -> None:
    held.set()
    open_in(tab, datasets / "ytvis")
    held.clear()
    before = tab.desk.dataset
    tab.open(str(datasets / "coco"))
    assert tab.opening.isVisible()
    assert not tab.open_button.isEnabled()
    tab.cancel.click()
    assert not tab.opening.isVisible()
    held.set()
    wait(100)
    assert tab.desk.dataset is before
    assert not tab.problem.isVisible()


def test_of_two_datasets_the_one_asked_for_last_is_opened(
    tab: BrowseTab, datasets: Path, held: threading.Event
) -> None:
    tab.open(str(datasets / "coco"))
    tab.open(str(datasets / "davis"))
    held.set()
    wait_until(lambda: tab.desk.dataset is not None, "the dataset")
    wait(100)
    assert tab.desk.dataset is not None
    assert tab.desk.dataset.format == "davis"


def test_a_window_that_is_closed_while_a_dataset_opens_hears_no_more_of_it(
    bench: Workbench, tab: BrowseTab, datasets: Path, held: threading.Event
) -> None:
    tab.open(str(datasets / "coco"))
    bench.shutdown()
    held.set()
    wait(100)
    assert tab.desk.dataset is None
    assert not tab.desk.opening


def test_no_thread_is_left_when_the_viewer_goes(bench: Workbench, tab: BrowseTab, datasets: Path) -> None:
    open_in(tab, datasets / "ytvis")
    assert any(thread.name == "flowcut clips" for thread in threading.enumerate())
    bench.shutdown()
    wait_until(
        lambda: not any(thread.name.startswith("flowcut") for thread in threading.enumerate()), "all threads gone", 10
    )


def test_a_panel_that_is_opened_again_shows_the_same_clip(bench: Workbench, tab: BrowseTab, datasets: Path) -> None:
    open_in(tab, datasets / "ytvis")
    move(tab.desk, lambda: tab.desk.go(9))
    tab.hide()
    again = BrowseTab(bench)
    again.show()
    wait(50)
    assert again.desk is tab.desk is browse_of(bench)
    assert again.title.text() == tab.title.text() != ""
    assert MASKS in visible(bench)
    again.hide()
    assert len(bench.viewer.layers) == 0
    again.deleteLater()


def test_a_panel_that_is_destroyed_leaves_no_clip_behind(bench: Workbench, datasets: Path) -> None:
    from qtpy.QtCore import QCoreApplication, QEvent

    application()
    made = BrowseTab(bench)
    made.show()
    open_in(made, datasets / "ytvis")
    made.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    wait(20)
    assert len(bench.viewer.layers) == 0


# The datasets of before.


def test_datasets_of_before_are_kept_from_window_to_window_if_settings_are(datasets: Path) -> None:
    for seconds, expected in ((0, []), (2, [str(datasets / "ytvis")])):
        with open_bench(SMALL, Preferences(autosave_seconds=seconds)) as bench:
            tab = BrowseTab(bench)
            tab.show()
            open_in(tab, datasets / "ytvis")
            assert tab.path.itemText(0) == str(datasets / "ytvis")
            wait_until(lambda: recent_path("datasets").exists() == bool(expected), "the list on disk")  # noqa: B023
            tab.hide()
            tab.deleteLater()
        assert Recent("datasets", is_kept=True).paths == expected


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema":"flowcut.datasets/1","datasets":5}', "\x00"])
def test_a_damaged_list_of_datasets_is_none(content: str) -> None:
    recent_path("datasets").parent.mkdir(parents=True, exist_ok=True)
    recent_path("datasets").write_text(content)
    assert Recent("datasets", is_kept=True).paths == []


# Putting frames together.


@given(
    count=st.integers(1, 12),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    room=st.floats(0.25, 4),
)
def test_frames_are_put_together_about_as_large_as_they_can_be_seen(
    count: int, height: int, width: int, room: float
) -> None:
    columns = columns_for(count, (height, width), room)

    def scale(columns: int) -> float:
        return min(room / (columns * width), 1 / (-(-count // columns) * height))

    assert scale(columns) > 0.92 * max(scale(other) for other in range(1, count + 1))


@given(count=st.integers(0, 7), room=st.floats(0.25, 4))
def test_no_frame_is_lost_where_they_are_put_together(count: int, room: float) -> None:
    frames = tuple(np.full((5, 9, 3), 100 + place, np.uint8) for place in range(count))
    labels = tuple(np.full((5, 9), 1 + place, np.uint8) for place in range(count))
    picture = compose(ClipView(0, "", "", (), tuple(range(count)), frames, labels, (), ()), room)
    assert picture.frames.shape[:2] == picture.labels.shape
    for place in range(count):
        assert (picture.labels == 1 + place).sum() == 45
        assert (picture.frames[picture.labels == 1 + place] == 100 + place).all()
    assert (picture.labels > 0).sum() == 45 * count


def test_layers_end_only_once(bench: Workbench) -> None:
    layers = ClipLayers(bench.viewer)
    view = ClipView(0, "", "", (), (0,), (None,), (np.zeros((4, 4), np.uint8),), (), ())
    layers.show(compose(view, 1.0))
    assert isinstance(compose(view, 1.0), ClipPicture)
    layers.end()
    layers.end()
    assert len(bench.viewer.layers) == 0
