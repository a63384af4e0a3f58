from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_frames
from desks import box, look_at, masks_of, open_desk, said, step, two_objects, write_masked
from napari_window import wait, wait_until
from qtpy.QtCore import QCoreApplication, QEvent, QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QInputDialog, QLineEdit, QPushButton, QWidget

from flowcut_napari.core import CurationParameters, load_masks
from flowcut_napari.core.decisions import Join
from flowcut_napari.core.store import update_masks
from flowcut_napari.widgets.curate.actions import ACTIONS
from flowcut_napari.widgets.curate.desk import CurationDesk
from flowcut_napari.widgets.curate.page import CuratePage
from flowcut_napari.widgets.export.controller import export_of

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_masked(tmp_path, two_objects(8), 8)


@pytest.fixture
def desk(path: Path) -> Iterator[CurationDesk]:
    with open_desk(path, shown=False) as opened:
        yield opened


@pytest.fixture
def page(desk: CurationDesk) -> Iterator[CuratePage]:
    made = open_page(desk)
    yield made
    close(made)


def open_page(desk: CurationDesk) -> CuratePage:
    page = CuratePage(desk.parent())
    page.resize(390, 760)
    page.show()
    page.timeline.resize(700, page.timeline.sizeHint().height())
    page.enter()
    page.activateWindow()
    QTest.qWaitForWindowActive(page)
    wait(20)
    return page


def close(page: CuratePage) -> None:
    """Take a page away as a closed panel does."""
    end = page.ending()
    page.hide()
    page.deleteLater()
    QCoreApplication.sendPostedEvents(page, QEvent.Type.DeferredDelete)
    end()
    for _ in range(3):
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        wait(5)


def find(page: CuratePage, name: str) -> Any:
    found = page.findChild(QWidget, name)
    assert found is not None, name
    return found


def click(page: CuratePage, name: str) -> None:
    QTest.mouseClick(find(page, name), Qt.MouseButton.LeftButton)
    wait(5)


def in_canvas(desk: CurationDesk, key: str) -> None:
    """Press a key as napari does for the canvas, where no layer is chosen."""
    from napari.utils.key_bindings import coerce_keybinding

    viewer = desk.parent().viewer
    viewer.keymap[coerce_keybinding(key)](viewer)


# Buttons.


@pytest.mark.parametrize("frames", [None, {}, two_objects(1), two_objects(8, 5), {index: {} for index in range(8)}])
def test_every_button_can_be_clicked_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: Any) -> None:
    monkeypatch.setattr(QInputDialog, "getInt", lambda *_: (7, True))
    path = write_masked(tmp_path, frames, 8) if frames is not None else None
    with open_desk(path, shown=False) as desk:
        page = open_page(desk)
        monkeypatch.setattr(desk.parent().live, "refine", lambda *_: 0)
        for frame in (0, 3, 5, 7) if path else (0,):
            for button in page.findChildren(QPushButton):
                if path:
                    step(desk, frame)
                    desk.select_next()
                    desk.select_next(add=True)
                page.decide.refresh()
                QTest.mouseClick(button, Qt.MouseButton.LeftButton)
            page.grab()
            page.timeline.grab()
            wait(5)
        if frames == {index: {} for index in range(8)} or not frames:
            assert desk.document is None or not masks_of(desk).hand_masks()
        close(page)


def test_a_frame_without_masks_is_said_with_those_that_have_some(tmp_path: Path) -> None:
    with open_desk(write_masked(tmp_path, two_objects(8, 5), 8), shown=False) as desk:
        page = open_page(desk)
        step(desk, 3)
        wait(5)
        text = find(page, "clip").text()
        assert "Frame 3 has no masks" in text and "0 and 5" in text
        assert not find(page, "accept_clip").isEnabled() and not find(page, "new_object").isEnabled()
        step(desk, 5)
        wait(5)
        assert "no partner" in find(page, "clip").text()
        close(page)


def test_another_number_can_be_given_from_the_keys_tab_too(
    desk: CurationDesk, page: CuratePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QInputDialog, "getInt", lambda *_: (41, True))
    desk.select((0, 1))
    page.tabs.setCurrentIndex(1)
    in_canvas(desk, "I")
    assert desk.identity((0, 1)) == 41
    page.tabs.setCurrentIndex(0)
    click(page, "rename")
    assert desk.document.history.count == 1, "it is called that already"


# Keys.


