"""Bad input and violence: flowcut batch. One clear line, the right exit code, nothing half-written, nothing lost."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from command_line import (
    Result,
    _Forkserver,
    cut_jpeg,
    cut_to_nothing,
    in_session,
    wait_for,
    workers_of,
    write_video,
    write_ytvis,
    written,
)
from conftest import write_frames

from flowcut_napari.core.decisions import InstanceVerdict
from flowcut_napari.core.store import load_masks, save_masks

METHOD = ("--preset", "handmade", "--no-crf", "--size", "64x96", "--gap", "1", "--no-cache")
MADE = ["a.masks.json", "b.masks.json", "c.masks.json", "held.masks.json"]

# In worker processes, what a test cannot do from outside at the right moment: by the name of the video.
_HOOK = """
import os, signal, sys, time

control = os.environ["CONTROL"]
opened = []

def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        path = arguments[0]
        if "/deadly/0" in path:
            os.kill(os.getpid(), signal.SIGKILL)
        if "/huge/0" in path:
            raise MemoryError("Unable to allocate 1.89 GiB for an array")
        # The first time only its header is read.
        if path.endswith("/held/00002.png"):
            opened.append(path)
            if len(opened) > 1:
                open(f"{control}/is_held", "a").close()
                while not os.path.exists(f"{control}/go"):
                    time.sleep(0.01)
    elif event == "os.rename" and str(arguments[1]).endswith("/fatal.masks.json"):
        if not os.path.exists(f"{control}/was_fatal"):
            open(f"{control}/was_fatal", "a").close()
            os.kill(os.getpid(), signal.SIGKILL)
    elif event == "import" and arguments[0].partition(".")[0] == "flowcut_napari" and "WITHOUT_US" in os.environ:
        raise ModuleNotFoundError("No module named 'flowcut_napari'", name="flowcut_napari")

sys.addaudithook(watch)
"""


@dataclass
class Run:
    """A command in a process and a session of its own, with files for what it says."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def err(self) -> str:
        return (self.folder / "stderr").read_text()

    def workers(self) -> list[psutil.Process]:
        return workers_of(self.process)

    def all_alive(self) -> list[psutil.Process]:
        """Return the living processes of the session."""
        return in_session(self.process.pid)

    def result(self, seconds: float = 40) -> Result:
        """Wait for the end; assert that no process and, unless it was killed, no scratch folder is left."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {seconds} s: {self.err}")
        wait_for(lambda: not self.all_alive(), 5)
        if self.process.returncode != -signal.SIGKILL:
            assert written(self.folder / "scratch") == []
            assert not list((self.folder / "scratch").iterdir())
        return Result(self.process.returncode, (self.folder / "stdout").read_text(), self.err)


class Machine:
    """Starts commands, with hooks in their processes, and ends whatever is left of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.control = folder / "control"
        self.control.mkdir(parents=True)
        (folder / "hook").mkdir()
        (folder / "hook" / "sitecustomize.py").write_text(_HOOK)
        self.started: list[Run] = []

    def start(
        self,
        command: Sequence[str | Path],
        limits: dict[int, int] | None = None,
        ignored: Sequence[signal.Signals] = (),
        **environment: str,
    ) -> Run:
        folder = self.folder / f"run{len(self.started)}"
        (folder / "scratch").mkdir(parents=True)

        def prepare() -> None:
            # A test run started in the background ignores interrupts, and what it starts would inherit that.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            for number in ignored:
                signal.signal(number, signal.SIG_IGN)
            for limit, value in (limits or {}).items():
                resource.setrlimit(limit, (value, value))

        ours = {
            "TMPDIR": str(folder / "scratch"),
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": str(self.folder / "hook"),
            "CONTROL": str(self.control),
        }
        with (folder / "stdout").open("w") as out, (folder / "stderr").open("w") as err:
            process = subprocess.Popen(
                [sys.executable, *map(str, command)],
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **ours, **environment},
                preexec_fn=prepare,
            )
        self.started.append(Run(process, folder))
        return self.started[-1]

    def batch(
        self,
        *arguments: str | Path,
        limits: dict[int, int] | None = None,
        ignored: Sequence[signal.Signals] = (),
        **environment: str,
    ) -> Run:
        command = ["-m", "flowcut_napari.cli", "batch", *METHOD, *arguments]
        return self.start(command, limits, ignored, **environment)

    def is_held(self) -> bool:
        return (self.control / "is_held").exists()

    def go(self) -> None:
        (self.control / "go").touch()

    def end(self) -> None:
        for run in self.started:
            for process in run.all_alive():
                process.kill()
            run.process.kill()
            run.process.wait()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    started = Machine(tmp_path / "machine")
    yield started
    started.end()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of videos; the work on one of them can be held."""
    root = tmp_path_factory.mktemp("dataset")
    for name in ("a", "b", "c", "held"):
        write_frames(root / name, 4)
    return root


@pytest.fixture(scope="module")
def undisturbed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the masks files of a run to which nothing happened."""
    machine = Machine(tmp_path_factory.mktemp("undisturbed"))
    machine.go()
    out = machine.folder / "out"
    try:
        machine.batch(root, "-o", out, "--workers", "1").result().succeeds_silently()
    finally:
        machine.end()
    assert written(out) == sorted([*MADE, "batch.jsonl"])
    return masks_in(out)


