from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from command_line import in_session, wait_for
from conversation import Conversation

from flowcut_napari.live.child import Child
from flowcut_napari.live.owned import describe_end

# Answers every question, and knows some by name.
_SERVANT = """
import os, signal, subprocess, sys
from flowcut_napari.live.pipe import ParentPipes

parent = ParentPipes()
for question in parent.records():
    if question == "start a grandchild":
        parent.send(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid)
    elif question == "be deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        parent.send("deaf")
    elif question == "fail":
        raise ValueError("no such luck")
    elif question == "leave":
        sys.exit(3)
    else:
        parent.send(("heard", question))
"""


@pytest.fixture(autouse=True)
def _servant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "servant.py").write_text(_SERVANT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.parametrize(
    ("code", "said", "words"),
    [
        (-signal.SIGKILL, [], "SIGKILL, as a system does that runs out of memory"),
        (-signal.SIGSEGV, ["some noise"], "it was ended by SIGSEGV"),
        (-250, [], "it was ended by signal 250"),
        (1, ["Traceback (most recent call last):", "ValueError: no"], "it failed: ValueError: no"),
        (3, [], "it ended with the exit code 3"),
        (0, ["   "], "it ended with the exit code 0"),
    ],
)
def test_the_end_of_a_process_is_told_in_one_line(code: int, said: list[str], words: str) -> None:
    assert describe_end(code, said).endswith(words)
    assert "\n" not in describe_end(code, said)


def test_questions_are_answered_in_their_order() -> None:
    with Conversation("servant") as talk:
        for number in range(20):
            talk.send(number)
        assert [talk.hear(tuple) for _ in range(20)] == [("heard", number) for number in range(20)]


@pytest.mark.parametrize(
    ("question", "reason"),
    [("fail", "it failed: ValueError: no such luck"), ("leave", "it ended with the exit code 3")],
)
def test_a_child_that_ends_by_itself_says_why(question: str, reason: str) -> None:
    with Conversation("servant") as talk:
        talk.send(question)
        assert talk.end() == reason
        assert not talk.child.is_running


def test_a_module_that_is_not_there_is_the_reason() -> None:
    with Conversation("flowcut_napari.live.nowhere") as talk:
        assert "No module named flowcut_napari.live.nowhere" in talk.end()


def test_a_killed_child_takes_its_grandchildren_along_and_tells_once() -> None:
    with Conversation("servant") as talk:
        talk.send("start a grandchild")
        grandchild = talk.hear(int)
        assert psutil.pid_exists(grandchild)
        os.kill(talk.child.pid, signal.SIGKILL)
        assert "SIGKILL" in talk.end()
        wait_for(lambda: not in_session(talk.child.pid), 10)
        assert talk.overhear() == []


@pytest.mark.parametrize("is_deaf", [False, True])
def test_stop_ends_the_whole_session_and_the_end_is_not_told(is_deaf: bool) -> None:
    with Conversation("servant") as talk:
        talk.send("start a grandchild")
        talk.hear(int)
        if is_deaf:  # to requests; it has to be made to end
            talk.send("be deaf")
            talk.hear(str)
        assert len(in_session(talk.child.pid)) == 2
        talk.child.stop()
        assert not talk.child.is_running
        wait_for(lambda: not in_session(talk.child.pid), 10)
        assert talk.overhear() == []


def test_stopping_again_and_speaking_to_the_dead_does_no_harm() -> None:
    with Conversation("servant") as talk:
        talk.child.stop()
        talk.child.stop()
        talk.child.stop(wait=False)
        talk.send("anybody there?")
        assert talk.overhear() == []
    with Conversation("servant") as talk:
        talk.send("leave")
        talk.end()
        for _ in range(3):
            talk.send("anybody there?")
        talk.child.stop()
        assert talk.overhear(0.2) == []


def test_what_is_gone_is_not_signalled_its_number_may_be_that_of_another_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Conversation("servant") as talk:
        talk.send("leave")
        talk.end()
        signalled: list[int] = []
        with monkeypatch.context() as patch:
            patch.setattr(os, "killpg", lambda group, number: signalled.append(group))
            talk.child.stop()
            talk.child.stop(wait=False)
        assert signalled == []


def test_a_child_can_be_stopped_by_its_own_answer() -> None:
    # As a window does that is closed while an answer arrives: on the thread that reads.
    stopped = threading.Event()

    def on_answer(_: object) -> None:
        child.stop()
        stopped.set()

    child = Child("servant", on_answer, lambda reason: pytest.fail(reason))
    child.send("hello")
    assert stopped.wait(20)
    assert not child.is_running


def test_stopping_without_waiting_does_not_wait_and_still_ends_a_deaf_child() -> None:
    with Conversation("servant") as talk:
        talk.send("be deaf")
        talk.hear(str)
        talk.child.stop(wait=False)
        assert talk.child.is_running
        wait_for(lambda: not talk.child.is_running, 10)


def test_a_parent_that_exits_leaves_no_child_behind(tmp_path: Path) -> None:
    code = (
        "import threading\nfrom flowcut_napari.live.child import Child\n"
        "ready = threading.Event()\nchild = Child('servant', lambda _: ready.set(), print)\n"
        "child.send('be deaf')\nready.wait(20)\nprint(child.pid)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not in_session(int(run.stdout))


def test_variables_of_the_child_come_on_top_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "teller.py").write_text(
        "import os\nfrom flowcut_napari.live.pipe import ParentPipes\n"
        "ParentPipes().send([os.environ.get(name) for name in ('OURS', 'BOTH', 'OMP_NUM_THREADS')])\n"
    )
    monkeypatch.setenv("OURS", "1")
    monkeypatch.setenv("BOTH", "1")
    with Conversation("teller", {"BOTH": "2"}) as talk:
        assert talk.hear(list) == ["1", "2", "1"]
