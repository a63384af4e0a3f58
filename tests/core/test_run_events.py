from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import made_events as made
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from flowcut_napari.core.run_events import LONGEST_LINE, EventFollower, last_lines
from flowcut_napari.core.run_history import RunHistory, RunView
from flowcut_napari.core.run_records import FIGURES


def read(run: Path) -> RunView:
    return read_on(EventFollower(run), RunHistory())


def read_on(follower: EventFollower, history: RunHistory, most_bytes: int = 1 << 16) -> RunView:
    while True:
        batch = follower.poll(most_bytes)
        if batch.is_anew:
            history.clear()
        history.add(batch.events)
        if not batch.is_more:
            return history.view(follower.passed_over)


def write(run: Path, content: bytes) -> Path:
    run.mkdir(exist_ok=True)
    (run / "events.jsonl").write_bytes(content)
    return run


GOOD = made.lines(made.start(), made.step(1), made.step(2)).encode()

GARBAGE = {
    "no json": b"what is this\n",
    "NUL bytes, as a full disk leaves them": b"\0" * 500 + b"\n",
    "what is no UTF-8": b'{"event": "note", "text": "\xff\xfe"}\n',
    "a json of another kind": b'[{"event": "step"}]\n',
    "a number": b"17\n",
    "an object without a kind": b'{"step": 3}\n',
    "a kind that is no text": b'{"event": {"event": "step"}}\n',
    "json that is too deep": b'{"event": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
    "a line without an end": b'{"event": "note", "text": "' + b"x" * (2 * LONGEST_LINE) + b'"}\n',
    "a number of too many digits": b'{"event": "note", "step": ' + b"9" * 10_000 + b"}\n",
    "half a line": GOOD[:40] + b"\n",
    "half a text": b'{"event": "note", "text": "ab\n',
    "two events in a line": b'{"event": "note"}, {"event": "note"}\n',
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
@pytest.mark.parametrize("most_bytes", [37, 1 << 16, 8 << 20])
def test_what_is_no_event_is_passed_over_and_counted(tmp_path: Path, garbage: bytes, most_bytes: int) -> None:
    if len(garbage) > 10_000 and most_bytes < 100:
        most_bytes = 4096
    run = write(tmp_path, GOOD + garbage + made.lines(made.step(3)).encode())
    follower = EventFollower(run)
    view = read_on(follower, RunHistory(), most_bytes)
    assert view.steps.tolist() == [1, 2, 3]
    assert follower.passed_over == 1
    assert "1 lines of events.jsonl are no events of a run" in view.remark


def test_an_empty_line_is_nothing(tmp_path: Path) -> None:
    follower = EventFollower(write(tmp_path, b"\n\n" + GOOD + b"\n \n"))
    assert len(read_on(follower, RunHistory()).steps) == 2
    assert follower.passed_over == 0


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 90))
@settings(max_examples=60, deadline=None)
def test_whatever_bytes_are_between_events_all_events_are_read(
    tmp_path_factory: pytest.TempPathFactory, junk: list[bytes], most_bytes: int
) -> None:
    run = tmp_path_factory.mktemp("run")
    content = b""
    for number, piece in enumerate(junk, start=1):
        # A line feed before each event: half a line ends there, as the writer sees to.
        content += piece.replace(b"{", b"") + b"\n" + made.lines(made.step(number)).encode()
    view = read_on(EventFollower(write(run, content)), RunHistory(), most_bytes)
    assert view.steps.tolist() == list(range(1, len(junk) + 1))


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    follower, history = EventFollower(write(tmp_path, GOOD[:-20])), RunHistory()
    assert read_on(follower, history).steps.tolist() == [1]
    assert not follower.poll().events
    with (tmp_path / "events.jsonl").open("ab") as stream:
        stream.write(GOOD[-20:])
    assert read_on(follower, history).steps.tolist() == [1, 2]
    assert follower.passed_over == 0


def test_each_event_is_read_once_while_it_is_written(tmp_path: Path) -> None:
    follower, history = EventFollower(tmp_path), RunHistory()
    assert read_on(follower, history).events == 0
    assert not follower.is_there
    made.write_run(tmp_path, [made.start()])
    for number in range(1, 200):
        made.add(tmp_path, made.step(number))
        view = read_on(follower, history)
        assert view.step == number
    assert view.events == 200
    assert view.remark == ""


def test_a_poll_reads_a_bounded_piece(tmp_path: Path) -> None:
    run = made.write_run(tmp_path, [made.start(), *made.training(4000)])
    follower = EventFollower(run)
    total = 0
    polls = 0
    while (batch := follower.poll(5000)).is_more or batch.events:
        assert len(batch.events) < 40
        total += len(batch.events)
        polls += 1
    assert polls > 10
    assert total == len((run / "events.jsonl").read_text().splitlines())


