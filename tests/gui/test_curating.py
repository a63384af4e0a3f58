"""Curating as a person does it: in a real window, with mouse and keyboard, from the sample to a dataset."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari_window import Window, close, layer_names, wait, wait_until

from flowcut_napari.cli import main
from flowcut_napari.core import load_masks
from flowcut_napari.core.decisions import ClipVerdict, Join
from flowcut_napari.core.masks import decode_rle

pytestmark = pytest.mark.gui
OURS = ["partner frame", "partner objects", "objects", "matches"]


def flowcut(*words: str) -> None:
    """Run the command line."""
    with pytest.raises(SystemExit) as end:
        main([*words, "--json"])
    assert not end.value.code


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks of both toys of the bundled clip, small and quick."""
    from flowcut_napari.core.sample import NAME, sample_folder

    out = tmp_path_factory.mktemp("made")
    small = ["--preset", "handmade", "--alpha", "0.8", "--gap", "4", "--max-instances", "2", "--size", "180x320"]
    flowcut("masks", f"{sample_folder()}::{NAME}", "-o", str(out), "--workers", "1", *small)
    return out / "toys.masks.json"


@pytest.fixture
def masks_file(made: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "masks"
    folder.mkdir()
    return Path(shutil.copy(made, folder))


def open_masks(window: Window, path: Path) -> Any:
    """Open a masks file in the panel, go to the Curate page, and return the desk."""
    window.panel.open(str(path))
    desk = window.panel.curate.desk
    wait_until(lambda: desk.document is not None, "the document")
    press(window, "F3")
    wait_until(lambda: set(OURS) <= set(layer_names(window.viewer)), "the match view")
    wait(250)
    return desk


def canvas(window: Window) -> Any:
    return window.viewer.window._qt_viewer.canvas.native


def press(window: Window, key: str) -> None:
    """Press a key while the canvas has the focus."""
    from qtpy.QtCore import Qt
    from qtpy.QtGui import QKeySequence
    from qtpy.QtTest import QTest

    widget = canvas(window)
    widget.setFocus()
    code = QKeySequence(key)[0].toCombined()
    modifiers = Qt.KeyboardModifier(code & 0xFE000000)
    QTest.keyClick(widget, Qt.Key(code & 0x01FFFFFF), modifiers)
    wait(30)


def point(window: Window, y: float, x: float) -> Any:
    """Return where a pixel of the match view lies on the screen."""
    from qtpy.QtCore import QPoint

    camera, widget = window.viewer.camera, canvas(window)
    down, across = (position - centre for position, centre in zip((y, x), camera.center[-2:], strict=True))
    return QPoint(round(widget.width() / 2 + across * camera.zoom), round(widget.height() / 2 + down * camera.zoom))


def click(window: Window, y: float, x: float, with_shift: bool = False) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    held = Qt.KeyboardModifier.ShiftModifier if with_shift else Qt.KeyboardModifier.NoModifier
    QTest.mouseClick(canvas(window), Qt.MouseButton.LeftButton, held, point(window, y, x))
    wait(30)


def drag(window: Window, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a stroke of the brush."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    QTest.mousePress(canvas(window), Qt.MouseButton.LeftButton, pos=point(window, *start))
    for share in np.linspace(0, 1, 8):
        at = [a + share * (b - a) for a, b in zip(start, end, strict=True)]
        QTest.mouseMove(canvas(window), point(window, *at))
        wait(10)
    QTest.mouseRelease(canvas(window), Qt.MouseButton.LeftButton, pos=point(window, *end))
    wait(50)


def middle(desk: Any, key: tuple[int, int]) -> tuple[float, float]:
    """Return a pixel (y, x) inside a mask of the frame that is looked at, far from its edge."""
    from scipy import ndimage

    mask = next(mask for other, _, mask in desk.view.objects(key[0]) if other == key)
    distance = ndimage.distance_transform_edt(mask)
    return tuple(np.unravel_index(distance.argmax(), mask.shape))


def dataset(folder: Path) -> dict[tuple[str, ...], list[list[Any]]]:
    """Return the masks of each clip of a dataset, by the files of its frames: for each object its mask a frame."""
    content = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    clips: dict[int, list[list[Any]]] = {video["id"]: [] for video in content["videos"]}
    for item in content["annotations"]:
        clips[item["video_id"]].append([rle and rle["counts"] for rle in item["segmentations"]])
    return {tuple(Path(name).stem for name in video["file_names"]): clips[video["id"]] for video in content["videos"]}


def test_a_rejected_clip_a_swap_and_a_stroke_are_in_the_dataset_and_nothing_else_is(
    window: Window, tmp_path: Path
) -> None:
    # From the menu of the panel to masks of all frames.
    bench = window.bench
    small = bench.parameters.preset("handmade").with_changes(
        alpha=0.8, gap=4, max_instances=2, max_eigenvalue=1.0, height=180, width=320
    )
    bench.set_parameters(small)
    window.open_sample()
    window.show_tab("Run")
    window.find("out").setText(str(tmp_path / "masks"))
    window.find("workers").setValue(1)
    window.click("run")
    run = window.panel.run.controller
    wait_until(lambda: not run.progress.is_going_on, "the run", 120)
    assert run.progress.state == "done", run.progress.describe()
    desk = window.panel.curate.desk
    wait_until(lambda: desk.document is not None, "the document")
    shutil.copytree(tmp_path / "masks", tmp_path / "before")
    window.click("page Curate")
    wait_until(lambda: set(OURS) <= set(layer_names(window.viewer)), "the match view")
    wait(250)
    # Reject one clip.
    window.viewer.dims.set_current_step(0, 3)
    assert desk.pair.frames == (3, 4)
    window.click("reject_clip")
    # Swap two identities from frame 10 on.
    window.viewer.dims.set_current_step(0, 10)
    first, second = desk.view.instances(10)
    click(window, *middle(desk, first))
    assert desk.chosen == first
    click(window, *middle(desk, second), with_shift=True)
    assert desk.selection == (first, second)
    window.click("swap")
    # Paint on one mask, in frame 20, from its middle up and away.
    window.viewer.dims.set_current_step(0, 20)
    key = desk.view.instances(20)[0]
    y, x = middle(desk, key)
    click(window, y, x)
    assert desk.chosen == key
    press(window, "2")
    drag(window, (y, x), (10, x))
    press(window, "6")
    assert desk.document.history.count == 3
    assert desk.flush()
    # Export.
    window.click("page Dataset")
    window.find("dataset out").setText(str(tmp_path / "dataset"))
    window.find("dataset out").editingFinished.emit()
    window.click("export")
    controller = window.panel.export.controller
    wait_until(lambda: controller.progress.state not in ("idle", "starting", "running"), "the export", 60)
    assert controller.progress.state == "done", window.find("export text").text()

    masks = load_masks(tmp_path / "masks" / "toys.masks.json")
    kinds = [type(item) for item in masks.decisions.made]
    assert kinds == [ClipVerdict, Join, Join]
    (edited,) = masks.hand_masks()
    assert (edited.frame, edited.instance.id, edited.instance.origin) == (*key, "edited")
    flowcut("curate", str(tmp_path / "before"), "-o", str(tmp_path / "plain"))
    plain, curated = dataset(tmp_path / "plain"), dataset(tmp_path / "dataset")
    assert set(plain) - set(curated) == {("00003", "00004")}
    assert not set(curated) - set(plain)
    changed = {frames for frames in curated if sorted(curated[frames]) != sorted(plain[frames])}
    leads_over_swap = {frames for frames in curated if int(frames[0]) < 10 <= int(frames[1])}
    has_stroke = {frames for frames in curated if "00020" in frames}
    assert changed == leads_over_swap | has_stroke
    for frames in leads_over_swap:
        (a, b), (c, d) = sorted(plain[frames])
        assert sorted(curated[frames]) == sorted([[a, d], [c, b]])
    before = load_masks(tmp_path / "before" / "toys.masks.json")
    old = next(item for item in before.frames[20].instances if item.id == key[1])
    gained = decode_rle(edited.instance.segmentation) & ~old.mask
    assert gained[:30].any(), "the stroke goes up to row 10"
    assert (gained.any(axis=0).nonzero()[0] >= x - 20).all()


def tab_to(window: Window, wanted: Any) -> Any:
    """Press Tab until a control of the panel, itself or its name, has the focus; return it."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    main_window = window.viewer.window._qt_window
    wanted = window.find(wanted) if isinstance(wanted, str) else wanted
    passed = []
    for _ in range(150):
        # Of the window, not of the application: without a window manager no window is the active one.
        focus = main_window.focusWidget() or canvas(window)
        if focus is wanted:
            return wanted
        passed.append(focus.objectName() or type(focus).__name__)
        QTest.keyClick(focus, Qt.Key.Key_Tab)
    raise AssertionError(f"Tab does not lead to {wanted.objectName()!r}, but to {passed}")


def test_the_whole_flow_by_keyboard_alone(window: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from qtpy.QtCore import Qt, QTimer
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    small = window.bench.parameters.preset("handmade").with_changes(
        alpha=0.8, gap=4, max_instances=2, max_eigenvalue=1.0, height=180, width=320
    )
    window.bench.set_parameters(small)
    window.viewer.window._qt_window.activateWindow()
    # Open the sample from the menu of the panel.
    canvas(window).setFocus()

    def choose_sample() -> None:
        menu = QApplication.activePopupWidget()
        while menu.activeAction() is None or not menu.activeAction().text().startswith("Bundled clip"):
            QTest.keyClick(menu, Qt.Key.Key_Down)
        QTest.keyClick(menu, Qt.Key.Key_Return)

    QTimer.singleShot(300, choose_sample)
    QTest.keyClick(tab_to(window, "open"), Qt.Key.Key_Space)
    wait_until(lambda: window.bench.video is not None, "the sample")
    # Run all frames into a folder that is typed.
    window.viewer.window._qt_window.activateWindow()
    press(window, "F2")
    bar = tab_to(window, window.panel.tabs.tabBar())
    while window.panel.tabs.currentIndex() < window.panel.tabs.count() - 1:
        QTest.keyClick(bar, Qt.Key.Key_Right)
    out = tab_to(window, "out")
    QTest.keySequence(out, "Ctrl+A")
    QTest.keyClicks(out, str(tmp_path / "masks"))
    press(window, "F5")
    run = window.panel.run.controller
    wait_until(lambda: run.progress.state == "done", "the run", 120)
    desk = window.panel.curate.desk
    wait_until(lambda: desk.document is not None, "the document")
    press(window, "F3")
    wait_until(lambda: set(OURS) <= set(layer_names(window.viewer)), "the match view")
    # The most uncertain pair first; reject it, and go on to the next.
    press(window, "N")
    first = desk.pair
    assert (first.place, first.gap) == (desk.review.uncertain[0].place, desk.review.uncertain[0].gap)
    press(window, "R")
    assert desk.pair.verdict == "reject"
    press(window, "N")
    assert desk.pair.frames != first.frames and desk.pair.margin >= first.margin
    press(window, "A")
    assert desk.pair.verdict == "accept"
    press(window, "U")
    assert desk.pair.is_open
    # Choose two objects, swap them; undo, redo.
    press(window, "Down")
    press(window, "Shift+Down")
    assert len({key[0] for key in desk.selection}) == 1 and len(desk.selection) == 2
    press(window, "S")
    swapped = desk.masks
    press(window, "Ctrl+Z")
    assert desk.masks != swapped
    press(window, "Ctrl+Shift+Z")
    assert desk.masks == swapped
    # Mend a mask: grow it, and delete another.
    press(window, "Shift+Up")
    press(window, "Down")
    key = desk.chosen
    area = next(item.area for item in desk.masks.frames[key[0]].instances if item.id == key[1])
    press(window, ".")
    assert next(item.area for item in desk.masks.frames[key[0]].instances if item.id == key[1]) > area
    press(window, "D")
    assert desk.masks.decisions.instances() == {key: "reject"}
    press(window, "D")
    assert desk.masks.decisions.instances() == {}
    press(window, "K")
    assert desk.frame == desk.review.breaks[0].last[0]
    press(window, "F1")
    assert window.panel.curate.keys_tab.isVisible()
    # To the dataset.
    press(window, "F4")
    out = tab_to(window, "dataset out")
    QTest.keySequence(out, "Ctrl+A")
    QTest.keyClicks(out, str(tmp_path / "dataset"))
    QTest.keyClick(out, Qt.Key.Key_Return)
    press(window, "F6")
    controller = window.panel.export.controller
    wait_until(lambda: controller.progress.state not in ("idle", "starting", "running"), "the export", 60)
    assert (tmp_path / "dataset" / "annotations.json").is_file(), window.find("export text").text()
    press(window, "F2")
    assert not set(OURS) & set(layer_names(window.viewer))


def test_keys_work_in_the_panel_too_and_leave_letters_to_fields_of_text(window: Window, masks_file: Path) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    desk = open_masks(window, masks_file)
    QTest.keyClick(window.find("accept_clip"), Qt.Key.Key_R)
    assert desk.pair.verdict == "reject"
    press(window, "F4")
    out = window.find("dataset out")
    out.clear()
    QTest.keyClicks(out, "rauk")
    assert out.text() == "rauk"
    assert desk.document.history.count == 1


def test_no_key_is_one_of_naparis_own(window: Window, masks_file: Path) -> None:
    from napari.utils.shortcuts import default_shortcuts
    from qtpy.QtGui import QKeySequence

    open_masks(window, masks_file)
    # M makes a new label on a brush's layer, where ours makes a new object; undo is undo.
    same = {"M"}
    # Points, shapes and meshes are not edited here.
    other = ("points", "shapes", "shape", "vertex", "tracks", "surface", "vectors", "plane", "in_slice", "add_")
    other += ("select_mode", "direct_mode")
    taken = {
        QKeySequence(str(key)).toString()
        for name, keys in default_shortcuts.items()
        if not any(word in name for word in other)
        for key in keys
    }
    ours = {QKeySequence(key).toString() for key in window.panel.curate.keys.keys} - same
    assert ours & taken == set()


def test_leaving_the_page_shows_the_canvas_as_it_was(window: Window, masks_file: Path) -> None:
    window.panel.open(str(masks_file))
    wait_until(lambda: window.panel.curate.desk.document is not None, "the document")
    wait_until(lambda: "seeds" in layer_names(window.viewer), "all layers", 60)
    wait(200)
    before = {layer.name: layer.visible for layer in window.viewer.layers}
    for _ in range(2):
        press(window, "F3")
        assert set(OURS) <= set(layer_names(window.viewer))
        assert not window.viewer.layers["masks"].visible
        press(window, "F2")
        assert {layer.name: layer.visible for layer in window.viewer.layers} == before
        assert "N" not in {str(key) for key in window.viewer.keymap}


def test_a_deleted_layer_is_survived_and_comes_back(window: Window, masks_file: Path) -> None:
    desk = open_masks(window, masks_file)
    del window.viewer.layers["objects"]
    del window.viewer.layers["matches"]
    press(window, "A")
    assert desk.pair.verdict == "accept"
    press(window, "F2")
    press(window, "F3")
    assert set(OURS) <= set(layer_names(window.viewer))


def test_undo_takes_a_stroke_back_where_it_was_made_and_naparis_own_history_is_empty(
    window: Window, masks_file: Path
) -> None:
    desk = open_masks(window, masks_file)
    start = desk.masks
    key = desk.view.instances(0)[0]
    y, x = middle(desk, key)
    click(window, y, x)
    shown = np.array(window.viewer.layers["objects"]._slice.image.raw)
    press(window, "2")
    drag(window, (y, x), (10, x))
    assert (np.array(window.viewer.layers["objects"]._slice.image.raw) != shown).any()
    press(window, "6")
    window.viewer.dims.set_current_step(0, 9)
    press(window, "Ctrl+Z")
    assert desk.masks == start and desk.frame == 0
    np.testing.assert_array_equal(window.viewer.layers["objects"]._slice.image.raw, shown)
    press(window, "Ctrl+Z")
    assert desk.masks == start


def test_a_new_object_is_painted_after_m(window: Window, masks_file: Path) -> None:
    desk = open_masks(window, masks_file)
    press(window, "M")
    height, width = desk.masks.video.height, desk.masks.video.width
    drag(window, (height - 12, 12), (height - 12, width / 2))
    press(window, "6")
    (made,) = desk.masks.hand_masks()
    assert (made.frame, made.instance.origin) == (0, "drawn")
    assert desk.identity((0, made.instance.id)) == 3


def test_closing_the_panel_takes_the_match_view_its_keys_and_the_timeline_away(
    windows: Callable[[], Window], masks_file: Path
) -> None:
    from qtpy.QtCore import QCoreApplication, QEvent
    from qtpy.QtWidgets import QDockWidget

    window = windows()
    open_masks(window, masks_file)
    main_window = window.viewer.window._qt_window
    assert any(dock.windowTitle() == "FlowCut timeline" for dock in main_window.findChildren(QDockWidget))
    dock = window.panel
    while not isinstance(dock, QDockWidget):
        dock = dock.parent()
    dock.titleBarWidget().close_button.click()
    for _ in range(5):
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        wait(20)
    assert not set(OURS) & set(layer_names(window.viewer))
    assert not {"N", "F3"} & {str(key) for key in window.viewer.keymap}
    assert not any(dock.windowTitle() == "FlowCut timeline" for dock in main_window.findChildren(QDockWidget))
    close(window.viewer)
