"""Bad input: numbers, names, options. One clear line, the right exit code, nothing half-written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result, _Forkserver, written
from conftest import write_frames

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
