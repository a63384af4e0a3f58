"""What is no video, dropped on the window or opened in the panel: one readable notification, and work goes on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import pytest
from command_line import NO_NETWORK, cut_to_nothing
from conftest import data_path, write_frames
from napari_window import Window, layer_names, settle, shown_masks, started_here, wait, wait_until
from PIL import Image

from flowcut_napari.core.video_file import VIDEO_SUFFIXES

pytestmark = pytest.mark.gui


def empty_folder(place: Path) -> Path:
    (place / "empty").mkdir()
    return place / "empty"


def folder_of_texts(place: Path) -> Path:
    (place / "texts").mkdir()
    for name in ("a.txt", "b.txt"):
        (place / "texts" / name).write_text("no picture")
    return place / "texts"


def broken_images(place: Path) -> Path:
    folder = write_frames(place / "broken", 3)
    for path in folder.iterdir():
        path.write_text("<html>404 not found</html>")
    return folder


def mixed_sizes(place: Path) -> Path:
    folder = write_frames(place / "mixed", 3)
    Image.new("RGB", (32, 32)).save(folder / "00001.png")
    return folder


def truncated_video(place: Path) -> Path:
    path = whole_video(place / "cut.mp4")
    # The list of frames stands at the end.
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def empty_video(place: Path) -> Path:
    (place / "empty.mp4").touch()
    return place / "empty.mp4"


def unreadable_folder(place: Path) -> Path:
    folder = write_frames(place / "locked", 2)
    folder.chmod(0)
    if os.access(folder, os.R_OK):
        folder.chmod(0o700)
        pytest.skip("this user may read everything")
    return folder


def loop_of_links(place: Path) -> Path:
    (place / "loop").symlink_to(place / "loop")
    return place / "loop"


def odd_name(place: Path) -> Path:
    folder = place / "two\nlines\x1b[31m\ttab"
    folder.mkdir()
    return folder


def missing_file(place: Path) -> Path:
    return place / "nothing.mp4"


def damaged_masks(place: Path) -> Path:
    (place / "a.masks.json").write_text('{"schema": "flowcut.masks/1", "vid')
    return place / "a.masks.json"


def masks_of_another_schema(place: Path) -> Path:
    (place / "b.masks.json").write_text(json.dumps({"schema": "flowcut.masks/99", "frames": []}))
    return place / "b.masks.json"


def masks_of_a_lost_video(place: Path) -> Path:
    made = saved_masks(place / "lost")
    shutil.rmtree(place / "lost")
    return made


def davis_root_without_sequences(place: Path) -> Path:
    (place / "root" / "JPEGImages").mkdir(parents=True)
    return place / "root"


def whole_video(path: Path) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libvpx" if path.suffix == ".webm" else "libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(20):
            picture = av.VideoFrame.from_image(Image.new("RGB", (64, 48), (10 * index, 90, 120)))
            file.mux(stream.encode(picture))
        file.mux(stream.encode())
    return path


def saved_masks(folder: Path) -> Path:
    """Save masks of a video beside its folder."""
    from flowcut_napari.core import CutParameters, open_video, save_masks, segment_video

    write_frames(folder, 3)
    parameters = CutParameters.preset("handmade").with_changes(crf=False, gap=1, height=64, width=96)
    out = folder.with_suffix(".masks.json")
    save_masks(segment_video(open_video(folder), parameters), out)
    return out


BAD: list[Callable[[Path], Path]] = [
    empty_folder,
    folder_of_texts,
    broken_images,
    mixed_sizes,
    truncated_video,
    empty_video,
    unreadable_folder,
    odd_name,
    damaged_masks,
    masks_of_another_schema,
    masks_of_a_lost_video,
    davis_root_without_sequences,
]

# The panel opens these, and may ask where their video is.
MASKS = [damaged_masks, masks_of_another_schema, masks_of_a_lost_video]


@dataclass
class Dialogs:
    """What asked for an answer: the reader that was offered first, by napari's own dialog, and anything else."""

    readers: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