@pytest.fixture
def made(undisturbed: dict[str, bytes], out: Path) -> Path:
    """Return an output folder with all masks in it."""
    out.mkdir()
    for name, content in undisturbed.items():
        (out / name).write_bytes(content)
    return out


@pytest.fixture
def forked(server: _Forkserver, out: Path, tmp_path: Path) -> Callable[..., Result]:
    """Run a batch that is to be refused before any process is started."""

    def run(*arguments: str | Path, **how: object) -> Result:
        return server.run(["batch", *METHOD, "-o", out, *arguments], folder=tmp_path, **how)  # type: ignore[arg-type]

    return run


def masks_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.masks.json")}


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what changes when a file is written again, even with the same bytes."""
    status = {path.name: path.stat() for path in folder.glob("*.masks.json")}
    return {name: (item.st_ino, item.st_mtime_ns) for name, item in status.items()}


# What is refused before anything starts


@pytest.mark.parametrize(
    ("arguments", "needles"),
    [
        ((), ("ROOT",)),
        (("nowhere",), ("nowhere", "no such")),
        (("empty",), ("empty", "no video")),
        (("texts",), ("texts", "no video")),
        (("texts/a.txt",), ("a.txt", "not a video")),
        (("good::v",), ("good", "no DAVIS root")),
        (("davis::goat",), ("goat", "bear")),
        (("no_sequences",), ("no_sequences", "no sequences")),
        (("set.json::goat",), ("goat", "set.json")),
        (("",), ("empty address",)),
        (("good", "good"), ("good/v", "twice")),
        (("good", "nowhere"), ("nowhere", "no such")),
        (("good", "--workers", "1", "--scheduler", "tcp://127.0.0.1:9"), ("--workers", "--scheduler")),
        (("good", "--resume", "--overwrite"), ("--resume", "--overwrite")),
        (("good", "--workers", "0"), ("--workers",)),
        (("good", "--workers", "many"), ("--workers",)),
        (("good", "--frames", "a:b"), ("--frames a:b",)),
        (("good", "--alpha", "2"), ("alpha",)),
        (("good", "--preset", "locate"), ("weights", "handmade")),
        (("good", "--preset", "best"), ("best", "handmade")),
        (("good", "--weights", "dino=x.pth"), ("dino", "handmade")),
        (("good", "--scheduler"), ("--scheduler", "argument")),
        (("good", "-o", ""), ("--out",)),
        (("good", "-o", "texts/a.txt"), ("texts/a.txt", "cannot write")),
        (("good", "-o", "/proc/nope/out"), ("/proc/nope/out", "cannot write")),
    ],
    ids=lambda value: " ".join(value)[:60],
)
def test_what_cannot_be_done_at_all_is_refused_before_anything_starts(
    forked: Callable[..., Result], tmp_path: Path, out: Path, arguments: tuple[str, ...], needles: tuple[str, ...]
) -> None:
    for folder in ("empty", "texts", "no_sequences/JPEGImages"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "texts" / "a.txt").write_text("a text")
    write_frames(tmp_path / "good" / "v", 1)
    write_frames(tmp_path / "davis" / "JPEGImages" / "bear", 1)
    write_ytvis(tmp_path / "set.json", ["good/v/00000.png"])
    result = forked("--json", *arguments, timeout=10)
    result.fails_with(*needles)
    if result.out:
        assert json.loads(result.out)["videos"] == []
    assert written(out) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [("v", "V"), ("v", "v.mp4"), ("V.MP4", "v"), ("v.mp4", "v.avi"), ("a b", "a_b")],
)
def test_two_videos_that_would_write_one_file_are_refused(
    forked: Callable[..., Result], tmp_path: Path, out: Path, first: str, second: str
) -> None:
    for name in (first, second):
        if name[-4:].lower() in (".mp4", ".avi"):
            (tmp_path / "root").mkdir(exist_ok=True)
            (tmp_path / "root" / name).write_bytes(b"never opened")
        else:
            write_frames(tmp_path / "root" / name, 1)
    if len(list((tmp_path / "root").iterdir())) < 2:
        pytest.skip("this file system takes them for one")
    forked(tmp_path / "root", timeout=10).fails_with("both write")
    assert written(out) == []


def test_two_videos_of_one_name_in_two_roots_are_refused(
    forked: Callable[..., Result], tmp_path: Path, out: Path
) -> None:
    for root in ("one", "two"):
        write_frames(tmp_path / root / "v", 1)
    forked("one", "two", timeout=10).fails_with("one/v", "two/v")
    assert written(out) == []


def test_pictures_beside_the_videos_do_not_hide_them(machine: Machine, tmp_path: Path, out: Path) -> None:
    """An overview picture in the folder of a dataset is not the dataset: either all is done, or it is said."""
    write_frames(tmp_path / "dataset" / "v", 2)
    shutil.copy(tmp_path / "dataset" / "v" / "00000.png", tmp_path / "dataset" / "overview.png")
    result = machine.batch(tmp_path / "dataset", "-o", out, "--workers", "1").result()
    assert "v.masks.json" in written(out) or any("v" in line for line in result.errors + result.notes), result


@pytest.mark.parametrize(
    ("arguments", "environment", "needles"),
    [
        (("--device", "cuda"), {}, ("cuda", "--device cpu")),
        ((), {"SOURCE_DATE_EPOCH": "yesterday"}, ("SOURCE_DATE_EPOCH", "yesterday")),
    ],
    ids=["no GPU", "SOURCE_DATE_EPOCH"],
)
def test_what_is_wrong_for_all_videos_is_said_once_and_not_for_each(
    machine: Machine,
    root: Path,
    out: Path,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    needles: tuple[str, ...],
) -> None:
    result = machine.batch(root, "-o", out, "--workers", "2", *arguments, **environment).result()
    result.fails_with(*needles)
    assert masks_in(out) == {}


# Damaged videos


def test_damaged_videos_are_a_line_each_and_all_others_are_done_and_the_mended_ones_later(
    machine: Machine, tmp_path: Path, out: Path
) -> None:
    root = tmp_path / "videos"
    for name in ("cut", "first", "last", "nothing", "sizes"):
        write_frames(root / name, 3, suffix=".jpg")
    cut_jpeg(root / "cut" / "00001.jpg")
    cut_to_nothing(root / "nothing" / "00002.jpg")
    write_frames(root / "sizes", 1, size=(32, 32), suffix=".jpg")
    (root / "garbage.mp4").write_bytes(b"no video at all")
    (root / "hollow.mp4").write_bytes(b"")
    write_video(root / "stump.mp4", 30)
    stump = (root / "stump.mp4").read_bytes()
    (root / "stump.mp4").write_bytes(stump[: len(stump) // 2])
    result = machine.batch(root, "-o", out, "--workers", "2").result()
    assert result.code == 1, result.err
    assert not result.strays
    *about, summary = result.errors
    places = ("cut/00001.jpg", "garbage.mp4", "hollow.mp4", "nothing/00002.jpg", "sizes/0000", "stump.mp4")
    for place in places:
        assert sum(place in line for line in about) == 1, f"{place}: {result.err}"
    assert len(about) == len(places)
    assert "unexpected" not in result.err
    assert "6 of 8" in summary
    assert written(out) == ["batch.jsonl", "first.masks.json", "last.masks.json"]
    before = identities(out)

    for name in ("cut", "nothing", "sizes"):
        shutil.rmtree(root / name)
        write_frames(root / name, 3, suffix=".jpg")
    for name in ("garbage.mp4", "hollow.mp4", "stump.mp4"):
        (root / name).unlink()
    again = machine.batch(root, "-o", out, "--workers", "2", "--resume", "--json").result()
    again.succeeds_silently()
    assert json.loads(again.out)["counts"] == {"done": 3, "skipped": 2, "failed": 0}
    assert {name: identities(out)[name] for name in before} == before


def test_a_frame_that_is_a_link_to_nowhere_concerns_its_own_video_alone(
    machine: Machine, tmp_path: Path, out: Path
) -> None:
    for name in ("annexed", "good"):
        write_frames(tmp_path / "videos" / name, 2)
    (tmp_path / "videos" / "annexed" / "00001.png").unlink()
    (tmp_path / "videos" / "annexed" / "00001.png").symlink_to("../nowhere.png")
    result = machine.batch(tmp_path / "videos", "-o", out, "--workers", "1").result()
    assert "annexed/00001.png" in result.errors[0]
    assert sorted(masks_in(out)) == ["good.masks.json"]
    assert result.code == 1


def test_with_json_failures_are_in_the_one_document_too(machine: Machine, tmp_path: Path, out: Path) -> None:
    write_frames(tmp_path / "videos" / "good", 2)
    (tmp_path / "videos" / "bad.mp4").write_bytes(b"no video at all")
    result = machine.batch(tmp_path / "videos", "-o", out, "--workers", "1", "--json").result()
    result.fails_with("bad.mp4", code=1)
    document = json.loads(result.out)
    assert [video["video"] for video in document["videos"]] == ["good"]
    assert [video["video"] for video in document["failed"]] == ["bad"]
    assert document["counts"] == {"done": 1, "skipped": 0, "failed": 1}


def test_memory_that_does_not_suffice_for_one_video_is_a_line_that_says_so(
    machine: Machine, tmp_path: Path, out: Path
) -> None:
    for name in ("good", "huge"):
        write_frames(tmp_path / "videos" / name, 2)
    result = machine.batch(tmp_path / "videos", "-o", out, "--workers", "1").result()
    assert result.code == 1
    assert not result.strays
    about, _summary = result.errors
    assert "unexpected" not in about
    for needle in ("huge", "memory", "--size"):
        assert needle in about
    assert sorted(masks_in(out)) == ["good.masks.json"]


def test_names_of_any_kind_work(machine: Machine, tmp_path: Path, out: Path) -> None:
    names = ["a::b", "[bold]", "line\nfeed", "$(touch x);&|'\"", "視頻", "100%s{0}", os.fsdecode(b"bad \xff byte")]
    for name in names:
        write_frames(tmp_path / "videos" / name, 1)
    result = machine.batch(tmp_path / "videos", "-o", out, "--workers", "1", "--alpha", "1").result()
    assert (result.code, result.err) == (0, "")
    assert len(masks_in(out)) == len(names)


# Violence


def test_workers_killed_in_the_middle_of_a_video_lose_nothing(
    machine: Machine, root: Path, out: Path, undisturbed: dict[str, bytes]
) -> None:
    run = machine.batch(root, "-o", out, "--workers", "2")
    wait_for(machine.is_held)
    workers = run.workers()
    assert len(workers) == 2
    for worker in workers:
        worker.kill()
    machine.go()
    run.result().succeeds_silently()
    assert masks_in(out) == undisturbed
    assert written(out) == sorted([*MADE, "batch.jsonl"])


def test_a_worker_killed_while_it_writes_leaves_no_temporary_file(machine: Machine, tmp_path: Path, out: Path) -> None:
    write_frames(tmp_path / "videos" / "fatal", 2)
    machine.batch(tmp_path / "videos", "-o", out, "--workers", "1").result().succeeds_silently()
    assert (machine.control / "was_fatal").exists()
    assert written(out) == ["batch.jsonl", "fatal.masks.json"]


def test_a_video_that_ends_every_worker_fails_alone(machine: Machine, tmp_path: Path, out: Path) -> None:
    """As one does that takes more memory than there is."""
    for name in ("a", "b", "c", "d", "deadly", "e", "f", "g"):
        write_frames(tmp_path / "videos" / name, 3)
    result = machine.batch(tmp_path / "videos", "-o", out, "--workers", "1").result()
    assert sorted(masks_in(out)) == [f"{name}.masks.json" for name in "abcdefg"]
    assert result.code == 1
    assert not result.strays
    about, summary = result.errors
    assert "deadly" in about
    assert "memory" in about
    assert "1 of 8" in summary
    assert written(out) == sorted([*(f"{name}.masks.json" for name in "abcdefg"), "batch.jsonl"])


def test_a_run_that_was_killed_is_resumed_without_making_anything_twice(
    machine: Machine, root: Path, out: Path, undisturbed: dict[str, bytes]
) -> None:
    run = machine.batch(root, "-o", out, "--workers", "2")
    wait_for(lambda: machine.is_held() and len(masks_in(out)) == 3)
    before = identities(out)
    run.process.kill()
    # Its workers end by themselves, also in the middle of a video: this waits for that.
    assert run.result().code == -signal.SIGKILL
    assert "Traceback" not in run.err
    assert identities(out) == before
    machine.go()
    again = machine.batch(root, "-o", out, "--workers", "1", "--resume", "--json").result()
    again.succeeds_silently()
    assert json.loads(again.out)["counts"] == {"done": 1, "skipped": 3, "failed": 0}
    assert masks_in(out) == undisturbed
    assert {name: identities(out)[name] for name in before} == before
    assert written(out) == sorted([*MADE, "batch.jsonl"])


def test_a_killed_run_leaves_a_journal_that_the_next_one_can_go_on_with(
    machine: Machine, root: Path, made: Path
) -> None:
    """A machine that fails may leave half a line."""
    machine.go()
    (made / "batch.jsonl").write_text('{"at": "2026-01-01T00:00:00Z", "name": "a", "sta')
    machine.batch(root, "-o", made, "--workers", "1", "--resume").result().succeeds_silently()
    whole = []
    for line in (made / "batch.jsonl").read_text().splitlines():
        try:
            whole.append(json.loads(line)["name"])
        except ValueError:
            continue
    assert sorted(whole) == ["a", "b", "c", "held"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_a_run_in_one_line_and_keeps_what_was_finished(
    machine: Machine, root: Path, out: Path, undisturbed: dict[str, bytes], number: signal.Signals
) -> None:
    run = machine.batch(root, "-o", out, "--workers", "2")
    wait_for(lambda: machine.is_held() and len(masks_in(out)) == 3)
    if number == signal.SIGTERM:
        run.process.send_signal(number)
    else:
        # As a terminal does: to every process of the group.
        os.killpg(run.process.pid, number)
    needle = "interrupted" if number == signal.SIGINT else number.name
    run.result(15).fails_with(needle, "kept", code=128 + number)
    assert written(out) == ["a.masks.json", "b.masks.json", "batch.jsonl", "c.masks.json"]
    assert masks_in(out) == {name: undisturbed[name] for name in MADE[:3]}


def test_an_impatient_user_who_interrupts_again_and_again_sees_no_traceback(
    machine: Machine, root: Path, out: Path
) -> None:
    run = machine.batch(root, "-o", out, "--workers", "2")
    wait_for(machine.is_held)
    for _ in range(6):
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGINT)
        time.sleep(0.15)
    run.process.wait(15)
    wait_for(lambda: not run.all_alive(), 5)
    assert "Traceback" not in run.err
    Result(run.process.returncode, "", run.err).fails_with("interrupted", code=130)
    assert all(name.endswith(".masks.json") or name == "batch.jsonl" for name in written(out))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("after", [0.0, 0.5])
def test_a_signal_while_workers_are_starting_is_one_line(
    machine: Machine, root: Path, out: Path, number: signal.Signals, after: float
) -> None:
    run = machine.batch(root, "-o", out, "--workers", "2")
    wait_for(lambda: run.workers() or run.process.poll() is not None)
    time.sleep(after)
    os.killpg(run.process.pid, number)
    code = 128 + number
    run.result(15).fails_with("interrupted" if number == signal.SIGINT else number.name, code=code)
    assert all(name.endswith(".masks.json") or name == "batch.jsonl" for name in written(out))


def test_a_second_run_into_the_same_folder_is_refused_at_once_and_the_first_goes_on(
    machine: Machine, forked: Callable[..., Result], root: Path, out: Path, undisturbed: dict[str, bytes]
) -> None:
    run = machine.batch(root, "-o", out, "--workers", "2")
    wait_for(machine.is_held)
    for more in ((), ("--resume",), ("--overwrite",), ("--workers", "1")):
        started = time.monotonic()
        forked(root, *more, timeout=20).fails_with(str(out), "another batch")
        assert time.monotonic() - started < 3
    assert run.process.poll() is None
    machine.go()
    run.result().succeeds_silently()
    assert masks_in(out) == undisturbed
    assert written(out) == sorted([*MADE, "batch.jsonl"])


def test_what_a_person_decides_while_the_video_is_made_again_is_kept(machine: Machine, root: Path, made: Path) -> None:
    run = machine.batch(root, "-o", made, "--workers", "1")
    wait_for(machine.is_held)
    masks = load_masks(made / "held.masks.json")
    decided = masks.decide(InstanceVerdict((0, masks.frames[0].instances[0].id), "reject", by="me"))
    save_masks(decided, made / "held.masks.json")
    machine.go()
    run.result().succeeds_silently()
    assert load_masks(made / "held.masks.json").decisions == decided.decisions


def test_videos_that_vanish_during_the_run_are_a_line_each(machine: Machine, tmp_path: Path, out: Path) -> None:
    root = tmp_path / "videos"
    for name in ("held", "x", "y"):
        write_frames(root / name, 3)
    write_video(root / "z.mp4", 3)
    run = machine.batch(root, "-o", out, "--workers", "1")
    wait_for(machine.is_held)
    shutil.rmtree(root / "x")
    (root / "z.mp4").unlink()
    machine.go()
    result = run.result()
    assert result.code == 1
    assert not result.strays
    about_x, about_z, _summary = sorted(result.errors, key=lambda line: ("of 4" in line, "z.mp4" in line))
    assert str(root / "x") in about_x
    assert str(root / "z.mp4") in about_z
    assert "unexpected" not in result.err
    assert sorted(masks_in(out)) == ["held.masks.json", "y.masks.json"]


def test_a_run_under_nohup_goes_on_when_the_terminal_closes(
    machine: Machine, root: Path, out: Path, undisturbed: dict[str, bytes]
) -> None:
    run = machine.batch(root, "-o", out, "--workers", "1", ignored=(signal.SIGHUP,))
    wait_for(machine.is_held)
    os.killpg(run.process.pid, signal.SIGHUP)
    machine.go()
    run.result().succeeds_silently()
    assert masks_in(out) == undisturbed


# What lies in the output folder


def test_damage_after_damage_keeps_all_that_was_set_aside(machine: Machine, root: Path, made: Path) -> None:
    machine.go()
    (made / "a.masks.json.damaged").write_text("the first damage")
    (made / "a.masks.json").write_text("the second damage")
    result = machine.batch(root, "-o", made, "--workers", "1", "--resume").result()
    result.succeeds_with_note("a.masks.json", ".damaged")
    kept = {path.read_text() for path in made.glob("a.masks.json.damaged*")}
    assert kept == {"the first damage", "the second damage"}


def test_what_is_set_aside_is_said_even_when_the_video_cannot_be_made(
    machine: Machine, tmp_path: Path, out: Path
) -> None:
    write_frames(tmp_path / "videos" / "good", 2)
    write_frames(tmp_path / "videos" / "v", 2)
    cut_to_nothing(tmp_path / "videos" / "v" / "00001.png")
    out.mkdir()
    (out / "v.masks.json").write_text("damaged")
    result = machine.batch(tmp_path / "videos", "-o", out, "--workers", "1", "--resume").result()
    assert result.code == 1
    in_place = out / "v.masks.json"
    assert in_place.exists() or any("v.masks.json.damaged" in line for line in result.lines), result.err


def test_resume_refuses_a_file_of_a_newer_version_and_does_not_call_it_damaged(
    machine: Machine, root: Path, made: Path
) -> None:
    machine.go()
    text = (made / "a.masks.json").read_text().replace("flowcut.masks/1", "flowcut.masks/2")
    (made / "a.masks.json").write_text(text)
    result = machine.batch(root, "-o", made, "--workers", "1", "--resume").result()
    assert "damaged" not in result.err
    assert (made / "a.masks.json").read_text() == text
    about, summary = result.errors
    assert "flowcut.masks/2" in about
    assert "1 of 4" in summary
    assert result.code == 1


def test_garbage_without_resume_is_left_as_it_is_and_named_and_the_rest_is_done(
    machine: Machine, root: Path, made: Path, undisturbed: dict[str, bytes]
) -> None:
    machine.go()
    (made / "a.masks.json").write_text("{")
    (made / "b.masks.json").unlink()
    result = machine.batch(root, "-o", made, "--workers", "1").result()
    assert result.code == 1
    about, summary = result.errors
    assert str(made / "a.masks.json") in about
    assert "--overwrite" in about
    assert "1 of 4" in summary
    assert not result.strays
    assert masks_in(made) == {**undisturbed, "a.masks.json": b"{"}


def test_a_folder_in_place_of_a_masks_file_is_named_and_left_alone(machine: Machine, root: Path, made: Path) -> None:
    machine.go()
    (made / "a.masks.json").unlink()
    (made / "a.masks.json").mkdir()
    (made / "a.masks.json" / "treasure").write_text("of the user")
    result = machine.batch(root, "-o", made, "--workers", "1", "--resume").result()
    assert (made / "a.masks.json" / "treasure").exists(), f"moved: {written(made)}"
    assert result.code == 1
    about, summary = result.errors
    assert str(made / "a.masks.json") in about
    assert "1 of 4" in summary
    assert not result.strays


def test_a_full_disk_is_a_line_for_each_video_and_leaves_no_half_file(
    machine: Machine, root: Path, made: Path, undisturbed: dict[str, bytes]
) -> None:
    machine.go()
    (made / "b.masks.json").unlink()
    limits = {resource.RLIMIT_FSIZE: 1500}
    result = machine.batch(root, "-o", made, "--workers", "2", "--frames", "0:3", limits=limits).result()
    assert "unexpected" not in result.err
    assert not result.strays
    for name in MADE:
        assert sum(str(made / name) in line and "cannot be written" in line for line in result.errors) == 1, result.err
    assert result.code == 2
    assert masks_in(made) == {name: undisturbed[name] for name in MADE if name != "b.masks.json"}
    assert set(written(made)) <= {*MADE, "batch.jsonl"}


@pytest.mark.parametrize("trouble", ["full", "folder"])
def test_a_journal_that_cannot_be_written_is_one_line_that_names_it(
    machine: Machine, root: Path, out: Path, trouble: str, undisturbed: dict[str, bytes]
) -> None:
    machine.go()
    out.mkdir()
    limits = {}
    if trouble == "full":
        (out / "batch.jsonl").write_text('{"at": ""}\n' * 1000)
        limits = {resource.RLIMIT_FSIZE: 11_000}
    else:
        (out / "batch.jsonl").mkdir()
    result = machine.batch(root, "-o", out, "--workers", "1", limits=limits).result()
    assert not result.strays
    assert sum("batch.jsonl" in line for line in result.errors + result.notes) == 1, result.err
    assert "unexpected" not in result.err
    # Refused before the work, or all of it done.
    assert masks_in(out) in ({}, undisturbed)


def test_a_full_standard_output_is_one_line_and_leaves_nothing_half_written(
    machine: Machine, root: Path, out: Path, undisturbed: dict[str, bytes]
) -> None:
    machine.go()
    script = "import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 1); from flowcut_napari import cli; cli.main()"
    result = machine.start(["-c", script, "batch", *METHOD, "-o", out, root, "--workers", "1"]).result()
    assert not result.strays
    assert len(result.errors) == 1
    assert result.code in (1, 2)
    assert masks_in(out).items() <= undisturbed.items()
    assert set(written(out)) <= {*MADE, "batch.jsonl"}


def test_a_cache_that_cannot_be_written_is_noted_once(machine: Machine, root: Path, out: Path) -> None:
    machine.go()
    run = machine.batch(root, "-o", out, "--workers", "2", "--cache", FLOWCUT_CACHE="/proc/nope/cache")
    run.result().succeeds_with_note("cache", "/proc/nope/cache")
    assert sorted(masks_in(out)) == MADE


# Clusters elsewhere


@pytest.mark.parametrize(
    "address",
    [
        *("abc", "127.0.0.1", "tcp://", "tcp://127.0.0.1:abc", "http://127.0.0.1:9", "::", "", " "),
        *("tls://127.0.0.1:9", "ucx://127.0.0.1:9", "inproc://1.2.3/4", "x" * 5000, "nowhere.json", "folder.json"),
    ],
    ids=lambda address: address[:30],
)
def test_an_address_that_is_none_is_one_line(
    forked: Callable[..., Result], root: Path, tmp_path: Path, out: Path, address: str
) -> None:
    (tmp_path / "folder.json").mkdir()
    forked(root, "--scheduler", address, timeout=20).fails_with(f"--scheduler {address[:30]}")
    assert written(out) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"xx",
        b"[]",
        b"{}",
        b"null",
        b'"tcp://127.0.0.1:9"',
        b'{"address": 5}',
        b'{"address": null}',
        b"\xff\xfe\x00",
    ],
    ids=ascii,
)
def test_a_scheduler_file_that_is_garbage_is_one_line_that_names_it(
    forked: Callable[..., Result], root: Path, tmp_path: Path, out: Path, content: bytes
) -> None:
    (tmp_path / "scheduler.json").write_bytes(content)
    forked(root, "--scheduler", "scheduler.json", timeout=20).fails_with("--scheduler scheduler.json")
    assert written(out) == []


@pytest.fixture
def silent() -> Iterator[str]:
    """Return the address of something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def talkative() -> Iterator[str]:
    """Return the address of something that is no Dask scheduler but, say, a web server."""

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" * 100)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, daemon=True).start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def test_an_address_where_no_scheduler_answers_is_one_line_within_some_seconds(
    machine: Machine, root: Path, tmp_path: Path, silent: str, talkative: str
) -> None:
    (tmp_path / "old.json").write_text('{"address": "tcp://127.0.0.1:9"}')
    addresses = ["tcp://127.0.0.1:9", str(tmp_path / "old.json"), silent, talkative]
    # At once: they do nothing but wait.
    runs = [machine.batch(root, "-o", tmp_path / f"out{n}", "--scheduler", item) for n, item in enumerate(addresses)]
    end = time.monotonic() + 20
    while any(run.process.poll() is None for run in runs) and time.monotonic() < end:
        time.sleep(0.05)
    hanging = [address for run, address in zip(runs, addresses, strict=True) if run.process.returncode is None]
    for number, (run, address) in enumerate(zip(runs, addresses, strict=True)):
        if address not in hanging:
            run.result().fails_with(f"--scheduler {address}")
            assert written(tmp_path / f"out{number}") == []
    assert hanging == []


