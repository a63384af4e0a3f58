"""Bad input: folders of images. One clear line, the right exit code, nothing half-written."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from command_line import Result, cut_jpeg, cut_to_nothing, written
from conftest import write_frames
from PIL import Image

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.images import image_size, read_rgb


def test_a_stray_text_file_is_passed_over_with_a_note(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    (clip / "notes.txt").write_text("not a frame")
    cheap(clip).succeeds_with_note("notes.txt", "clip")
    assert written(out) == ["clip.masks.json"]
    assert len(json.loads((out / "clip.masks.json").read_text())["frames"]) == 3


def test_a_note_stays_one_line_whatever_a_file_is_called(cheap: Callable[..., Result], clip: Path) -> None:
    (clip / "two\nlines.txt").write_text("not a frame")
    cheap(clip).succeeds_with_note("clip")


def test_a_dangling_link_in_place_of_a_frame_is_not_passed_over_in_silence(
    cheap: Callable[..., Result], out: Path, clip: Path
) -> None:
    """As in a dataset under git-annex whose contents were not fetched: a frame less moves all later ones."""
    (clip / "00001.png").unlink()
    (clip / "00001.png").symlink_to(clip / "absent.png")
    result = cheap(clip)
    assert "00001.png" in result.err
    assert result.code == 2 or result.notes


def other_size(path: Path) -> None:
    Image.new("RGB", (32, 32)).save(path)


def text_inside(path: Path) -> None:
    path.write_text("<html>404 not found</html>")


def floating_point(path: Path) -> None:
    Image.new("F", (64, 48)).save(path, format="TIFF")


def postscript(path: Path) -> None:
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\nshowpage\n%%EOF\n")


def broken_exif(path: Path) -> None:
    Image.new("RGB", (64, 48)).save(path, format="JPEG", exif=b"Exif\0\0garbage of no use at all")


def png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    )


def large_on_paper(path: Path) -> None:
    path.write_bytes(png_of(12_000, 9_000))


def bomb(path: Path) -> None:
    path.write_bytes(png_of(60_000, 60_000))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".webp", ".ppm"])
def test_a_truncated_image_in_the_middle_is_named(
    cheap: Callable[..., Result], out: Path, tmp_path: Path, suffix: str
) -> None:
    folder = write_frames(tmp_path / "cut", 5, suffix=suffix)
    cut_jpeg(folder / f"00002{suffix}")
    cheap(folder).fails_with(str(folder / f"00002{suffix}"))
    assert written(out) == []


@pytest.mark.parametrize(
    "spoil",
    [cut_to_nothing, other_size, text_inside, floating_point, postscript, large_on_paper, bomb],
    ids=lambda spoil: spoil.__name__,
)
def test_a_spoilt_frame_is_named(
    cheap: Callable[..., Result], out: Path, clip: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(clip / "00001.png")
    cheap(clip).fails_with("00001.png")
    assert written(out) == []


def test_a_spoilt_first_frame_is_named(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    cut_to_nothing(clip / "00000.png")
    cheap(clip).fails_with("00000.png")
    assert written(out) == []


def test_broken_exif_does_no_harm_to_a_sound_picture(cheap: Callable[..., Result], tmp_path: Path) -> None:
    folder = tmp_path / "exif"
    folder.mkdir()
    for index in range(3):
        broken_exif(folder / f"{index}.jpg")
    result = cheap(folder)
    if result.code:
        result.fails_with("0.jpg")
    else:
        result.succeeds_silently()


def test_frames_of_two_sizes_give_both_sizes(cheap: Callable[..., Result], clip: Path) -> None:
    other_size(clip / "00002.png")
    cheap(clip).fails_with("00002.png", "32x32", "64x48")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".webp", ".ppm"])
def test_whatever_is_done_to_the_bytes_of_an_image_only_input_errors_come(
    tmp_path: Path, suffix: str, random: np.random.Generator
) -> None:
    write_frames(tmp_path, 1, suffix=suffix)
    sound = (tmp_path / f"00000{suffix}").read_bytes()
    path = tmp_path / f"damaged{suffix}"
    surprises: dict[str, str] = {}
    refused = 0
    for _ in range(300):
        data = bytearray(sound)
        for _ in range(int(random.integers(1, 5))):
            # Headers hold what a reader trusts: half of the hits go there.
            place = int(random.integers(0, min(len(data), 200) if random.random() < 0.5 else len(data)))
            data[place] = int(random.integers(0, 256))
        if random.random() < 0.3:
            del data[int(random.integers(0, len(data))) :]
        path.write_bytes(data)
        try:
            with warnings_as_text() as heard:
                image_size(path)
                read_rgb(path)
        except InputError as error:
            refused += 1
            assert str(path) in str(error)
        except Exception as error:  # noqa: BLE001
            surprises[type(error).__name__] = str(error)
        surprises |= {f"warning {kind}": text for kind, text in heard.items()}
    assert refused > 20
    assert not surprises


@contextmanager
def warnings_as_text() -> Iterator[dict[str, str]]:
    import warnings

    heard: dict[str, str] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield heard
    # Only those that Python prints by default.
    silent = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
    heard |= {each.category.__name__: str(each.message) for each in caught if not issubclass(each.category, silent)}


def test_a_single_frame_takes_alpha_one_and_says_so(cheap: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    cheap(write_frames(tmp_path / "one", 1)).succeeds_with_note("one", "single frame", "alpha is 1")
    content = json.loads((out / "one.masks.json").read_text())
    assert [frame["partner"] for frame in content["frames"]] == [None]
    assert content["frames"][0]["instances"], "a picture alone still gives masks"
    assert any("single frame" in note for note in content["provenance"]["notes"])


def test_a_gap_longer_than_the_video_is_noted(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    cheap(clip, "--gap", "500").succeeds_with_note("500", "3 frames")
    content = json.loads((out / "clip.masks.json").read_text())
    assert [frame["partner"] for frame in content["frames"]] == [2, 2, 0]


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (90, 20, 200)])
def test_frames_of_one_colour_are_no_error_and_raise_no_warning(
    cheap: Callable[..., Result], out: Path, tmp_path: Path, colour: tuple[int, int, int]
) -> None:
    (tmp_path / "flat").mkdir()
    for index in range(3):
        Image.new("RGB", (64, 48), colour).save(tmp_path / "flat" / f"{index}.png")
    cheap(tmp_path / "flat").succeeds_silently()
    assert written(out) == ["flat.masks.json"]


@pytest.mark.parametrize("size", [(1, 1), (4, 200), (3000, 1), (5, 7)])
def test_frames_of_awkward_sizes_are_worked_on_with_a_preview(
    cheap: Callable[..., Result], out: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    (tmp_path / "thin").mkdir()
    for index in range(2):
        Image.new("RGB", size, (40 * index, 9, 9)).save(tmp_path / "thin" / f"{index}.png")
    cheap(tmp_path / "thin", "--preview").succeeds_silently()
    expected = ["thin.masks.json", "thin.preview.png", "thin.preview/00000.png", "thin.preview/00001.png"]
    assert written(out) == expected
