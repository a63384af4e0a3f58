"""Commands as a window runs them, by whatever interpreter it was given."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from made_interpreters import interpreter, without

from flowcut_napari.live.backend import Backend, BackendEnd, backend_command, explain_end


class Ended:
    """Runs a command to its end."""

    def __init__(self, program: str, *arguments: str, in_lines: bool = True) -> None:
        self.events: list[dict[str, Any]] = []
        self._over = threading.Event()
        self.end: BackendEnd | None = None
        self.backend = Backend(arguments, self.events.append if in_lines else None, self._take, program)

    def _take(self, end: BackendEnd) -> None:
        assert self.end is None, "told twice"
        self.end = end
        self._over.set()

    def wait(self, seconds: float = 60) -> BackendEnd:
        assert self._over.wait(seconds)
        assert self.end is not None
        assert "\n" not in self.end.reason
        return self.end


def test_what_it_prints_comes_line_by_line_and_what_is_no_object_is_passed_over(tmp_path: Path) -> None:
    said = ['{"event": "a", "n": 1}', "noise", "[1]", '"text"', "{", '{"event": "b"}', "1" * 100_000]
    program = interpreter(tmp_path, *(f"echo '{line}'" for line in said))
    ended = Ended(program)
    assert ended.wait() == BackendEnd(0, "")
    assert ended.events == [{"event": "a", "n": 1}, {"event": "b"}]


def test_one_document_comes_with_the_end(tmp_path: Path) -> None:
    program = interpreter(tmp_path, "echo '{'; echo ' \"stats\": {\"AP\": 1}'; echo '}'")
    assert Ended(program, in_lines=False).wait().document == {"stats": {"AP": 1}}
    assert Ended(interpreter(tmp_path, "echo '[1]'"), in_lines=False).wait().document is None


def test_the_real_command_answers() -> None:
    end = Ended("", "weights", "list", "--json", in_lines=False).wait()
    assert end.document is not None and "weights" in end.document


def test_a_command_that_refuses_says_why_in_its_own_words() -> None:
    end = Ended("", "train", "nowhere", "-o", "/proc/run", "--config", "huge").wait()
    assert (end.code, end.reason.startswith("--config huge: ")) == (2, True)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["echo 'error: it is so' >&2; exit 2"], "it is so"),
        (["exit 3"], "exit code 3"),
        (["kill -KILL $$"], "SIGKILL, as a system does that runs out of memory"),
        (["kill -SEGV $$"], "SIGSEGV"),
        (["echo 'unknown option -P' >&2; exit 2"], "older than Python 3.11"),
        (['echo "x: No module named flowcut_napari" >&2; exit 1'], "has no flowcut-napari; install it there"),
    ],
)
def test_each_end_has_its_reason(tmp_path: Path, lines: list[str], words: str) -> None:
    assert words in Ended(interpreter(tmp_path, *lines)).wait().reason


def test_an_interpreter_that_is_not_there_or_no_program_is_said_with_its_place(tmp_path: Path) -> None:
    for program in (tmp_path / "nothing", tmp_path):
        end = Ended(str(program)).wait()
        assert end.code is None and str(program) in end.reason and "Preferences" in end.reason
    (tmp_path / "text").write_text("no program")
    assert "cannot be started" in Ended(str(tmp_path / "text")).wait().reason


def test_an_interpreter_without_torch_is_told_what_to_install(tmp_path: Path) -> None:
    program = without(tmp_path, "torch")
    end = Ended(program, "backend", "--json", in_lines=False).wait()
    assert end.reason == f"{program} has no torch; install it there: {program} -m pip install torch"


def test_stopping_ends_what_it_started_and_tells_nothing(tmp_path: Path) -> None:
    ended = Ended(interpreter(tmp_path, "sleep 600 & echo '{\"pid\": '$!'}'; wait"))
    while not ended.events:
        assert ended.end is None
    grandchild = ended.events[0]["pid"]
    ended.backend.stop()
    assert ended.backend.pid is None
    assert not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE
    ended.backend.stop()
    assert ended.end is None


def test_its_session_is_its_own(tmp_path: Path) -> None:
    ended = Ended(interpreter(tmp_path, "echo '{\"pid\": '$$'}'; sleep 600"))
    while not ended.events:
        assert ended.end is None
    assert os.getsid(ended.events[0]["pid"]) != os.getsid(0)
    os.kill(ended.events[0]["pid"], signal.SIGTERM)
    assert "SIGTERM" in ended.wait().reason


def test_the_words_of_a_reason_are_printable() -> None:
    assert explain_end(2, ["error: a\x1b[31mb"], "python") == r"a\x1b[31mb"
    assert backend_command(["x"])[0] == sys.executable