class Cluster:
    """A Dask scheduler and its workers, started by somebody else."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.file = machine.folder / "scheduler.json"
        self.scheduler = self._start("dask_scheduler", "--port", "0")
        wait_for(self.file.exists)

    def _start(self, name: str, *more: str, **environment: str) -> Run:
        common = ["--scheduler-file", self.file, "--no-dashboard", "--host", "127.0.0.1"]
        return self.machine.start(["-m", f"distributed.cli.{name}", *common, *more], **environment)

    def start_worker(self, *, waits: bool = True, **environment: str) -> Run:
        worker = self._start("dask_worker", "--nthreads", "1", "--no-nanny", **environment)
        if waits:
            wait_for(lambda: "Registered to:" in worker.err)
        return worker


@pytest.fixture
def cluster(machine: Machine) -> Cluster:
    return Cluster(machine)


def test_a_scheduler_that_dies_in_the_middle_is_said_and_nothing_hangs(
    machine: Machine, cluster: Cluster, tmp_path: Path, out: Path
) -> None:
    for name in ("a", "held", *(f"later{number}" for number in range(25))):
        write_frames(tmp_path / "videos" / name, 3)
    cluster.start_worker()
    run = machine.batch(tmp_path / "videos", "-o", out, "--scheduler", cluster.file)
    wait_for(lambda: machine.is_held() and '"a"' in (out / "batch.jsonl").read_text())
    cluster.scheduler.process.kill()
    result = run.result(40)
    assert not result.strays, result.err
    assert "unexpected" not in result.err
    assert any("scheduler" in line or "cluster" in line for line in result.errors)
    assert result.code == 1
    assert written(out) == ["a.masks.json", "batch.jsonl"]


def test_a_cluster_without_any_worker_is_said_within_some_seconds(
    machine: Machine, cluster: Cluster, root: Path, out: Path
) -> None:
    run = machine.batch(root, "-o", out, "--scheduler", cluster.file)
    # Whether it gives up or goes on waiting: the user must know why nothing happens.
    wait_for(lambda: run.err, 15)
    assert "worker" in run.err
    if run.process.poll() is None:
        machine.go()
        cluster.start_worker()
        assert run.result().code == 0
        assert sorted(masks_in(out)) == MADE
    else:
        run.result().fails_with("worker")


def test_a_cluster_whose_last_worker_dies_says_so_and_goes_on_when_another_comes(
    machine: Machine, cluster: Cluster, root: Path, out: Path, undisturbed: dict[str, bytes]
) -> None:
    worker = cluster.start_worker()
    run = machine.batch(root, "-o", out, "--scheduler", cluster.file)
    wait_for(lambda: machine.is_held() and len(masks_in(out)) == 3)
    worker.process.kill()
    machine.go()
    cluster.start_worker()
    run.result().succeeds_silently()
    assert masks_in(out) == undisturbed


@pytest.mark.parametrize("which", ["scheduler", "workers"])
def test_a_cluster_that_does_not_have_this_package_is_one_line_that_says_so(
    machine: Machine, root: Path, out: Path, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        if which != "workers":
            patched.setenv("WITHOUT_US", "1")
        cluster = Cluster(machine)
    machine.go()
    worker = cluster.start_worker(**({} if which == "scheduler" else {"WITHOUT_US": "1"}))
    result = machine.batch(root, "-o", out, "--scheduler", cluster.file).result(20)
    if result.code == 0:
        assert which == "scheduler"
        assert (result.err, sorted(masks_in(out))) == ("", MADE)
    else:
        result.fails_with("import", "install flowcut-napari")
        assert masks_in(out) == {}
    assert worker.process.poll() is None


def test_an_interrupt_leaves_the_cluster_of_somebody_else_alive_and_free(
    machine: Machine, cluster: Cluster, root: Path, out: Path, undisturbed: dict[str, bytes]
) -> None:
    cluster.start_worker()
    run = machine.batch(root, "-o", out, "--scheduler", cluster.file)
    wait_for(lambda: machine.is_held() and len(masks_in(out)) == 3)
    os.killpg(run.process.pid, signal.SIGINT)
    run.result(15).fails_with("interrupted", code=130)
    machine.go()
    again = machine.batch(root, "-o", out, "--scheduler", cluster.file, "--resume").result()
    again.succeeds_silently()
    assert masks_in(out) == undisturbed
