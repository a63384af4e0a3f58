"""What a user can get wrong, through the real command line: one clear line, the right exit code, nothing half-written.

Most runs happen in a process forked from one that has imported everything already (`_Forkserver`): its own file
descriptors, environment and interpreter exit, without three seconds of imports. What concerns start, worker
processes and signals runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from conftest import write_frames
from PIL import Image

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.images import image_size, read_rgb

if not hasattr(os, "fork"):
    pytest.skip("runs are forked", allow_module_level=True)

# A gap of 1, because a longer one than the clip would add a note.
CHEAP = ("--preset", "handmade", "--workers", "1", "--no-crf", "--size", "64x96", "--gap", "1")
RAFT_ONLY = ("--preset", "handmade", "--workers", "1", "--no-crf", "--size", "128x160", "--gap", "1", "--flow")
# A proxy that refuses at once stands for a machine without a network.
NO_NETWORK = {
    name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
} | {"no_proxy": "", "NO_PROXY": ""}

_FORKSERVER = """
import gc, json, os, resource, signal, sys, time, traceback
import cv2, numpy, PIL.Image, scipy.ndimage, scipy.sparse.linalg, torch, torchvision.models.optical_flow, timm
import psutil, safetensors.torch
from flowcut_napari import cli
from flowcut_napari.commands import bench, demo, masks, weights

gc.freeze()
answers = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    task = json.loads(line)
    pid = os.fork()
    if pid == 0:
        break
    end = time.monotonic() + task["timeout"]
    status = None
    while status is None:
        done, value = os.waitpid(pid, os.WNOHANG)
        if done:
            status = os.waitstatus_to_exitcode(value)
        elif time.monotonic() > end:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            status = "timeout"
        else:
            time.sleep(0.005)
    answers.write(json.dumps(status) + "\\n")
    answers.flush()
else:
    sys.exit(0)