def test_one_press_of_a_key_is_one_action_in_the_panel_and_in_the_canvas(desk: CurationDesk, page: CuratePage) -> None:
    for place, frame in enumerate(range(0, 6, 2)):
        step(desk, frame)
        page.setFocus()
        QTest.keyClick(page, Qt.Key.Key_A)
        assert desk.document.history.count == 2 * place + 1
        in_canvas(desk, "R")
        assert desk.document.history.count == 2 * place + 2
    page.timeline.show()
    page.timeline.activateWindow()
    QTest.qWaitForWindowActive(page.timeline)
    page.timeline.setFocus()
    QTest.keyClick(page.timeline, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert desk.document.history.count == 5


def test_every_key_does_its_own_action_on_the_layer_too(desk: CurationDesk, page: CuratePage) -> None:
    from napari.utils.key_bindings import coerce_keybinding

    objects = desk.layers.objects
    for action in ACTIONS:
        binding = coerce_keybinding(action.key)
        assert binding in objects.keymap and binding in desk.parent().viewer.keymap, action.key
    objects.keymap[coerce_keybinding("A")](objects)
    assert desk.document.history.next_undo == "accept clip 0 → 1" and desk.document.history.count == 1


def test_keys_are_off_when_the_page_is_left_and_the_users_own_are_back(desk: CurationDesk) -> None:
    from napari.utils.key_bindings import coerce_keybinding

    viewer, pressed = desk.parent().viewer, []
    viewer.bind_key("A", lambda _: pressed.append("A"))
    page = open_page(desk)
    in_canvas(desk, "A")
    assert desk.document.history.count == 1 and not pressed
    viewer.bind_key("U", lambda _: pressed.append("U"), overwrite=True)
    page.leave()
    assert set(map(str, viewer.keymap)) == {"A", "U"}
    in_canvas(desk, "A")
    in_canvas(desk, "U")
    assert pressed == ["A", "U"]
    page.setFocus()
    QTest.keyClick(page, Qt.Key.Key_R)
    assert desk.document.history.count == 1
    page.enter()
    in_canvas(desk, "A")
    assert pressed == ["A", "U"]
    page.leave()
    assert coerce_keybinding("A") in viewer.keymap
    close(page)


def test_fields_of_text_keep_their_letters_and_the_score_its_digits(desk: CurationDesk, page: CuratePage) -> None:
    field = QLineEdit(page.decide)
    field.show()
    field.setFocus()
    QTest.keyClicks(field, "raukmd.,")
    assert field.text() == "raukmd.," and desk.document.history.count == 0
    score = find(page, "score")
    score.setFocus()
    score.selectAll()
    QTest.keyClicks(score, "0.65")
    QTest.keyClick(score, Qt.Key.Key_Return)
    assert score.value() == 0.65 and desk.document.history.count == 0


def test_a_page_that_is_closed_and_opened_again_has_the_same_history_and_hears_each_key_once(
    desk: CurationDesk,
) -> None:
    viewer = desk.parent().viewer
    keys, callbacks = dict(viewer.keymap), list(viewer.mouse_drag_callbacks)
    for count in range(1, 4):
        page = open_page(desk)
        step(desk, count)
        page.setFocus()
        QTest.keyClick(page, Qt.Key.Key_R)
        in_canvas(desk, "A")
        assert desk.document.history.count == 2 * count
        wait(10)
        assert find(page, "undo").isEnabled()
        shown = [layer.name for layer in viewer.layers]
        assert shown.count("objects") == 1
        close(page)
        assert "objects" not in [layer.name for layer in viewer.layers]
        assert dict(viewer.keymap) == keys and list(viewer.mouse_drag_callbacks) == callbacks


# The matrix.


def test_each_cell_of_the_matrix_chooses_its_two_masks(desk: CurationDesk, page: CuratePage) -> None:
    matrix = page.decide.matrix
    for row in (1, 2):
        for column in (1, 2):
            QTest.mouseClick(matrix, Qt.MouseButton.LeftButton, pos=matrix.cell(row - 1, column - 1).center())
            assert desk.selection == ((0, row), (1, column))
    for corner in (QPoint(1, 1), QPoint(matrix.width() - 1, 1), QPoint(1, matrix.height() - 1)):
        desk.select(None)
        QTest.mouseClick(matrix, Qt.MouseButton.LeftButton, pos=corner)
        assert desk.selection == ()


def test_arrows_go_round_the_matrix_and_enter_chooses(desk: CurationDesk, page: CuratePage) -> None:
    matrix = page.decide.matrix
    matrix.setFocus()
    for key in (Qt.Key.Key_Left, Qt.Key.Key_Up):
        QTest.keyClick(matrix, key)
    QTest.keyClick(matrix, Qt.Key.Key_Return)
    assert desk.selection == ((0, 2), (1, 2))
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Down):
        QTest.keyClick(matrix, key)
    QTest.keyClick(matrix, Qt.Key.Key_Space)
    assert desk.selection == ((0, 1), (1, 1))