@pytest.fixture
def dialogs() -> Iterator[Dialogs]:
    """Answer dialogs as somebody does who presses Enter, since nobody is there to."""
    from napari._qt.dialogs.qt_reader_dialog import QtReaderDialog
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication

    seen = Dialogs()

    def look() -> None:
        dialog = QApplication.activeModalWidget()
        if isinstance(dialog, QtReaderDialog):
            seen.readers.append(dialog._get_plugin_choice())
            dialog.accept()
        elif dialog is not None:
            seen.others.append(f"{type(dialog).__name__}: {dialog.windowTitle()}")
            dialog.close()

    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(50)
    yield seen
    timer.stop()


def drop(window: Window, *paths: Path) -> None:
    """Drop files on the window."""
    from qtpy.QtCore import QUrl

    urls = [QUrl.fromLocalFile(str(path)) for path in paths]
    window.viewer.window._qt_viewer._open_from_list_of_urls_data(urls, stack=False, choose_plugin=False)


def check_said_once(window: Window, name: str) -> str:
    """Assert that one notification was shown, readable and about the file; return its text."""
    from napari.utils.notifications import ErrorNotification

    wait_until(lambda: window.said, "a notification", 10)
    wait(100)
    assert len(window.said) == 1, [notification.message for notification in window.said]
    (notification,) = window.said
    # That kind has a button for the traceback.
    assert not isinstance(notification, ErrorNotification), notification.as_text()
    assert notification.severity.value == "error"
    text = notification.message
    assert name in text
    assert text.isprintable()
    assert not any(word in text for word in ("Traceback", "Error(", "Errno", "object at 0x", "npe2", "plugin"))
    window.said.clear()
    return text


def check_said_in_panel(window: Window, name: str) -> str:
    """Assert that the panel says one thing about a masks file, in a line or as a question; return its text."""
    remark, offers = window.find("remark"), window.panel.session.offers

    def said() -> list[str]:
        return [text for text in (remark.text(), *(offer.text for offer in offers.items)) if text]

    wait_until(said, "something said in the panel", 10)
    wait(100)
    (text,) = said()
    assert name.removesuffix(".masks.json") in text and text.isprintable()
    assert not any(word in text for word in ("Traceback", "Error(", "Errno", "object at 0x", "npe2", "plugin"))
    assert window.said == []
    window.panel.show_remark("")
    for offer in list(offers.items):
        offers.withdraw(offer)
    return text


@pytest.mark.parametrize("make", [*BAD, loop_of_links, missing_file], ids=lambda make: make.__name__)
def test_what_is_no_video_is_said_once_and_work_goes_on(
    window: Window, tmp_path: Path, make: Callable[[Path], Path], dialogs: Dialogs
) -> None:
    bad = make(tmp_path)
    name = bad.name.partition("\n")[0]
    check = check_said_in_panel if make in MASKS else check_said_once
    window.panel.open(str(bad))
    opened = check(window, name)
    if make in BAD:  # the others cannot be dropped
        drop(window, bad)
        assert check(window, name) == opened
        # napari reads folders and most videos itself, and asks; ours stands first.
        assert set(dialogs.readers) <= {"FlowCut"}
    assert dialogs.others == []
    assert layer_names(window.viewer) == []
    window.open_sample()
    assert shown_masks(window.viewer).any()
    assert window.said == []


@pytest.mark.parametrize("suffix", sorted(VIDEO_SUFFIXES))
def test_a_dropped_video_is_opened_by_ours(window: Window, tmp_path: Path, dialogs: Dialogs, suffix: str) -> None:
    drop(window, whole_video(tmp_path / f"clip{suffix}"))
    wait_until(lambda: window.bench.video is not None, "the video")
    assert layer_names(window.viewer)[0] == "clip"
    assert set(dialogs.readers) <= {"FlowCut"}
    assert dialogs.others == []