def _truncate(path: Path) -> None:
    with path.open("r+") as stream:
        stream.truncate(0)
        stream.write(made.lines(made.start(steps=7), made.step(4)))


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_text(made.lines(made.start(steps=7), made.step(4)) + "\n" * 5000)
    os.replace(other, path)


def _overwrite_longer(path: Path) -> None:
    # As an editor does, which writes into the same file: it is longer than what was read.
    path.write_text(made.lines(made.start(steps=7), made.step(4)) + "\n" * 20_000)


@pytest.mark.parametrize("change", [_truncate, _replace, _overwrite_longer])
def test_another_file_in_its_place_is_read_from_its_start(tmp_path: Path, change: Any) -> None:
    run = made.write_run(tmp_path, [made.start(), *made.training(300)])
    follower, history = EventFollower(run), RunHistory()
    assert read_on(follower, history).step == 300
    change(run / "events.jsonl")
    view = read_on(follower, history)
    assert view.steps.tolist() == [4]
    assert view.start is not None and view.start.steps == 7
    assert not follower.poll().is_anew


def test_a_file_that_goes_takes_what_was_known_along_and_may_come_back(tmp_path: Path) -> None:
    run = made.write_run(tmp_path, [made.start(), made.step(1)])
    follower, history = EventFollower(run), RunHistory()
    assert read_on(follower, history).step == 1
    (run / "events.jsonl").unlink()
    view = read_on(follower, history)
    assert (view.events, len(view.steps), view.start) == (0, 0, None)
    assert not follower.poll().is_anew
    made.write_run(run, [made.start(), made.step(1), made.step(2)])
    assert read_on(follower, history).step == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders on this system")
def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "events.jsonl")
    assert "not a regular file" in EventFollower(tmp_path).poll().problem
    os.mkfifo(tmp_path / "log.txt")
    assert last_lines(tmp_path / "log.txt") == ()


def test_a_folder_in_its_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").mkdir()
    assert "not a regular file" in EventFollower(tmp_path).poll().problem


@pytest.mark.parametrize("run", ["no\0path", "x" * 5000])
def test_what_can_be_no_path_is_no_run(run: str) -> None:
    follower = EventFollower(Path(run))
    assert not follower.poll().events
    assert not follower.is_there


def test_a_run_that_goes_on_drops_the_steps_that_it_takes_again(tmp_path: Path) -> None:
    first = [made.start(), *made.training(900, every=50, evaluate_every=300)]
    first += [made.preview(number) for number in (200, 800)]
    again = [made.start(resumed_from=600), made.step(650), made.evaluation(900, 0.9)]
    view = read(made.write_run(tmp_path, [*first, *again]))
    assert view.steps[-3:].tolist() == [550, 600, 650]
    assert [found.step for found in view.evaluations] == [300, 600, 900]
    assert [found.step for found in view.previews] == [200]
    assert [found.step for found in view.checkpoints] == [300, 600]
    assert view.best is not None and view.best.step == 900
    assert view.first_time is not None


def test_a_view_stays_what_it_was_while_reading_goes_on(tmp_path: Path) -> None:
    history = RunHistory()
    history.add([made.start(), *(made.step(number) for number in range(1, 100))])
    view = history.view()
    kept = view.steps.copy(), view.figures.copy()
    history.add([made.start(resumed_from=10), *(made.step(number, loss=-1.0) for number in range(11, 500))])
    assert_array_equal(view.steps, kept[0])
    assert_array_equal(view.figures, kept[1])
    assert (history.view().figure("loss")[10:] == -1).all()


def test_a_start_that_does_not_go_on_begins_anew(tmp_path: Path) -> None:
    view = read(made.write_run(tmp_path, [made.start(), made.step(1), made.step(2), made.start(), made.step(1)]))
    assert view.steps.tolist() == [1]


def test_steps_that_do_not_rise_are_no_steps(tmp_path: Path) -> None:
    numbers: list[Any] = [5, 5, 4, -1, 2.5, "7", True, None, 10**30, 5001, 6]
    view = read(made.write_run(tmp_path, [made.start(), *(made.step(1, step=number) for number in numbers)]))
    assert view.steps.tolist() == [5, 6]
    assert view.remark.startswith("9 lines")


