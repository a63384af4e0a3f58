from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import made_events as made
import psutil
import pytest

from flowcut_napari.core.run_history import RunHistory
from flowcut_napari.core.run_records import RunStart
from flowcut_napari.core.run_state import RunState, find_process, judge_run
from flowcut_napari.core.times import utc


def judge(*events: dict[str, Any], **more: Any) -> RunState:
    history = RunHistory()
    history.add(events)
    return judge_run(history.view(), **more)


@pytest.fixture
def sleeper() -> Iterator[psutil.Process]:
    """A Python that does nothing."""
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield psutil.Process(started.pid)
    started.kill()
    started.wait()


def of(process: psutil.Process, **fields: Any) -> dict[str, Any]:
    return made.start(pid=process.pid, process_started=process.create_time(), **fields)


@pytest.mark.parametrize(
    ("last", "state", "reason"),
    [
        (made.done(40), "done", ""),
        ({"event": "stopped", "step": 40, "reason": "stop file"}, "stopped", "stopped by somebody who asked for it"),
        ({"event": "stopped", "step": 40, "reason": "SIGTERM"}, "stopped", "stopped by the signal SIGTERM"),
        ({"event": "error", "reason": "out of memory"}, "failed", "out of memory"),
        ({"event": "error", "reason": {"no": "text"}}, "failed", "it gave no reason"),
    ],
)
def test_the_last_event_tells_how_it_ended_also_while_its_process_is_there(
    sleeper: psutil.Process, last: dict[str, Any], state: str, reason: str
) -> None:
    found = judge(of(sleeper), made.step(20), last)
    assert (found.state, found.reason) == (state, reason)
    assert found.seconds_left is None


def test_of_several_processes_the_one_that_failed_first_tells_why() -> None:
    first = {"event": "error", "reason": "clip 7 cannot be read", "rank": 1}
    second = {"event": "error", "reason": "connection closed by peer", "rank": 0}
    assert judge(made.start(), first, second).reason == "clip 7 cannot be read"


def test_an_attempt_to_go_on_that_failed_is_what_counts() -> None:
    stopped = {"event": "stopped", "step": 5, "reason": "stop file"}
    assert judge(made.start(), stopped, {"event": "error", "reason": "no GPU"}).reason == "no GPU"


def test_a_process_that_is_there_is_running(sleeper: psutil.Process) -> None:
    found = judge(of(sleeper), *(made.step(number, seconds=0.5) for number in range(1, 101)))
    assert (found.state, found.step, found.steps, found.is_here) == ("running", 100, 5000, True)
    assert found.rate == pytest.approx(2.0)
    assert found.seconds_left == pytest.approx(4900 / 2)
    assert found.share == pytest.approx(100 / 5000)


def test_a_process_that_is_gone_has_left_its_run_without_a_word(sleeper: psutil.Process) -> None:
    start = of(sleeper)
    sleeper.kill()
    psutil.wait_procs([sleeper], timeout=5)
    found = judge(start, made.step(1), made.checkpoint(500), made.step(620))
    assert (found.state, found.resumes_from, found.can_go_on) == ("lost", 500, True)
    assert "resume goes on from step 500" in found.reason
    early = judge(start, made.step(20))
    assert "no checkpoint" in early.reason
    assert not early.can_go_on


def test_a_zombie_is_gone(sleeper: psutil.Process) -> None:
    # Its parent, this test, has not looked at it yet.
    start = of(sleeper)
    sleeper.kill()
    end = time.monotonic() + 5
    while sleeper.status() != psutil.STATUS_ZOMBIE and time.monotonic() < end:
        time.sleep(0.01)
    assert judge(start).state == "lost"


def test_another_process_of_the_same_number_is_not_the_run(sleeper: psutil.Process) -> None:
    later = made.start(pid=sleeper.pid, process_started=sleeper.create_time() - 3600)
    assert judge(later).state == "lost"


def test_without_its_time_it_has_to_be_a_python_from_before_the_event(sleeper: psutil.Process) -> None:
    now = utc(time.time() + 1)
    old = {"pid": sleeper.pid, "process_started": None, "host": None}
    assert judge(made.start(**old, time=now)).state == "running"
    assert judge(made.start(**old, time="2020-01-01T00:00:00Z")).state == "lost"
    shell = subprocess.Popen(["sleep", "60"])
    try:
        assert judge(made.start(pid=shell.pid, process_started=None, time=now)).state == "lost"
    finally:
        shell.kill()
        shell.wait()


def test_a_run_elsewhere_is_running_while_it_speaks_and_unknown_after_that(sleeper: psutil.Process) -> None:
    now = time.time()
    elsewhere = of(sleeper, host="another-host")
    events = [elsewhere, *(made.step(number, time=utc(now - 100 + number)) for number in range(1, 100))]
    assert judge(*events, now=now).state == "running"
    assert not judge(*events, now=now).is_here
    late = judge(*events, now=now + 3 * 3600)
    assert (late.state, late.reason) == ("unknown", "its last word was 3 h ago, on another-host")
    # A file that grows is a word, too, whatever the clock of that machine says.
    assert judge(*events, now=now + 3 * 3600, changed_at=now + 3 * 3600 - 5).state == "running"


def test_a_run_elsewhere_may_be_as_slow_as_it_always_was() -> None:
    now = time.time()
    slow = [made.step(number, time=utc(now - 5000 + 500 * number)) for number in range(1, 11)]
    assert judge(made.start(host="another-host"), *slow, now=now + 4000).state == "running"
    assert judge(made.start(host="another-host"), *slow, now=now + 6000).state == "unknown"


def test_a_stop_that_was_asked_for_is_told_until_it_is_heard(sleeper: psutil.Process) -> None:
    start = of(sleeper)
    assert judge(start, made.step(1), stop_asked=True).is_stopping
    stopped = {"event": "stopped", "step": 1, "reason": "stop file"}
    assert not judge(start, made.step(1), stopped, stop_asked=True).is_stopping


def test_an_empty_folder_is_no_run_yet() -> None:
    assert judge().state == "unknown"
    assert "no training" in judge().reason
    assert judge({"event": "note", "text": "x"}).reason == "its events tell no start"


@pytest.mark.parametrize("pid", [None, 0, -1, True, 2**31, 2**70, "7", 1.0])
def test_numbers_that_no_process_can_have_are_no_process(pid: Any) -> None:
    start = RunStart.of({"event": "start", "pid": pid})
    assert start.pid is None
    assert find_process(start) is None
    assert find_process(RunStart(pid=2**31 - 1)) is None
