from __future__ import annotations

import os
import time
from pathlib import Path

import made_events as made
import pytest

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.run_list import RunList, list_runs


def write(folder: Path, **fields: object) -> Path:
    return made.write_run(folder, [made.start(**fields), *made.training(1000), made.done(1000)])


def test_runs_are_found_in_the_folder_itself_and_two_levels_below(tmp_path: Path) -> None:
    for name in ("a", "group/b", "group/c", "group/deep/d"):
        write(tmp_path / name)
    assert [run.name for run in list_runs(tmp_path)] == ["a", "group/b", "group/c"]
    assert [run.name for run in list_runs(tmp_path / "a")] == ["a"]
    assert list_runs(tmp_path / "group/deep/d/checkpoints") == ()


def test_a_run_in_a_line(tmp_path: Path) -> None:
    write(tmp_path / "a", steps=1000)
    (run,) = list_runs(tmp_path)
    assert (run.state.state, run.state.step, run.state.steps) == ("done", 1000, 1000)
    assert run.best is not None and run.best.step == 1000
    assert run.best.stats["AP50"] == pytest.approx(1.9 * run.best.score)
    assert (run.device, run.clips, run.dataset) == ("NVIDIA H100", 1204, "/data/clips")
    assert run.loss == pytest.approx(made.step(1000)["loss"])
    assert run.seconds is not None and run.seconds >= 0
    assert run.problem == ""


def test_damaged_runs_are_listed_with_what_is_wrong(tmp_path: Path) -> None:
    write(tmp_path / "good")
    (tmp_path / "bare/checkpoints").mkdir(parents=True)
    (tmp_path / "bare/config.yaml").write_text("")
    for name, content in (("empty", b""), ("garbage", b"\0\xff{" * 100 + b"\n"), ("other", b'{"event": "x"}\n')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "events.jsonl").write_bytes(content)
    (tmp_path / "folder/events.jsonl").mkdir(parents=True)
    problems = {run.name: run.problem for run in list_runs(tmp_path)}
    assert problems.pop("good") == ""
    assert problems == {
        "bare": "events.jsonl is missing: what happened in this run is not known",
        "empty": "its events tell no start",
        "garbage": "1 lines of events.jsonl are no events of a run",
        "other": "1 of a kind that is not known here (x)",
        "folder": f"{tmp_path}/folder/events.jsonl: not a regular file",
    }


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="everything can be read by this user")
def test_what_cannot_be_read_is_passed_over_or_said(tmp_path: Path) -> None:
    write(tmp_path / "a")
    (tmp_path / "closed").mkdir(mode=0)
    write(tmp_path / "b")
    (tmp_path / "b/events.jsonl").chmod(0)
    assert {run.name: "cannot be read" in run.problem for run in list_runs(tmp_path)} == {"a": False, "b": True}


@pytest.mark.parametrize("name", ["missing", "a_file", "no\0path", "x" * 5000])
def test_a_folder_that_cannot_be_looked_through_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "a_file").touch()
    with pytest.raises(InputError, match="cannot be looked through"):
        list_runs(tmp_path / name)


def test_a_ring_of_links_ends(tmp_path: Path) -> None:
    write(tmp_path / "a")
    (tmp_path / "ring").symlink_to(tmp_path)
    assert "a" in [run.name for run in list_runs(tmp_path)]


def test_what_differs_between_runs_is_told(tmp_path: Path) -> None:
    usual = {"optimizer": {"lr": 1e-6, "batch": 4}, "run": {"evaluate": "/one"}}
    other = {"optimizer": {"lr": 1e-5, "batch": 4}, "run": {"evaluate": "/two"}}
    for name, parameters in (("a", usual), ("b", usual), ("c", other)):
        write(tmp_path / name, parameters=parameters)
    assert [run.changes for run in list_runs(tmp_path)] == [(), (), ("optimizer.lr=1e-05",)]


def test_of_a_run_only_what_was_added_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flowcut_napari.core.run_events import EventFollower

    runs = [made.write_run(tmp_path / f"run{number}", [made.start(), made.step(1)]) for number in range(5)]
    listed = RunList()
    listed.scan(tmp_path)
    polled = []
    real = EventFollower.poll

    def poll(self: EventFollower, most_bytes: int = 0) -> object:
        polled.append(self.path.parent.name)
        batch = real(self, most_bytes)
        assert len(batch.events) <= 1
        return batch

    monkeypatch.setattr(EventFollower, "poll", poll)
    made.add(runs[3], made.step(2))
    found = listed.scan(tmp_path)
    assert set(polled) == {"run3"}
    assert [run.state.step for run in found] == [1, 1, 1, 2, 1]


def test_a_run_that_was_written_anew_or_went_is_noticed(tmp_path: Path) -> None:
    run = write(tmp_path / "a")
    listed = RunList()
    assert listed.scan(tmp_path)[0].state.step == 1000
    made.write_run(run, [made.start(), made.step(1)])
    assert listed.scan(tmp_path)[0].state.step == 1
    os.rename(run, tmp_path / "b")
    assert [found.name for found in listed.scan(tmp_path)] == ["b"]


def test_two_hundred_runs_are_looked_at_again_at_once(tmp_path: Path) -> None:
    content = made.lines(made.start(), *made.training(2000), made.done(2000))
    for number in range(200):
        (tmp_path / f"run{number:03d}").mkdir()
        (tmp_path / f"run{number:03d}" / "events.jsonl").write_text(content)
    listed = RunList()
    assert len(listed.scan(tmp_path)) == 200
    began = time.perf_counter()
    listed.scan(tmp_path)
    assert time.perf_counter() - began < 0.5