def test_figures_may_be_texts_and_are_never_trusted() -> None:
    odd = {
        "loss": "nan",
        "classification": "inf",
        "mask": "-inf",
        "dice": "1.5",
        "gradient_norm": [1],
        "lr": {"a": 1},
        "seconds": True,
        "data_wait": 10**400,
        "memory_gib": 3,
    }
    history = RunHistory()
    history.add([{"event": "step", "step": 1, **odd}, {"event": "step", "step": 2}])
    figures = history.view().figures
    expected = [math.nan, math.inf, -math.inf, math.nan, math.nan, math.nan, math.nan, math.nan, 3.0]
    assert_array_equal(figures[:, 0], expected)
    assert np.isnan(figures[:, 1]).all()
    assert figures.shape == (len(FIGURES), 2)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_KINDS = (
    *("start", "step", "checkpoint", "evaluation", "evaluation_failed", "preview", "broken_clip", "note"),
    *("stopped", "done", "error", "other"),
)
_NAMES = (
    *("time", "step", "loss", "stats", "path", "labels", "text", "reason", "pid", "host", "process_started"),
    *("world", "device", "clips", "resumed_from", "steps", "parameters", "rank", "seconds", "best"),
)


@given(
    st.lists(
        st.tuples(st.sampled_from(_KINDS), st.dictionaries(st.sampled_from(_NAMES), _VALUES, max_size=8)), max_size=8
    )
)
@settings(max_examples=100, deadline=None)
def test_fields_of_any_type_end_nothing(events: list[tuple[str, dict[str, Any]]]) -> None:
    from flowcut_napari.core.run_state import judge_run

    history = RunHistory()
    history.add([{**fields, "event": kind} for kind, fields in events])
    view = history.view()
    assert (np.diff(view.steps) > 0).all()
    assert view.step >= 0
    state = judge_run(view)
    assert state.reason.isprintable()
    assert 0 <= state.share <= 1


def test_a_path_out_of_the_run_is_no_preview() -> None:
    history = RunHistory()
    paths: list[Any] = ["../secret.jpg", "/etc/passwd", "a/../../b.jpg", "C:\\b.jpg", "", 3, "previews/x.jpg", "a\nb"]
    history.add([{"event": "preview", "step": number, "path": path} for number, path in enumerate(paths)])
    assert [found.path for found in history.view().previews] == ["previews/x.jpg"]


def test_events_of_another_time_are_named() -> None:
    history = RunHistory()
    history.add([made.start(), {"event": "profile"}, {"event": "profile"}, {"event": "<b>\n"}, made.step(1)])
    view = history.view()
    assert view.step == 1
    assert view.remark == r"3 of a kind that is not known here (<b>\n, profile)"


def test_undefined_figures_of_an_evaluation_are_left_out() -> None:
    history = RunHistory()
    history.add([made.evaluation(5, 0.25), {"event": "evaluation", "step": 6, "stats": {"AP": "nan"}}])
    (found,) = history.view().evaluations
    assert found.stats["AP"] == 0.25
    assert "APs" not in found.stats


def test_of_more_steps_than_there_is_room_for_every_second_one_goes() -> None:
    history = RunHistory(most_rows=100)
    history.add([made.step(number) for number in range(1, 1001)])
    steps = history.view().steps
    assert 50 <= len(steps) <= 100
    assert (steps[0], steps[-1]) == (1, 1000)
    tail = RunHistory(most_rows=100, is_tail=True)
    tail.add([made.step(number) for number in range(1, 1001)])
    assert tail.view().steps[-50:].tolist() == list(range(951, 1001))


def test_only_the_last_steps_of_each_piece_are_understood_where_no_more_are_wanted(tmp_path: Path) -> None:
    run = made.write_run(tmp_path, [made.start(), *made.training(5000), made.done(5000)])
    history = RunHistory()
    view = read_on(EventFollower(run, last_steps=3), history, 1 << 20)
    whole = read(run)
    assert len(view.steps) == 3
    assert view.evaluations == whole.evaluations
    assert view.end == whole.end
    assert view.steps[-1] == whole.steps[-1]


def test_the_last_lines_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    assert last_lines(path) == ()
    path.write_bytes(b"first\n" + b"x" * 50_000 + b"\nsec\x1b[31mond \xff\n\nlast")
    assert last_lines(path, 2) == (r"sec\x1b[31mond " + "\ufffd", "last")
    path.write_text("".join(f"line {number}\n" for number in range(1000)))
    assert last_lines(path, 3) == ("line 997", "line 998", "line 999")


def test_the_follower_reads_what_the_engine_writes(tmp_path: Path) -> None:
    from flowcut_training.engine.events import RunLog

    log = RunLog(tmp_path)
    log.event("start", **{name: value for name, value in made.start().items() if name not in ("event", "time")})
    log.figures(1, {"loss": math.nan, "lr": 0.5, "seconds": math.inf})
    log.event("error", reason="the loss is not finite", rank=0)
    view = read(tmp_path)
    assert (view.step, view.remark) == (1, "")
    assert math.isnan(view.figure("loss")[0])
    assert view.figure("seconds")[0] == math.inf
    assert view.end is not None and view.end.reason == "the loss is not finite"
    assert json.loads((tmp_path / "events.jsonl").read_text().splitlines()[1])["loss"] == "nan"