os.setsid()
answers.close()
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
for number, key in ((1, "stdout"), (2, "stderr")):
    os.dup2(os.open(task[key], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
os.environ.clear()
os.environ.update(task["environment"])
os.chdir(task["folder"])
for limit, value in task["limits"].items():
    if limit == "RLIMIT_AS":  # so much more than there is already
        value += psutil.Process().memory_info().vms
    resource.setrlimit(getattr(resource, limit), (value, value))
sys.argv = ["flowcut", *task["arguments"]]
code = 1
try:
    cli.main()
except SystemExit as end:
    code = end.code
except BaseException:
    traceback.print_exc()
try:
    sys.stdout.flush()
except OSError as error:
    print(f"Exception ignored: {error!r}", file=sys.stderr)
    code = 120
# The proper end of an interpreter that has torch in it takes a second.
sys.stderr.flush()
os._exit(code or 0)
"""


@dataclass(frozen=True)
class Result:
    """What a run left."""

    code: int | str
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        # Not splitlines(): a terminal starts a new line at a line feed only.
        return self.err.rstrip("\n").split("\n") if self.err else []

    @property
    def errors(self) -> list[str]:
        return [line for line in self.lines if line.startswith("error: ")]

    @property
    def notes(self) -> list[str]:
        return [line for line in self.lines if line.startswith("note: ")]

    @property
    def strays(self) -> list[str]:
        return [line for line in self.lines if not line.startswith(("error: ", "note: "))]

    def fails_with(self, *needles: str, code: int = 2) -> str:
        """Assert one error line that holds all needles, nothing stray beside it, and the exit code; return the line."""
        assert self.code == code, f"exit {self.code}, not {code}: {self.err}"
        assert not self.strays, f"neither error nor note: {self.err}"
        assert len(self.errors) == 1, f"{len(self.errors)} error lines: {self.err}"
        line = self.errors[0]
        assert "unexpected" not in line, line
        for needle in needles:
            assert needle.lower() in line.lower(), f"{needle!r} is not in {line!r}"
        return line

    def succeeds_with_note(self, *needles: str) -> None:
        assert self.code == 0, self.err
        assert not self.strays, self.err
        assert not self.errors, self.err
        assert len(self.notes) == 1, self.err
        for needle in needles:
            assert needle in self.notes[0], self.err

    def succeeds_silently(self) -> None:
        assert (self.code, self.err) == (0, "")


class _Forkserver:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {**os.environ, "HOME": str(folder), "HF_HOME": str(folder / "hf"), **NO_NETWORK}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _FORKSERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def run(
        self,
        arguments: Sequence[str | Path],
        *,
        folder: Path | None = None,
        timeout: float = 60,
        stdout: str | None = None,
        environment: dict[str, str] | None = None,
        limits: dict[str, int] | None = None,
    ) -> Result:
        out, err = self.folder / "stdout", self.folder / "stderr"
        task = {
            "arguments": [os.fspath(argument) for argument in arguments],
            "environment": {**os.environ, **NO_NETWORK, "CUDA_VISIBLE_DEVICES": "", **(environment or {})},
            "folder": str(folder or self.folder),
            "timeout": timeout,
            "stdout": stdout or str(out),
            "stderr": str(err),
            "limits": limits or {},
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the fork server has died"
        texts = (path.read_bytes().decode(errors="surrogateescape") if path.exists() else "" for path in (out, err))
        return Result(json.loads(answer), *texts)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Forkserver]:
    started = _Forkserver(tmp_path_factory.mktemp("forkserver"))
    yield started
    started.close()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_frames(tmp_path / "clip", 3)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def cheap(server: _Forkserver, out: Path) -> Callable[..., Result]:
    """Run `flowcut masks` on tiny frames: videos and further options, then what `_Forkserver.run` takes."""

    def run(*arguments: str | Path, **how: Any) -> Result:
        return server.run(["masks", "-o", out, *CHEAP, *arguments], **how)

    return run


def written(folder: Path) -> list[str]:
    """Return every file in an output folder, hidden ones and those of subfolders included."""
    if not folder.is_dir():
        return []
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def write_video(path: Path, count: int = 30, codec: str = "mp4v") -> Path:
    random = np.random.default_rng(2)
    picture = random.integers(0, 255, (48, 64, 3), dtype=np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (64, 48))
    for index in range(count):
        writer.write(np.roll(picture, 2 * index, axis=1))
    writer.release()
    assert path.stat().st_size > 1000
    return path


def write_ytvis(path: Path, file_names: Any, **more: Any) -> Path:
    path.write_text(json.dumps({"videos": [{"id": 1, "file_names": file_names, **more}]}))
    return path


# --- Where there is no video -------------------------------------------------------------------------------------


def test_a_path_that_is_missing_is_named(cheap: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    cheap(tmp_path / "nope").fails_with(str(tmp_path / "nope"), "no such file")
    assert written(out) == []


def test_a_missing_path_is_one_line_from_a_process_of_its_own_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flowcut_napari.cli", "masks", "nope", "-o", "out", *CHEAP]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    Result(done.returncode, done.stdout, done.stderr).fails_with("nope: no such file")
    assert done.stdout == ""
    assert written(tmp_path / "out") == []


def test_debug_shows_the_traceback(cheap: Callable[..., Result]) -> None:
    assert "Traceback" not in cheap("nope", "--weights", "dino").err
    result = cheap("nope", "--weights", "dino", "--debug")
    assert result.code != 0
    assert "Traceback (most recent call last)" in result.err
    assert "InputError" in result.err


def test_debug_shows_the_traceback_of_a_video_that_fails(cheap: Callable[..., Result]) -> None:
    result = cheap("nope", "--debug")
    assert "Traceback (most recent call last)" in result.err
    assert "InputError" in result.err


def test_an_empty_folder_is_said_to_be_empty(cheap: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    cheap(tmp_path / "bare").fails_with(str(tmp_path / "bare"), "empty")
    assert written(out) == []


def test_a_folder_without_an_image_is_refused(cheap: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    cheap(tmp_path / "texts").fails_with(str(tmp_path / "texts"), "image")
    assert written(out) == []


def test_a_folder_of_folders_names_one_of_them(cheap: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    write_frames(tmp_path / "many" / "inner", 1)
    cheap(tmp_path / "many").fails_with(str(tmp_path / "many" / "inner"), "folder")
    assert written(out) == []


def test_an_empty_address_is_not_the_folder_one_stands_in(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    """An unset variable of a shell script must not set everything in the current folder to work."""
    cheap("", folder=clip).fails_with("video")
    assert written(out) == []


def test_an_empty_output_folder_is_not_the_folder_one_stands_in(
    server: _Forkserver, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    server.run(["masks", clip, "-o", "", *CHEAP], folder=tmp_path / "here").fails_with("out")
    assert written(tmp_path / "here") == []


def test_a_loop_of_links_is_refused(cheap: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    cheap(tmp_path / "loop").fails_with(str(tmp_path / "loop"))


def test_a_path_too_long_for_the_system_is_refused(cheap: Callable[..., Result]) -> None:
    cheap("x" * 300).fails_with("xxx", "name too long")


@pytest.mark.parametrize("suffix", [".mp4", ".json"])
def test_a_pipe_in_place_of_a_file_does_not_hang(cheap: Callable[..., Result], tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"pipe{suffix}")
    cheap(tmp_path / f"pipe{suffix}", timeout=3).fails_with(f"pipe{suffix}")


def test_a_file_that_is_no_video_says_what_is_expected(cheap: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    cheap(tmp_path / "a.txt").fails_with("a.txt", ".mp4", "folder of images")


# --- Folders of images -------------------------------------------------------------------------------------------


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


def cut_jpeg(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])


def cut_to_nothing(path: Path) -> None:
    path.write_bytes(b"")


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


# --- Video files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"just a text\n" * 40, b"\0" * 4096])
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_file_that_only_calls_itself_a_video_is_refused(
    cheap: Callable[..., Result], out: Path, tmp_path: Path, suffix: str, content: bytes
) -> None:
    (tmp_path / f"fake{suffix}").write_bytes(content)
    cheap(tmp_path / f"fake{suffix}").fails_with(str(tmp_path / f"fake{suffix}"))
    assert written(out) == []


def test_an_mp4_cut_short_is_refused(cheap: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cheap(path).fails_with("cut.mp4")
    assert written(out) == []


def test_an_avi_cut_short_gives_the_frames_that_are_left_and_a_note(
    cheap: Callable[..., Result], out: Path, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "cut.avi", codec="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = cheap(path, "--frames", "0")
    if result.code:
        result.fails_with("cut.avi")
        assert written(out) == []
    else:
        result.succeeds_with_note("cut.avi", "30 frames")
        assert written(out) == ["cut.masks.json"]


def test_a_video_damaged_in_the_middle_leaves_no_chatter_of_the_decoder(
    cheap: Callable[..., Result], tmp_path: Path, random: np.random.Generator
) -> None:
    path = write_video(tmp_path / "hit.mp4")
    data = bytearray(path.read_bytes())
    for place in random.integers(200, len(data) // 2, 200):
        data[place] = int(random.integers(0, 256))
    path.write_bytes(data)
    result = cheap(path, "--frames", "0:30:10")
    assert not result.strays, result.err
    assert result.code in (0, 2)


def test_naming_a_video_inside_a_video_file_is_refused(cheap: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    path = write_video(tmp_path / "whole.mp4", 3)
    cheap(f"{path}::part").fails_with("part", "whole.mp4")
    assert written(out) == []


# --- DAVIS roots and YouTube-VIS json ----------------------------------------------------------------------------


def test_an_unknown_sequence_of_a_davis_root_lists_the_known_ones(
    cheap: Callable[..., Result], out: Path, tmp_path: Path
) -> None:
    write_frames(tmp_path / "root" / "JPEGImages" / "480p" / "camel", 2)
    for wanted in ("goat", "", "../480p/camel"):
        cheap(f"{tmp_path / 'root'}::{wanted}").fails_with(repr(wanted), "camel")
    cheap(f"{tmp_path / 'root' / 'JPEGImages' / '480p' / 'camel'}::goat").fails_with("goat")
    assert written(out) == []


def test_a_davis_root_without_sequences_is_refused(cheap: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "root" / "JPEGImages").mkdir(parents=True)
    cheap(tmp_path / "root").fails_with(str(tmp_path / "root"), "no sequences")


def test_one_bad_sequence_of_a_davis_root_does_not_stop_the_others(
    cheap: Callable[..., Result], out: Path, tmp_path: Path
) -> None:
    base = tmp_path / "root" / "JPEGImages" / "480p"
    for name in ("bad", "good"):
        write_frames(base / name, 2)
    cut_to_nothing(base / "bad" / "00001.png")
    result = cheap(tmp_path / "root")
    assert written(out) == ["good.masks.json"]
    assert result.code == 1
    assert not result.strays
    assert "00001.png" in result.err


@pytest.mark.parametrize(
    "file", ["../../etc/passwd", "/etc/passwd", "frames/../../secret.png", "..", "..\\secret.png", "C:\\secret.png"]
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_json_that_points_outside_its_folder_is_refused(
    cheap: Callable[..., Result], out: Path, tmp_path: Path, file: str, place: int
) -> None:
    write_frames(tmp_path / "frames", 2)
    (tmp_path / "secret.png").write_bytes((tmp_path / "frames" / "00000.png").read_bytes())
    files = ["frames/00000.png", "frames/00001.png"]
    files.insert(place, file)
    cheap(write_ytvis(tmp_path / "set.json", files)).fails_with("set.json", "outside")
    assert written(out) == []


@pytest.mark.parametrize("file", ["v/9.png", "", "v/with\0nul.png", "v/" + "x" * 300 + ".png"])
@pytest.mark.parametrize("place", [0, 2])
def test_a_json_whose_frames_are_missing_names_the_frame(
    cheap: Callable[..., Result], out: Path, tmp_path: Path, file: str, place: int
) -> None:
    write_frames(tmp_path / "v", 2)
    files = ["v/00000.png", "v/00001.png"]
    files.insert(place, file)
    line = cheap(write_ytvis(tmp_path / "set.json", files)).fails_with()
    assert "set.json" in line or "v/" in line
    assert "\0" not in line
    assert written(out) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "no json",
        "[]",
        "null",
        "7",
        "{}",
        '{"videos": []}',
        '{"videos": {}}',
        '{"videos": [1]}',
        '{"videos": [{}]}',
        '{"videos": [{"file_names": []}]}',
        '{"videos": [{"file_names": [1]}]}',
        '{"videos": [{"file_names": "v/00000.png"}]}',
        '{"schema": "flowcut.masks/1", "frames": []}',
        '{"videos": [{"id": "abc", "file_names": ["v/00000.png"]}]}',
        '{"videos": [{"id": null, "file_names": ["v/00000.png"]}]}',
        '{"videos": [{"id": 1e999, "file_names": ["v/00000.png"]}]}',
        "[" * 200_000,
        '{"videos": ' + "1" * 5000 + "}",
        "\ufeff{}",
    ],
    ids=lambda text: text[:44],
)
def test_a_json_of_another_kind_is_refused(cheap: Callable[..., Result], out: Path, tmp_path: Path, text: str) -> None:
    write_frames(tmp_path / "v", 1)
    path = tmp_path / "set.json"
    path.write_text(text)
    cheap(path).fails_with(str(path))
    assert written(out) == []


def test_a_json_in_no_known_encoding_is_refused(cheap: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "set.json").write_bytes(bytes(range(128, 256)))
    cheap(tmp_path / "set.json").fails_with("set.json", "json")


def test_no_video_of_a_json_is_lost_when_ids_repeat(cheap: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    write_frames(tmp_path / "v", 3)
    videos = [{"id": 1, "file_names": [f"v/0000{index}.png"]} for index in range(3)]
    (tmp_path / "set.json").write_text(json.dumps({"videos": videos}))
    result = cheap(tmp_path / "set.json")
    if result.code:
        result.fails_with("set.json")
    else:
        assert len(written(out)) == 3


# --- Numbers, names, options -------------------------------------------------------------------------------------

_NUMBERS = [
    (option, value)
    for option, values in {
        "--alpha": ("-0.1", "1.1", "nan", "inf", "much", "", "0,5"),
        "--tau": ("-0.1", "1", "nan", "-inf", "abc"),
        "--gap": ("0", "-1", "10001", "1.5", "nan", "four", "9" * 30, "9" * 5000),
        "--max-instances": ("0", "51", "x"),
        "--min-area": ("1", "-1", "nan"),
        "--min-flow": ("-1", "nan", "inf"),
        "--size": ("64", "64x", "x96", "64x96x3", "axb", "31x64", "64x8193", "-64x96", "", "6.4x96", "²x96", "64*96"),
        "--workers": ("0", "-1", "two", "1.5"),
    }.items()
    for value in values
]


@pytest.mark.parametrize(("option", "value"), _NUMBERS, ids=[f"{option} {value[:12]}" for option, value in _NUMBERS])
def test_a_value_that_cannot_be_is_refused_by_name(
    cheap: Callable[..., Result], out: Path, clip: Path, option: str, value: str
) -> None:
    line = cheap(clip, option, value).fails_with()
    names = ("height", "width", "size") if option == "--size" else (option.strip("-").replace("-", "_"), option)
    assert any(name in line for name in names), line
    assert written(out) == []


@pytest.mark.parametrize(
    "value", ["abc", "1:2:3:4", "0:3:0", "5:2", "99", "3:", "", " ", "1.5", "0-3", "1e3", "9" * 5000, "-7"]
)
def test_frames_that_are_nonsense_or_select_nothing_are_refused(
    cheap: Callable[..., Result], out: Path, clip: Path, value: str
) -> None:
    cheap(clip, "--frames", value).fails_with("--frames")
    assert written(out) == []


def test_nonsense_for_frames_is_said_once_not_for_every_video(
    cheap: Callable[..., Result], clip: Path, tmp_path: Path
) -> None:
    cheap(clip, write_frames(tmp_path / "other", 2), "--frames", "abc").fails_with("--frames abc")


@pytest.mark.parametrize(
    ("arguments", "needles"),
    [
        (("--preset", "best"), ("best", "handmade", "tokencut")),
        (("--preset", ""), ("preset", "handmade")),
        (("--flow", "farneback"), ("farneback", "raft-small")),
        (("--device", "gpu"), ("gpu", "cuda")),
        (("--device", ""), ("device", "cpu")),
        (("--device", "cuda:x"), ("cuda:x", "cpu")),
        (("--device", "cuda:-1"), ("cuda:-1", "cpu")),
        (("--device", "cuda:²"), ("cuda:²", "cpu")),
        (("--device", "cuda:"), ("cuda", "cpu")),
        (("--device", "meta"), ("meta", "cpu")),
        (("--device", "mps"), ("mps", "cpu")),
        (("--device", "cuda"), ("cuda", "0 CUDA device", "--device cpu")),
        (("--device", "cuda:7"), ("cuda:7", "--device cpu")),
        (("--features", "vit_of_my_dreams"), ("vit_of_my_dreams", "dino", "timm")),
        (("--features", ""), ("features",)),
        (("--features", "dis"), ("dis", "dino", "timm")),
        (("--features", "raft-small"), ("raft-small",)),
        (("--features", "../../etc/passwd"), ("etc/passwd", "dino")),
        (("--colour", "red"), ("--colour", "--help")),
        (("--alpha",), ("--alpha", "argument")),
        (("--weights", "dino"), ("--weights dino", "NAME=PATH")),
        (("--weights", "=x.pth"), ("--weights =x.pth", "NAME=PATH")),
        (("--weights", "dino="), ("--weights dino=", "NAME=PATH")),
        (("--weights", ""), ("--weights", "NAME=PATH")),
        (("--weights", "dino=x.pth"), ("dino", "handmade", "dis")),
        (("--weights", "dis=x.pth"), ("dis", "weights")),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("--") else "",
)
def test_an_unknown_name_is_refused_with_the_known_ones(
    cheap: Callable[..., Result], out: Path, clip: Path, arguments: tuple[str, ...], needles: tuple[str, ...]
) -> None:
    cheap(clip, *arguments).fails_with(*needles)
    assert written(out) == []


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        (["mask"], "mask"),
        (["masks"], "VIDEO"),
        (["masks", "clip"], "--out"),
        (["masks", "-o", "out"], "VIDEO"),
        (["weights", "steal"], "steal"),
        (["weights", "fetch", "nope"], "nope"),
        (["weights", "fetch", "raft-huge"], "raft-huge"),
        (["weights", "fetch", "handmade"], "handmade"),
        (["weights", "fetch", "dino"], "dino"),
        (["bench", "nope"], "nope"),
        (["bench", "--repeats", "2"], "repeats"),
        (["bench", "--preset", "x"], "preset"),
        (["demo", "--colour"], "--colour"),
        (["demo", "-o", "/proc/nope/out"], "/proc/nope"),
        (["--colour"], "--colour"),
    ],
    ids=" ".join,
)
def test_a_command_that_cannot_be_is_refused(
    server: _Forkserver, tmp_path: Path, arguments: list[str], needle: str
) -> None:
    result = server.run(arguments, folder=tmp_path)
    result.fails_with(needle)
    assert result.out == ""
    assert written(tmp_path) == []


@pytest.mark.parametrize("arguments", [[], ["weights"]], ids=["flowcut", "flowcut weights"])
def test_no_command_at_all_shows_the_help_and_not_an_error(server: _Forkserver, arguments: list[str]) -> None:
    result = server.run(arguments)
    assert "Usage" in result.out + result.err
    assert len((result.out + result.err).splitlines()) > 5
    assert not result.errors
    assert "Traceback" not in result.err
    assert result.code in (0, 2)


def test_bench_of_a_single_frame_is_one_line_or_a_table(server: _Forkserver, tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "one", 1)
    arguments = ["bench", folder, "--preset", "handmade", "--no-crf", "--size", "64x96", "--repeats", "3", "--no-large"]
    result = server.run(arguments)
    if result.code:
        result.fails_with("one", "frame")
    assert not result.strays, result.err


@pytest.mark.parametrize("size", ["32x32", "32x96", "32x4000"])
def test_the_smallest_size_allowed_works(cheap: Callable[..., Result], out: Path, clip: Path, size: str) -> None:
    cheap(clip, "--size", size).succeeds_silently()
    assert written(out) == ["clip.masks.json"]


def test_a_size_that_memory_does_not_hold_is_one_line_that_says_so(
    cheap: Callable[..., Result], out: Path, clip: Path
) -> None:
    # 22,500 patches: a matrix of theirs takes 2 GB in single precision.
    cheap(clip, "--size", "2400x2400", "--frames", "0", limits={"RLIMIT_AS": 10**9}).fails_with("memory", "--size")
    assert written(out) == []


@pytest.mark.parametrize("epoch", ["yesterday", "1e30", "nan"])
def test_a_wrong_source_date_epoch_is_refused(cheap: Callable[..., Result], out: Path, clip: Path, epoch: str) -> None:
    cheap(clip, environment={"SOURCE_DATE_EPOCH": epoch}).fails_with("SOURCE_DATE_EPOCH", epoch)
    assert written(out) == []


# --- Weights -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def raft_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of the right form."""
    import torch
    from torchvision.models.optical_flow import raft_small as build

    path = tmp_path_factory.mktemp("weights") / "raft_small.pth"
    torch.save(build(weights=None).state_dict(), path)
    return path


@pytest.fixture
def with_weights(server: _Forkserver, out: Path, clip: Path) -> Callable[..., Result]:
    """Run with one weights file for one flow model."""

    def run(path: Path, name: str = "raft-small", **how: Any) -> Result:
        return server.run(["masks", clip, "-o", out, *RAFT_ONLY, name, "--weights", f"{name}={path}"], **how)

    return run


def test_without_weights_and_network_both_ways_out_are_named(server: _Forkserver, out: Path, clip: Path) -> None:
    cache, folder = os.environ["FLOWCUT_CACHE"], str(out.parent / "my weights")
    environment = {"FLOWCUT_WEIGHTS": folder}
    result = server.run(["masks", clip, "-o", out, "--preset", "flowcut"], environment=environment, timeout=30)
    result.fails_with("dino_deitsmall16_pretrain.pth", "raft", cache, folder, "--weights dino=", "--preset handmade")
    assert written(out) == []
    assert written(Path(cache)) == []


def test_a_weights_file_that_is_missing_is_named(with_weights: Callable[..., Result], tmp_path: Path) -> None:
    with_weights(tmp_path / "absent.pth").fails_with("absent.pth", "no such file", "raft-small")
    with_weights(tmp_path).fails_with(str(tmp_path), "raft-small")


def test_a_home_that_does_not_exist_is_refused(with_weights: Callable[..., Result]) -> None:
    with_weights(Path("~nobody-of-this-name/raft.pth")).fails_with("~nobody-of-this-name")


@pytest.mark.parametrize("variable", ["FLOWCUT_WEIGHTS", "FLOWCUT_CACHE"])
def test_a_folder_in_a_home_that_does_not_exist_is_refused(
    server: _Forkserver, out: Path, clip: Path, variable: str
) -> None:
    arguments = ["masks", clip, "-o", out, *CHEAP, "--flow", "raft-small"]
    server.run(arguments, environment={variable: "~nobody-of-this-name/x"}).fails_with("~nobody-of-this-name")


def garbage(path: Path, sound: Path) -> None:
    path.write_bytes(bytes(range(256)) * 40)


def nothing(path: Path, sound: Path) -> None:
    path.write_bytes(b"")


def cut_short(path: Path, sound: Path) -> None:
    path.write_bytes(sound.read_bytes()[: sound.stat().st_size // 2])


def web_page(path: Path, sound: Path) -> None:
    path.write_text("<!DOCTYPE html><title>Sign in</title>")


def lfs_pointer(path: Path, sound: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def of_another_model(path: Path, sound: Path) -> None:
    import torch

    torch.save(torch.nn.Linear(3, 2).state_dict(), path)


def with_nan(path: Path, sound: Path) -> None:
    _change(path, sound, lambda tensor: tensor.index_fill(0, tensor.new_tensor([0]).long(), float("nan")))


def with_infinity(path: Path, sound: Path) -> None:
    _change(path, sound, lambda tensor: tensor * float("inf"))


def of_another_shape(path: Path, sound: Path) -> None:
    _change(path, sound, lambda tensor: tensor[:-1])


def complex_numbers(path: Path, sound: Path) -> None:
    _change(path, sound, lambda tensor: tensor * 1j * float("nan"))


def without_storage(path: Path, sound: Path) -> None:
    import torch

    torch.save({name: value.to("meta") for name, value in torch.load(sound, weights_only=True).items()}, path)


def numbered(path: Path, sound: Path) -> None:
    import torch

    torch.save({0: torch.zeros(2)}, path)


def a_list(path: Path, sound: Path) -> None:
    import torch

    torch.save([torch.zeros(2)], path)


def a_number(path: Path, sound: Path) -> None:
    import torch

    torch.save(7, path)


def looks_like_torchscript(path: Path, sound: Path) -> None:
    shutil.copyfile(sound, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{sound.stem}/constants.pkl", pickle.dumps((), 2))


def _change(path: Path, sound: Path, change: Callable[[Any], Any]) -> None:
    import torch

    tensors = torch.load(sound, weights_only=True)
    name = next(name for name, value in tensors.items() if name.endswith("weight") and value.ndim == 4)
    tensors[name] = change(tensors[name])
    torch.save(tensors, path)


@pytest.mark.parametrize(
    "spoil",
    [
        garbage,
        nothing,
        cut_short,
        web_page,
        lfs_pointer,
        of_another_model,
        with_nan,
        with_infinity,
        of_another_shape,
        complex_numbers,
        without_storage,
        numbered,
        a_list,
        a_number,
        looks_like_torchscript,
    ],
    ids=lambda spoil: spoil.__name__,
)
def test_spoilt_weights_are_refused_by_name(
    with_weights: Callable[..., Result],
    out: Path,
    tmp_path: Path,
    raft_small: Path,
    spoil: Callable[[Path, Path], None],
) -> None:
    path = tmp_path / "spoilt.pth"
    spoil(path, raft_small)
    line = with_weights(path).fails_with(str(path))
    if spoil in (with_nan, with_infinity):
        assert "nan" in line.lower()
    assert written(out) == []


def test_weights_of_the_small_raft_are_none_of_the_large_one(
    with_weights: Callable[..., Result], out: Path, raft_small: Path
) -> None:
    with_weights(raft_small, "raft-large").fails_with(str(raft_small), "no weights of raft-large")
    assert written(out) == []


class _Payload:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors", ""])
@pytest.mark.parametrize("form", ["zip", "pickle", "old"])
def test_code_in_weights_is_refused_and_never_runs(
    with_weights: Callable[..., Result], out: Path, tmp_path: Path, form: str, suffix: str
) -> None:
    import torch

    trace = tmp_path / "it ran"
    payload = {"weight": torch.zeros(2), "evil": _Payload(f"touch '{trace}'")}
    path = tmp_path / f"evil{suffix}"
    if form == "pickle":
        path.write_bytes(pickle.dumps(payload["evil"]))
    else:
        torch.save(payload, path, _use_new_zipfile_serialization=form == "zip")
    line = with_weights(path).fails_with(str(path))
    assert not trace.exists()
    if suffix == ".pth":
        assert "code" in line
    assert written(out) == []
    # The trap is a real one.
    if form == "pickle" and suffix == ".pth":
        pickle.loads(path.read_bytes())
        assert trace.exists()


@pytest.mark.parametrize("keep", [0, 4, 8, 200, -1])
def test_a_safetensors_file_cut_short_is_refused(
    with_weights: Callable[..., Result], out: Path, tmp_path: Path, raft_small: Path, keep: int
) -> None:
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "short.safetensors"
    save_file(torch.load(raft_small, weights_only=True), path)
    path.write_bytes(path.read_bytes()[:keep])
    with_weights(path).fails_with(str(path))
    assert written(out) == []


@pytest.mark.parametrize(
    ("name", "needle"),
    [
        ("resnet18", "vision transformer"),
        ("swin_tiny_patch4_window7_224", "vision transformer"),
        ("vit_tiny_patch16_224.no_such_tag", "no_such_tag"),
        ("vit_tiny_patch16_224", "no weights of vit_tiny_patch16_224"),
        ("vit_tiny_patch16_224", "raft_small.pth"),
    ],
)
def test_features_that_cannot_be_made_are_refused(
    cheap: Callable[..., Result], out: Path, clip: Path, raft_small: Path, name: str, needle: str
) -> None:
    cheap(clip, "--features", name, "--weights", f"{name}={raft_small}").fails_with(name, needle)
    assert written(out) == []


def test_a_wrong_model_is_found_out_before_weights_are_asked_for(cheap: Callable[..., Result], clip: Path) -> None:
    cheap(clip, "--features", "resnet18").fails_with("resnet18", "vision transformer")


def test_weights_given_twice_for_one_model_are_refused(
    with_weights: Callable[..., Result], server: _Forkserver, out: Path, clip: Path, raft_small: Path
) -> None:
    twice = ["--weights", f"raft-small={raft_small}", "--weights", "raft-small=/nope/other.pth"]
    server.run(["masks", clip, "-o", out, *RAFT_ONLY, "raft-small", *twice[2:], *twice[:2]]).fails_with("raft-small")


@pytest.mark.parametrize("record", ["{", "[]", "{}", '{"sha256": "00"}'])
def test_weights_whose_record_does_not_fit_are_bad(server: _Forkserver, raft_small: Path, record: str) -> None:
    folder = Path(os.environ["FLOWCUT_CACHE"]) / "weights"
    folder.mkdir(parents=True)
    name = "raft_small_C_T_V2-01064c6d.pth"
    shutil.copyfile(raft_small, folder / name)
    (folder / f"{name}.json").write_text(record)
    result = server.run(["weights", "verify"])
    assert result.code == 1
    assert "BAD" in result.out
    assert name in result.out
    assert not result.strays


# --- Output ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nope/out", "/dev/null/out", "x" * 300])
def test_an_output_folder_that_cannot_be_is_refused_before_anything_is_read(
    server: _Forkserver, tmp_path: Path, clip: Path, place: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    server.run(["masks", clip, "-o", place, *CHEAP], folder=tmp_path).fails_with(place, "cannot write")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_folder_without_permission_is_refused(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    out.mkdir(mode=0o500)
    cheap(clip).fails_with(str(out), "permission")


def test_a_full_disk_leaves_no_masks_file(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    cheap(clip, "--no-cache", limits={"RLIMIT_FSIZE": 500}).fails_with("clip.masks.json", "cannot be written")
    assert written(out) == []


def test_a_full_disk_leaves_the_masks_that_were_there(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    assert cheap(clip).code == 0
    before = (out / "clip.masks.json").read_bytes()
    cheap(clip, "--no-cache", limits={"RLIMIT_FSIZE": 500}).fails_with("clip.masks.json", "cannot be written")
    assert written(out) == ["clip.masks.json"]
    assert (out / "clip.masks.json").read_bytes() == before


def test_a_full_disk_for_the_preview_leaves_no_half_picture(
    cheap: Callable[..., Result], out: Path, tmp_path: Path
) -> None:
    folder = write_frames(tmp_path / "big", 3, size=(240, 320))
    line = cheap(folder, "--preview", "--no-cache", limits={"RLIMIT_FSIZE": 30_000}).fails_with("preview")
    assert str(out) in line
    assert "big.masks.json" in written(out)
    for picture in out.rglob("*.png"):
        Image.open(picture).load()


def test_something_in_the_way_of_the_preview_is_named(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    out.mkdir()
    (out / "clip.preview").write_text("a file")
    cheap(clip, "--preview").fails_with("clip.preview")


@pytest.mark.parametrize(("trouble", "workers"), [("full", "1"), ("file", "1"), ("proc", "1"), ("file", "2")])
def test_a_cache_that_cannot_be_written_is_noted_and_does_no_harm(
    cheap: Callable[..., Result], server: _Forkserver, out: Path, clip: Path, trouble: str, workers: str
) -> None:
    cache = Path(os.environ["FLOWCUT_CACHE"])
    limits = {}
    if trouble == "full":
        limits = {"RLIMIT_FSIZE": 20_000}
    elif trouble == "file":
        cache.write_text("in the way")
    else:
        cache = Path("/proc/nope/cache")
    arguments = ["masks", str(clip), "-o", str(out), *CHEAP, "--workers", workers]
    environment = {"FLOWCUT_CACHE": str(cache)}
    if workers == "1":
        result = server.run(arguments, limits=limits, environment=environment)
    else:
        command = [sys.executable, "-m", "flowcut_napari.cli", *arguments]
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)
        result = Result(done.returncode, done.stdout, done.stderr)
    assert written(out) == ["clip.masks.json"]
    assert not [path for path in cache.rglob("*.part")]
    result.succeeds_with_note("cache", str(cache))


def test_a_damaged_cache_entry_is_made_anew(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    assert cheap(clip).code == 0
    first = json.loads((out / "clip.masks.json").read_text())["frames"]
    entries = sorted(Path(os.environ["FLOWCUT_CACHE"]).rglob("*.npy"))
    assert len(entries) > 3
    for place, entry in enumerate(entries):
        data = entry.read_bytes()
        entry.write_bytes((b"", data[:-10], b"garbage", data[:60])[place % 4])
    cheap(clip).succeeds_silently()
    assert json.loads((out / "clip.masks.json").read_text())["frames"] == first


@pytest.fixture
def decided(cheap: Callable[..., Result], out: Path, clip: Path) -> Path:
    """Return a masks file that holds a decision."""
    assert cheap(clip).code == 0
    path = out / "clip.masks.json"
    content = json.loads(path.read_text())
    content["decisions"] = {"0": {"1": "accepted"}}
    path.write_text(json.dumps(content))
    return path


def test_decisions_are_not_overwritten_unless_told_to(
    cheap: Callable[..., Result], decided: Path, out: Path, clip: Path
) -> None:
    before = decided.read_bytes()
    cheap(clip).fails_with(str(decided), "by hand", "--overwrite")
    assert decided.read_bytes() == before
    assert written(out) == ["clip.masks.json"]
    assert cheap(clip, "--overwrite").code == 0
    assert json.loads(decided.read_text())["decisions"] == {}


@pytest.mark.parametrize("origin", ["edited", "drawn"])
def test_masks_made_by_hand_are_not_overwritten(
    cheap: Callable[..., Result], decided: Path, clip: Path, origin: str
) -> None:
    content = json.loads(decided.read_text())
    content["decisions"] = {}
    content["frames"][1]["instances"][0]["origin"] = origin
    decided.write_text(json.dumps(content))
    before = decided.read_bytes()
    cheap(clip).fails_with(str(decided), "by hand", "--overwrite")
    assert decided.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"schema": "flowcut.masks/99"}',
        '{"schema": "flowcut.masks/1"}',
        '{"schema": "flowcut.masks/1", "video": null, "frames": 3}',
        "[" * 200_000,
    ],
    ids=lambda text: text[:30],
)
def test_a_masks_file_that_is_garbage_is_kept_unless_told(
    cheap: Callable[..., Result], out: Path, clip: Path, text: str
) -> None:
    out.mkdir()
    path = out / "clip.masks.json"
    path.write_text(text)
    cheap(clip).fails_with(str(path), "--overwrite")
    assert path.read_text() == text
    assert written(out) == ["clip.masks.json"]
    assert cheap(clip, "--overwrite").code == 0
    assert json.loads(path.read_text())["schema"] == "flowcut.masks/1"


def test_a_folder_in_place_of_the_masks_file_is_named(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    (out / "clip.masks.json").mkdir(parents=True)
    for more in ((), ("--overwrite",)):
        cheap(clip, *more).fails_with(str(out / "clip.masks.json"))
    assert written(out) == []


@pytest.mark.parametrize("length", [240, 250])
def test_a_video_with_a_very_long_name_works_or_is_refused_by_name(
    cheap: Callable[..., Result], out: Path, tmp_path: Path, length: int
) -> None:
    folder = write_frames(tmp_path / ("n" * length), 2)
    result = cheap(folder)
    if result.code:
        result.fails_with("nnn", "too long")
        assert written(out) == []
    else:
        assert len(written(out)) == 1


def test_a_full_standard_output_is_one_line(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    for more in ((), ("--json",)):
        result = cheap(clip, *more, stdout="/dev/full")
        assert "Traceback" not in result.err
        assert not result.strays, result.err
        assert len(result.errors) == 1
        assert result.code in (1, 2)
    assert written(out) == ["clip.masks.json"]


@pytest.mark.parametrize("more", [(), ("--json",)], ids=["text", "json"])
def test_a_reader_that_went_away_leaves_no_traceback(out: Path, clip: Path, more: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "flowcut_napari.cli", "masks", str(clip), "-o", str(out), *CHEAP]
    done = subprocess.run([*command, *more], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert written(out) == ["clip.masks.json"]


# --- Odd names ---------------------------------------------------------------------------------------------------

_ODD_NAMES = [
    "two  spaces",
    " edge ",
    "-dash",
    "été Ünïcode 視頻",
    "emoji 🐟",
    "[bold]",
    "[/red]",
    "a[/]b",
    "$(touch x);&|'\"",
    "%s{0}",
    "tab\tbed",
    "line\nfeed",
    "\x1b[31mred",
    "..dots..",
    "a::b",
    "a=b",
    os.fsdecode(b"bad \xff byte"),
]


@pytest.mark.parametrize("name", _ODD_NAMES, ids=ascii)
def test_a_video_and_an_output_folder_of_any_name_work(server: _Forkserver, tmp_path: Path, name: str) -> None:
    folder = write_frames(tmp_path / "in" / name, 2)
    out = tmp_path / "out" / name
    result = server.run(["masks", folder, "-o", out, *CHEAP])
    result.succeeds_silently()
    files = written(out)
    assert len(files) == 1
    if name.isprintable() and name.isascii():
        assert name in result.out
    assert files[0].endswith(".masks.json")
    content = json.loads((out / files[0]).read_text())
    assert content["video"]["path"] == str(folder)
    assert content["frames"][0]["file"] == "00000.png"
    assert written(tmp_path / "out") == [f"{name}/{files[0]}"]


@pytest.mark.parametrize("name", _ODD_NAMES, ids=ascii)
def test_an_error_about_any_name_is_one_clean_line(server: _Forkserver, tmp_path: Path, name: str) -> None:
    result = server.run(["masks", tmp_path / name, "-o", tmp_path / "out", *CHEAP])
    line = result.fails_with("no such file")
    assert "\x1b" not in line
    assert "\r" not in line
    if name.isprintable() and name.isascii() and "::" not in name:
        assert name in line


def test_a_weights_folder_of_any_name_can_be_listed(server: _Forkserver, tmp_path: Path) -> None:
    result = server.run(["weights", "list"], environment={"FLOWCUT_WEIGHTS": str(tmp_path / "a[/]b[bold]c")})
    result.succeeds_silently()
    assert "a[/]b[bold]c" in result.out


def test_names_that_the_terminal_cannot_show_do_no_harm(server: _Forkserver, tmp_path: Path) -> None:
    folder, out = write_frames(tmp_path / "視頻", 2), tmp_path / "été"
    arguments = ["masks", str(folder), "-o", str(out), *CHEAP]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "flowcut_napari.cli", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(written(out)) == 1


# --- Several videos ----------------------------------------------------------------------------------------------


def test_two_videos_of_one_name_are_refused_before_work_starts(
    cheap: Callable[..., Result], out: Path, tmp_path: Path
) -> None:
    first, second = (write_frames(tmp_path / parent / "same", 2) for parent in ("a", "b"))
    cheap(first, second).fails_with(str(first), str(second), "same")
    assert written(out) == []


def test_one_video_given_twice_is_refused(cheap: Callable[..., Result], out: Path, clip: Path) -> None:
    cheap(clip, clip).fails_with(str(clip), "twice")
    assert written(out) == []


def test_names_that_become_equal_as_file_names_are_refused(
    cheap: Callable[..., Result], out: Path, tmp_path: Path
) -> None:
    first, second = (write_frames(tmp_path / name, 2) for name in ("a b", "a_b"))
    cheap(first, second).fails_with(str(first), str(second), "a_b")
    assert written(out) == []


@pytest.mark.parametrize("how", ["missing", "truncated"])
@pytest.mark.parametrize("order", ["first", "last"])
def test_one_bad_video_of_several_leaves_the_others(
    cheap: Callable[..., Result], out: Path, clip: Path, tmp_path: Path, how: str, order: str
) -> None:
    bad = tmp_path / "bad"
    if how == "truncated":
        write_frames(bad, 3, suffix=".jpg")
        cut_jpeg(bad / "00001.jpg")
    videos = [bad, clip] if order == "first" else [clip, bad]
    result = cheap(*videos)
    assert result.code == 1
    assert not result.strays
    assert not result.notes
    about, summary = result.errors
    assert ("00001.jpg" if how == "truncated" else "no such file") in about
    assert "1 of 2" in summary
    assert "bad" in summary
    assert "clip" not in summary.replace(str(tmp_path), "")
    assert written(out) == ["clip.masks.json"]
    assert "clip" in result.out
    as_json = cheap(*videos, "--json")
    assert as_json.code == 1
    document = json.loads(as_json.out)
    assert [video["video"] for video in document["videos"]] == ["clip"]
    assert [("bad" in failure["video"]) for failure in document["failed"]] == [True]


def test_when_all_videos_fail_the_code_is_two(cheap: Callable[..., Result], out: Path, tmp_path: Path) -> None:
    result = cheap(tmp_path / "one", tmp_path / "two")
    assert result.code == 2
    assert not result.strays
    assert len(result.errors) == 2
    assert written(out) == []
    as_json = cheap(tmp_path / "one", tmp_path / "two", "--json")
    assert as_json.code == 2
    assert json.loads(as_json.out)["videos"] == []
    assert len(json.loads(as_json.out)["failed"]) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("nope",),
        ("--alpha", "2"),
        ("--colour",),
        ("--weights", "dino"),
        ("--frames", "abc"),
        ("--device", "cuda"),
    ],
    ids=" ".join,
)
def test_with_json_stdout_is_one_document_or_nothing_when_things_fail(
    cheap: Callable[..., Result], clip: Path, arguments: tuple[str, ...]
) -> None:
    result = cheap(*(() if arguments == ("nope",) else (clip,)), *arguments, "--json")
    result.fails_with()
    if result.out:
        assert json.loads(result.out)["videos"] == []


def test_with_json_stdout_is_one_document_when_notes_are_given(cheap: Callable[..., Result], tmp_path: Path) -> None:
    result = cheap(write_frames(tmp_path / "one", 1), "--json")
    result.succeeds_with_note("single frame")
    document = json.loads(result.out)
    assert [video["video"] for video in document["videos"]] == ["one"]
    assert document["failed"] == []


# --- Processes and signals ---------------------------------------------------------------------------------------


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """Return a clip of so many frames that no test waits for its end."""
    folder = write_frames(tmp_path / "endless", 40)
    for index in range(40, 4000):
        os.link(folder / f"{index % 40:05d}.png", folder / f"{index:05d}.png")
    return folder


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `flowcut masks` in a session of its own; whatever is left of it is ended afterwards."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "flowcut_napari.cli", "masks", "-o", tmp_path / "out", *CHEAP, "--no-cache"]
        process = subprocess.Popen(
            [*map(str, command), *map(str, arguments)],
            # Files: a worker that stays behind must not keep a pipe open.
            stdout=(tmp_path / "stdout").open("w"),
            stderr=(tmp_path / "stderr").open("w"),
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        for left in in_session(process.pid):
            left.kill()
        process.kill()
        process.wait()


def in_session(session: int) -> list[psutil.Process]:
    """Return the living processes of a session."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.Error):
            continue
    return found


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(process.pid).children():
        try:
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def at_work(process: subprocess.Popen[str]) -> bool:
    """Return whether both workers have computed for a while: their start takes less than this."""
    found = workers_of(process)
    return len(found) == 2 and all(sum(worker.cpu_times()[:2]) > 2.5 for worker in found)


def result_of(process: subprocess.Popen[str], tmp_path: Path, seconds: float = 20) -> Result:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pytest.fail(f"still running after {seconds} s: {(tmp_path / 'stderr').read_text()}")
    return Result(process.returncode, (tmp_path / "stdout").read_text(), (tmp_path / "stderr").read_text())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_interrupt_keeps_finished_videos_and_leaves_nothing_else(
    launch: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    out: Path,
    clip: Path,
    endless: Path,
    workers: str,
) -> None:
    after = write_frames(tmp_path / "zz", 2)
    process = launch(clip, endless, after, "--workers", workers)
    wait_for(lambda: (out / "clip.masks.json").exists())
    time.sleep(0.5)
    # As a terminal does: to every process of the group.
    os.killpg(process.pid, signal.SIGINT)
    result = result_of(process, tmp_path)
    result.fails_with("interrupted", code=130)
    assert written(out) == ["clip.masks.json"]
    assert json.loads((out / "clip.masks.json").read_text())["schema"] == "flowcut.masks/1"
    wait_for(lambda: not in_session(process.pid), 5)


def test_a_worker_that_is_killed_is_one_clear_line_and_no_hang(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path, out: Path, endless: Path
) -> None:
    process = launch(endless, "--workers", "2")
    wait_for(lambda: at_work(process))
    workers_of(process)[0].kill()
    result_of(process, tmp_path).fails_with("endless", "worker", "--workers")
    assert written(out) == []
    wait_for(lambda: not in_session(process.pid), 5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP], ids=lambda number: number.name)
def test_no_worker_outlives_a_run_that_is_ended_from_outside(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path, out: Path, endless: Path, number: signal.Signals
) -> None:
    """As a batch system ends a job at its time limit, or the kernel one that takes too much memory."""
    process = launch(endless, "--workers", "2")
    wait_for(lambda: len(workers_of(process)) == 2)
    time.sleep(1)
    process.send_signal(number)
    assert result_of(process, tmp_path).code != 0
    assert "Traceback" not in (tmp_path / "stderr").read_text()
    assert written(out) == []
    wait_for(lambda: not in_session(process.pid), 5)


def test_no_more_workers_start_than_there_is_work_for(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = launch(write_frames(tmp_path / "two", 2), "--workers", "12")
    most = 0
    while process.poll() is None and most <= 2:
        try:
            most = max(most, len(workers_of(process)))
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    assert most <= 2