@pytest.mark.parametrize("frames", [{0: {}, 1: {}}, {0: {1: box(2, 2, 9, 9)}, 1: {}}, {0: {}, 1: {1: box(2, 2, 9, 9)}}])
def test_a_matrix_without_rows_or_columns_is_survived(tmp_path: Path, frames: Any) -> None:
    with open_desk(write_masked(tmp_path, frames, 2), shown=False) as desk:
        page = open_page(desk)
        matrix = page.decide.matrix
        for frame in (0, 1):
            step(desk, frame)
            matrix.setFocus()
            for key in (Qt.Key.Key_Left, Qt.Key.Key_Down, Qt.Key.Key_Return, Qt.Key.Key_Space):
                QTest.keyClick(matrix, key)
            QTest.mouseClick(matrix, Qt.MouseButton.LeftButton, pos=QPoint(40, 40))
            QTest.mouseMove(matrix, QPoint(42, 40))
            matrix.grab()
        assert all(key[0] == desk.frame for key in desk.selection)
        close(page)


def test_300_objects_in_a_frame_are_shown_and_each_cell_can_be_chosen(tmp_path: Path) -> None:
    size = (60, 80)
    place = np.arange(60)[:, None] // 4 * 20 + np.arange(80)[None] // 4
    frames = {index: {number + 1: place == number for number in range(300)} for index in range(2)}
    with open_desk(write_masked(tmp_path, frames, 2, size)) as desk:
        page = open_page(desk)
        matrix = page.decide.matrix
        assert len(matrix.rows) == len(matrix.columns) == 300
        assert matrix.height() < 400
        picture = matrix.grab().toImage()
        colours = {picture.pixelColor(26 + x, 26 + x * (matrix.height() - 26) // 300).name() for x in range(0, 280, 7)}
        assert len(colours) > 1, "the diagonal is seen"
        for row, column in ((0, 0), (299, 299), (150, 3)):
            found = matrix.cell_at(matrix.cell(row, column).center())
            assert found is not None and max(abs(found[0] - row), abs(found[1] - column)) <= 1
        QTest.mouseClick(matrix, Qt.MouseButton.LeftButton, pos=matrix.cell(150, 150).center())
        assert len(desk.selection) == 2
        QTest.mouseMove(matrix, matrix.cell(20, 20).center())
        matrix.setFocus()
        QTest.keyClick(matrix, Qt.Key.Key_Left)
        QTest.keyClick(matrix, Qt.Key.Key_Return)
        assert desk.selection == ((0, desk.selection[0][1]), (1, desk.selection[1][1]))
        close(page)


# The timeline.


def corners(widget: QWidget) -> list[QPoint]:
    right, bottom = widget.width() - 1, widget.height() - 1
    # To Qt's tests a point of two zeros is none.
    return [QPoint(0, 1), QPoint(right, 0), QPoint(0, bottom), QPoint(right, bottom), QPoint(right // 2, bottom // 2)]


@pytest.mark.parametrize("count", [1, 2, 8])
def test_a_click_in_every_corner_of_the_timeline_is_survived(tmp_path: Path, count: int) -> None:
    with open_desk(write_masked(tmp_path, two_objects(count), count), shown=False) as desk:
        page = open_page(desk)
        for width in (1, 58, 240, 1900):
            page.timeline.resize(width, page.timeline.height())
            for corner in corners(page.timeline):
                QTest.mouseClick(page.timeline, Qt.MouseButton.LeftButton, pos=corner)
                QTest.mouseMove(page.timeline, corner)
            page.timeline.grab()
        for key in (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down):
            for _ in range(10):
                QTest.keyClick(page.timeline, key)
        assert 0 <= desk.frame < count and desk.view.gap == 4
        close(page)


def test_each_cell_of_the_timeline_leads_to_its_pair(desk: CurationDesk, page: CuratePage) -> None:
    for pair in desk.review.pairs.values():
        QTest.mouseClick(page.timeline, Qt.MouseButton.LeftButton, pos=page.timeline.cell(pair).center())
        assert (desk.frame, desk.view.gap) == (pair.frames[0], pair.gap)
        assert desk.pair is pair


def test_3000_frames_have_a_timeline(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "videos" / "long", 20)
    for index in range(20, 3000):
        os.link(folder / f"{index % 20:05d}.png", folder / f"{index:05d}.png")
    objects = {1: box(4, 4, 12, 14), 2: box(30, 30, 12, 14)}
    path = write_masked(tmp_path, dict.fromkeys(range(3000), objects), 3000, video=folder)
    with open_desk(path, shown=False) as desk:
        page = open_page(desk)
        page.timeline.resize(900, page.timeline.height())
        page.timeline.grab()
        for frame in (0, 1500, 2998):
            cell = page.timeline.cell(desk.review.pair(frame, 1))
            QTest.mouseClick(page.timeline, Qt.MouseButton.LeftButton, pos=cell.center())
            assert abs(desk.frame - frame) <= 4
        for corner in corners(page.timeline):
            QTest.mouseClick(page.timeline, Qt.MouseButton.LeftButton, pos=corner)
        click(page, "reject_clip")
        assert desk.document.history.count == 1
        close(page)
        assert desk.flush()


# What is shared with others.


def test_what_the_export_tab_changes_is_seen_here_and_back(desk: CurationDesk, page: CuratePage) -> None:
    export = export_of(desk.parent())
    desk.set_parameters(export.parameters.model_copy(update={"gaps": (2, 5), "iou": 0.75, "method": "hungarian"}))
    gap, iou, method = (find(page, name) for name in ("gap in sight", "iou", "method"))
    assert [gap.itemText(place) for place in range(gap.count())] == ["gap 2", "gap 5"]
    assert (iou.value(), method.currentText()) == (0.75, "hungarian")
    assert desk.view.gap == 2 and gap.currentIndex() == 0
    iou.setValue(0.3)
    method.setCurrentText("argmax")
    gap.setCurrentIndex(1)
    assert (export.parameters.iou, export.parameters.method) == (0.3, "argmax") and desk.view.gap == 5
    page.timeline.grab()


def test_a_threshold_that_contradicts_a_decision_goes_back(tmp_path: Path) -> None:
    wide = box(4, 4, 12, 20)
    frames = {0: {1: wide}, 1: {1: box(4, 4, 12, 12), 2: box(30, 4, 12, 12)}}
    with open_desk(write_masked(tmp_path, frames, 2), shown=False) as desk:
        desk.set_parameters(CurationParameters(iou=0.9))
        page = open_page(desk)
        step(desk, 1)
        desk.select((1, 2))
        words = said(desk)
        from flowcut_napari.widgets.curate.on_objects import name_object

        name_object(desk, 1)
        assert desk.identity((1, 2)) == 1, words
        find(page, "iou").setValue(0.2)
        assert find(page, "iou").value() == 0.9 and desk.parameters.iou == 0.9
        assert "both given the identity 1" in words[-1]
        close(page)


def test_a_conflict_has_two_ways_out_and_no_other(desk: CurationDesk, page: CuratePage, path: Path) -> None:
    names = ("keep_mine", "take_theirs", "retry_save")

    def offered() -> list[str]:
        wait(20)
        return [name for name in names if find(page, name).isVisible()]

    assert offered() == [] and find(page, "saved").text().startswith("All saved")
    for way in ("keep_mine", "take_theirs"):
        update_masks(path, lambda masks: masks.decide(Join((0, 1), (1, 2))))
        click(page, "accept_clip")
        click(page, "reject_clip")
        desk.flush()
        wait_until(lambda: offered() == ["keep_mine", "take_theirs"], "both ways")
        click(page, way)
        assert desk.flush() and offered() == []
        assert load_masks(path) == desk.masks
    assert desk.document.history.count == 0, "theirs begin anew"


def test_a_disk_that_takes_nothing_is_said_and_tried_again(desk: CurationDesk, page: CuratePage, path: Path) -> None:
    aside = path.parent.with_name("aside")
    path.parent.rename(aside)
    click(page, "accept_clip")
    desk.flush()
    wait_until(lambda: find(page, "retry_save").isVisible(), "Try again")
    assert "Not saved" in find(page, "saved").text() and "kept in" in find(page, "saved").text()
    aside.rename(path.parent)
    click(page, "retry_save")
    assert desk.flush() and load_masks(path) == desk.masks
    wait_until(lambda: not find(page, "retry_save").isVisible(), "all saved")


def test_another_video_is_shown_with_its_own_pairs(desk: CurationDesk, page: CuratePage, tmp_path: Path) -> None:
    click(page, "accept_clip")
    look_at(desk, write_masked(tmp_path, {**two_objects(3, 2), 1: {}}, 3, name="other"))
    wait(20)
    page.timeline.grab()
    assert "Clip 0 → 1" in find(page, "clip").text() and not find(page, "undo").isEnabled()
    desk.parent().open(str(tmp_path / "videos" / "clip"))
    wait(20)
    assert "accepted" in find(page, "clip").text() and "accept clip 0 → 1" in find(page, "undo").text()
    assert desk.layers is not None and desk.layers.is_shown