def test_of_several_folders_dropped_at_once_each_is_a_video_and_the_last_is_looked_at(
    window: Window, tmp_path: Path, dialogs: Dialogs
) -> None:
    drop(window, write_frames(tmp_path / "one", 4), write_frames(tmp_path / "two", 5))
    assert dialogs.readers == ["FlowCut"]  # napari reads folders, too, and asks once
    wait_until(lambda: window.bench.video is not None, "a video")
    settle(window.bench)
    assert [video.name for video in window.bench.desk.videos()] == ["one", "two"]
    assert window.bench.video.name == "two"
    assert [window.viewer.layers[name].visible for name in ("one", "two")] == [False, True]


def test_a_dropped_masks_file_brings_its_video_and_parameters(window: Window, tmp_path: Path, dialogs: Dialogs) -> None:
    drop(window, saved_masks(tmp_path / "clip"))
    wait_until(lambda: window.bench.results.saved is not None, "the masks are taken up")
    assert dialogs == Dialogs()  # nobody else reads these
    assert window.find("height").value() == 64
    assert window.find("crf").isChecked() is False
    settle(window.bench)
    assert layer_names(window.viewer).count("masks") == 1
    assert "clip masks" not in layer_names(window.viewer)


def test_a_dropped_masks_file_of_the_video_that_is_open_is_taken_up(
    window: Window, tmp_path: Path, dialogs: Dialogs
) -> None:
    from flowcut_napari.widgets.curate.desk import curation_of

    path = saved_masks(tmp_path / "clip")
    window.panel.open(str(tmp_path / "clip"))
    wait_until(lambda: window.bench.video is not None, "the video")
    settle(window.bench)
    names = set(layer_names(window.viewer))
    drop(window, path)
    wait_until(lambda: curation_of(window.bench).path == path, "the masks are taken up")
    settle(window.bench)
    assert set(layer_names(window.viewer)) == names and "clip" in names
    assert dialogs == Dialogs()
    assert window.said == []


def test_a_name_that_looks_like_html_is_shown_as_it_is(window: Window, tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "<b>bold<", 3)
    (folder / "notes.txt").write_text("not a frame")
    window.panel.open(str(folder))
    wait_until(lambda: window.bench.video is not None, "the video")
    remark = window.find("remark")
    assert "notes.txt" in remark.text()
    assert remark.textFormat().name == "PlainText"


def test_the_window_may_be_closed_while_a_video_is_being_opened(window: Window) -> None:
    window.panel.video_bar.open_sample()
    # The thread that opens it has nobody to tell any more; what it raised would fail this test.


