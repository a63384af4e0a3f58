from __future__ import annotations

import json
import pickle
import random as python_random
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import data_path, write_frames
from PIL import Image

from flowcut_napari.core import InputError, open_video, open_videos
from flowcut_napari.core.images import read_rgb
from flowcut_napari.core.video import find_videos

_BITS = 8


def _frame_with_number(number: int) -> np.ndarray:
    """A frame whose index can be read back: a row of eight dark or bright blocks."""
    frame = np.zeros((96, 160, 3), np.uint8)
    for bit in range(_BITS):
        frame[8:88, bit * 20 : (bit + 1) * 20] = 230 if number >> bit & 1 else 20
    return frame


def _number_of(frame: np.ndarray) -> int:
    return sum(1 << bit for bit in range(_BITS) if frame[20:70, bit * 20 + 6 : bit * 20 + 14].mean() > 128)


def _write_video(path: Path, codec: str, options: dict[str, str], count: int = 90, variable_rate: bool = False) -> Path:
    random = python_random.Random(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = 160, 96
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = options
        stream.codec_context.time_base = Fraction(1, 1000) if variable_rate else Fraction(1, 25)
        time = 0
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(_frame_with_number(index), "rgb24")
            frame.time_base = Fraction(1, 1000) if variable_rate else Fraction(1, 25)
            frame.pts = time if variable_rate else index
            time += random.choice([20, 40, 41, 70, 130])
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


VIDEOS = {
    "b_frames.mp4": ("libx264", {"bf": "3", "g": "25"}, False),
    "open_gop.mov": ("libx264", {"bf": "4", "x264-params": "open-gop=1:keyint=15:scenecut=0"}, False),
    "variable_rate.mp4": ("libx264", {"bf": "3", "g": "40"}, True),
    "variable_rate.mkv": ("libx264", {"bf": "3", "g": "40"}, True),
    "mpeg4.avi": ("mpeg4", {"bf": "2", "g": "15"}, False),
    "motion_jpeg.avi": ("mjpeg", {}, False),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_a_frame_of_a_video_file_is_the_one_asked_for(tmp_path: Path, name: str) -> None:
    codec, options, variable_rate = VIDEOS[name]
    video = open_video(_write_video(tmp_path / name, codec, options, variable_rate=variable_rate))
    assert len(video) == 90
    assert video.notices == ()
    assert [_number_of(frame) for frame in video] == list(range(90))
    order = python_random.Random(1).choices(range(90), k=60)
    assert [_number_of(video[index]) for index in order] == order
    assert _number_of(video[-1]) == 89


def test_after_an_error_the_next_frame_is_right_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = open_video(_write_video(tmp_path / "clip.mp4", "libx264", {"bf": "2"}))
    decoder = video._decoder  # type: ignore[attr-defined]
    video[10]
    skip = decoder._skip

    def fail_on_the_way(count: int) -> None:
        skip(min(count, 2))
        raise InputError("damaged here")

    monkeypatch.setattr(decoder, "_skip", fail_on_the_way)
    with pytest.raises(InputError, match="damaged here"):
        video[20]
    monkeypatch.setattr(decoder, "_skip", skip)
    assert [_number_of(video[index]) for index in (11, 12, 20)] == [11, 12, 20]


def test_a_video_file_read_by_several_threads_gives_each_its_frames(tmp_path: Path) -> None:
    video = open_video(_write_video(tmp_path / "clip.mp4", "libx264", {"bf": "2"}))
    wrong: list[int] = []

    def read(start: int) -> None:
        wrong.extend(index for index in range(start, 90, 4) if _number_of(video[index]) != index)

    threads = [threading.Thread(target=read, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_videos_can_be_sent_to_another_process(tmp_path: Path) -> None:
    for video in (
        open_video(_write_video(tmp_path / "clip.mkv", "libx264", {}, count=20)),
        open_video(write_frames(tmp_path / "clip", 20)),
    ):
        copy = pickle.loads(pickle.dumps(video))
        assert len(copy) == 20
        assert np.array_equal(copy[13], video[13])
        assert copy.fingerprint() == video.fingerprint()


def test_images_come_in_natural_order_and_stray_files_are_passed_over(tmp_path: Path) -> None:
    for number in (1, 2, 10, 9):
        Image.new("RGB", (8, 6), (number, 0, 0)).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    video = open_video(tmp_path)
    assert [int(frame[0, 0, 0]) for frame in video] == [1, 2, 9, 10]
    assert (video.height, video.width, len(video)) == (6, 8, 4)
    assert [video.frame_file(index) for index in range(2)] == ["frame1.png", "frame2.png"]
    assert len(video.notices) == 1
    assert "1 file(s) that are no images: notes.txt" in video.notices[0]


def test_pictures_of_every_kind_become_rgb_of_8_bit(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)
    grey = np.repeat(ramp[..., None], 3, axis=2)

    def read(image: Image.Image, name: str) -> np.ndarray:
        image.save(tmp_path / name)
        rgb = read_rgb(tmp_path / name)
        assert rgb.dtype == np.uint8
        assert rgb.shape == (8, 8, 3)
        return rgb

    assert np.array_equal(read(Image.fromarray(ramp), "grey.png"), grey)
    assert np.array_equal(read(Image.fromarray(ramp.astype(np.uint16) * 257), "sixteen.png"), grey)
    assert np.array_equal(read(Image.fromarray(ramp.astype(np.uint16) * 257), "sixteen.tif"), grey)
    assert np.array_equal(read(Image.fromarray(np.dstack([grey, ramp]), "RGBA"), "alpha.png"), grey)
    assert np.array_equal(read(Image.fromarray(grey).quantize(256), "palette.png"), grey)
    assert np.array_equal(read(Image.fromarray(ramp > 100), "two.png")[..., 0], np.where(ramp > 100, 255, 0))


def test_a_sixteen_bit_scale_does_not_follow_the_contents(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 1000, np.uint16)).save(tmp_path / "dark.png")
    assert read_rgb(tmp_path / "dark.png").max() == 4  # 1000 / 257, not stretched to white


def test_pictures_are_turned_as_their_exif_says(tmp_path: Path) -> None:
    picture = Image.new("RGB", (30, 10))
    exif = picture.getexif()
    exif[0x0112] = 6
    for name in ("a.jpg", "b.jpg"):
        picture.save(tmp_path / name, exif=exif)
    video = open_video(tmp_path)
    assert (video.height, video.width) == (30, 10)
    assert video[1].shape == (30, 10, 3)


def test_a_tiff_of_several_pages_is_not_taken_for_its_first(tmp_path: Path) -> None:
    pages = [Image.new("L", (8, 6), shade) for shade in (1, 2)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match="several pages"):
        read_rgb(tmp_path / "stack.tif")


def test_names_with_digits_of_other_scripts_sort(tmp_path: Path) -> None:
    for name in ("²1", "x٣", "10", "9"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    assert [open_video(tmp_path).frame_file(index) for index in range(2)] == ["9.png", "10.png"]


def test_floating_point_pictures_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "depth.tif")
    with pytest.raises(InputError, match="floating-point image"):
        open_video(tmp_path)[0]


def test_a_davis_root_holds_its_sequences(sample_clip: Path) -> None:
    assert [video.name for video in open_videos(sample_clip)] == ["toys"]
    video = open_video(f"{sample_clip}::toys")
    assert (len(video), video.height, video.width) == (24, 360, 640)
    with pytest.raises(InputError, match="no sequence 'dog'; it has toys"):
        open_video(f"{sample_clip}::dog")


def test_the_real_davis_root() -> None:
    videos = open_videos(data_path("data", "davis16"))
    assert [video.name for video in videos][:3] == ["bmx-trees", "breakdance", "camel"]
    assert {len(video) for video in videos} == {80, 84, 90, 40, 60, 50, 49, 99}
    with pytest.raises(InputError, match=r"holds 8 videos .* name one as .*::bmx-trees"):
        open_video(data_path("data", "davis16"))


def test_a_youtube_vis_json_holds_its_videos(sample_clip: Path) -> None:
    (video,) = open_videos(sample_clip / "instances.json")
    assert video.name == "toys"
    assert np.array_equal(video[5], open_video(f"{sample_clip}::toys")[5])
    assert video.frame_file(5) == "toys/00005.jpg"


def test_two_clips_of_one_folder_get_names_of_their_own(tmp_path: Path) -> None:
    write_frames(tmp_path / "JPEGImages" / "cat", 4)
    videos = [
        {"id": number, "file_names": [f"cat/{first:05d}.png", f"cat/{first + 1:05d}.png"]}
        for number, first in ((7, 0), (8, 2))
    ]
    (tmp_path / "train.json").write_text(json.dumps({"videos": videos}))
    assert [video.name for video in open_videos(tmp_path / "train.json")] == ["cat", "cat_8"]


def test_frames_that_do_not_exist_are_index_errors(tmp_path: Path) -> None:
    video = open_video(write_frames(tmp_path / "clip", 3))
    for index in (3, -4):
        with pytest.raises(IndexError, match="has 3 frames"):
            video[index]


def test_the_fingerprint_follows_the_contents_not_the_place(tmp_path: Path) -> None:
    first = open_video(write_frames(tmp_path / "a", 5)).fingerprint()
    assert open_video(write_frames(tmp_path / "b", 5)).fingerprint() == first
    assert open_video(write_frames(tmp_path / "c", 6)).fingerprint() != first


@pytest.mark.parametrize("question", ["is_dir", "iterdir"])
def test_a_folder_that_may_not_be_looked_into_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    write_frames(tmp_path / "root" / "JPEGImages" / "480p" / "clip", 2)
    honest = getattr(Path, question)

    # A superuser, as whom tests may run, is refused nothing.
    def refuse(path: Path) -> object:
        if "JPEGImages" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return honest(path)

    monkeypatch.setattr(Path, question, refuse)
    with pytest.raises(InputError, match=r"root: cannot be looked up \(Permission denied\)$"):
        find_videos(tmp_path / "root")