def test_a_frame_that_is_damaged_after_opening_is_grey_and_said(window: Window, tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip", 8)
    # So that neither of the two damaged frames is the other's partner.
    window.bench.set_parameters(window.bench.parameters.with_changes(gap=4))
    window.panel.open(str(folder))
    wait_until(lambda: window.bench.video is not None, "the video")
    window.viewer.dims.set_current_step(0, 0)
    settle(window.bench)
    cut_to_nothing(folder / "00006.png")
    (folder / "00007.png").unlink()
    for frame in (6, 7):
        window.viewer.dims.set_current_step(0, frame)
        notice = window.find("notice text")
        wait_until(lambda notice=notice, frame=frame: f"0000{frame}.png" in notice.text(), "a notice about the frame")
        assert notice.text().isprintable()
        assert (window.viewer.layers["clip"].data[frame] == 96).all()
    # The others go on, whether they were looked at before or not; so does this one, once it is there again.
    for frame in (0, 1):
        window.viewer.dims.set_current_step(0, frame)
        settle(window.bench)
        assert not window.find("notice").isVisible()
    shutil.copyfile(folder / "00000.png", folder / "00006.png")
    window.viewer.dims.set_current_step(0, 6)
    wait_until(lambda: window.bench.trouble or window.bench.results.is_complete(6), "the frame that was mended")
    assert window.bench.trouble is None


# Weights and devices.


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NO_NETWORK.items():
        monkeypatch.setenv(name, value)


def open_without_weights(window: Window) -> None:
    window.open_sample()
    for name, value in (("features", "handmade"), ("flow", "raft-small"), ("max_instances", 2), ("crf", False)):
        window.panel.tune.controller.edit(name, value)
    wait_until(window.find("notice").isVisible, "a notice")


def test_missing_weights_are_offered_three_ways_out(window: Window) -> None:
    open_without_weights(window)
    assert window.find("notice text").text() == "The weights of raft-small are not on this machine."
    assert list(window.panel.notice.buttons) == ["choose_weights", "fetch_weights", "use_handmade"]
    window.click("use_handmade")
    settle(window.bench)
    assert not window.find("notice").isVisible()
    assert window.find("preset").currentText() == "handmade"


@pytest.mark.usefixtures("no_network")
def test_fetching_weights_without_a_network_says_so_and_can_be_tried_again(window: Window) -> None:
    open_without_weights(window)
    for _ in range(2):
        window.click("fetch_weights")
        assert list(window.panel.notice.buttons) == ["cancel_fetch"]
        wait_until(lambda: "fetch_weights" in window.panel.notice.buttons, "the end of fetching", 60)
        text = window.find("remark").text()
        assert "could not be fetched" in text
        assert text.isprintable()
        assert "Traceback" not in text


def test_fetching_weights_can_be_cancelled(window: Window) -> None:
    open_without_weights(window)
    before = len(started_here())
    window.click("fetch_weights")
    assert len(started_here()) > before
    window.click("cancel_fetch")
    wait_until(lambda: len(started_here()) == before, "the process that fetches is gone", 5)
    assert list(window.panel.notice.buttons) == ["choose_weights", "fetch_weights", "use_handmade"]


def choose(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    from qtpy.QtWidgets import QFileDialog

    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (str(path), ""))


def test_a_chosen_weights_file_is_used(window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = data_path("weights", "raft_small.pth")
    open_without_weights(window)
    choose(monkeypatch, weights)
    window.click("choose_weights")
    settle(window.bench, 90)
    assert not window.find("notice").isVisible()
    assert window.bench.results.flow_picture(window.bench.frame) is not None
    assert f"--weights raft-small={weights}" in window.panel.tune.controller.command()


def test_a_wrong_weights_file_is_refused_in_words_and_another_can_be_chosen(
    window: Window, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "wrong.pth").write_text("no weights")
    open_without_weights(window)
    choose(monkeypatch, tmp_path / "wrong.pth")
    window.click("choose_weights")
    wait_until(lambda: "wrong.pth" in window.find("notice text").text(), "a notice about the file", 60)
    text = window.find("notice text").text()
    assert text.isprintable()
    assert not any(word in text for word in ("Traceback", "UnpicklingError", "RuntimeError"))
    # The way out is the button of the Tune tab, or other settings.
    window.panel.tune.controller.choose_preset("handmade")
    settle(window.bench)
    assert not window.find("notice").isVisible()


def test_a_device_that_is_not_there_is_refused_in_words(
    windows: Callable[[], Window], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWCUT_WEIGHTS", str(data_path("weights", "raft_small.pth").parent))
    window = windows()
    window.open_sample()
    device = window.find("device")
    device.setCurrentText("cuda:7")
    device.lineEdit().editingFinished.emit()
    # Hand-made features need no device.
    window.panel.tune.controller.edit("flow", "raft-small")
    wait_until(window.find("notice").isVisible, "a notice", 60)
    text = window.find("notice text").text()
    assert "cuda:7" in text
    assert text.isprintable()
    assert "Traceback" not in text
    device.setCurrentText("auto")
    device.lineEdit().editingFinished.emit()
    window.panel.tune.controller.choose_preset("handmade")
    settle(window.bench)
    assert not window.find("notice").isVisible()
