from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from command_line import wait_for
from made_clips import seen, write_dataset, write_stills

from flowcut_napari.core import FlowCutError, InputError
from flowcut_napari.core.masks import mask_iou
from flowcut_training.data import Batch, DataParameters, loader, open_clips, open_stills, training_batches
from flowcut_training.data.sampling import Schedule

SMALL = DataParameters(short_side=48, max_side=64, workers=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("made") / "dataset", (2, 4, 2, 2, 3, 2, 2))


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stills(tmp_path_factory.mktemp("made") / "stills", 5)


def batches_of(folder: Path, stills: Path | None = None, parameters: DataParameters = SMALL, **how: Any) -> list[Batch]:
    source = open_stills(stills) if stills else None
    if stills:
        parameters = changed(parameters, stills=str(stills), stills_share=0.4)
    return list(
        training_batches(
            open_clips(folder), source, parameters, **{"seed": 3, "batch": 2, "start": 0, "steps": 6, **how}
        )
    )


def changed(parameters: DataParameters, **changes: Any) -> DataParameters:
    return DataParameters(**{**parameters.model_dump(), **changes})


def same(first: Batch, second: Batch) -> bool:
    return (
        (first.sizes, first.names, first.broken) == (second.sizes, second.names, second.broken)
        and torch.equal(first.frames, second.frames)
        and all(torch.equal(*masks) for masks in zip(first.masks, second.masks, strict=True))
    )


def test_a_batch_has_the_promised_shapes_and_the_masks_lie_on_the_objects(folder: Path) -> None:
    for batch in batches_of(folder):
        assert batch.frames.shape == (2, 2, 3, 64, 64)
        assert batch.frames.dtype == torch.uint8
        assert batch.sizes == ((48, 64), (48, 64))
        assert not batch.frames[..., 48:, :].any()
        for frames, masks in zip(batch.frames, batch.masks, strict=True):
            assert masks.dtype == torch.bool
            assert masks.shape[1:] == (2, 64, 64)
            assert not masks[..., 48:, :].any()
            assert masks.any(dim=(1, 2, 3)).all()
            for number, mask in enumerate(masks[:, 1]):
                assert mask_iou(mask.numpy(), seen(frames[1].permute(1, 2, 0).numpy(), number)) > 0.8


def test_clips_of_different_sizes_are_padded_to_the_largest(tmp_path: Path) -> None:
    first = write_dataset(tmp_path / "dataset", (2,), (48, 64))
    still = write_stills(tmp_path / "stills", 1, (90, 60))
    parameters = changed(SMALL, short_side=40, max_side=80)
    (batch,) = batches_of(first, still, parameters, batch=5, steps=1)
    assert set(batch.sizes) == {(40, 53), (60, 40)}
    assert batch.frames.shape[-2:] == (64, 64)
    for frames, (height, width) in zip(batch.frames, batch.sizes, strict=True):
        assert not frames[..., height:, :].any()
        assert not frames[..., width:].any()


def test_epochs_visit_every_clip_once_and_stills_have_their_share(folder: Path, stills: Path) -> None:
    names = [name for batch in batches_of(folder, steps=7) for name in batch.names]
    assert sorted(names[:7]) == sorted(names[7:]) == sorted(set(names))
    names = [name for batch in batches_of(folder, stills, batch=5, steps=2) for name in batch.names]
    assert Counter(name.split()[0] for name in names) == {"still": 4, "clip": 6}


@pytest.mark.parametrize("per_frame", [False, True])
def test_a_still_is_repeated_and_each_repetition_is_drawn_for_itself(
    folder: Path, stills: Path, per_frame: bool
) -> None:
    """Always: it is the only motion that a still has."""
    found = batches_of(folder, stills, changed(SMALL, per_frame=per_frame, frames=2), batch=5, steps=1)[0]
    for name, frames, masks in zip(found.names, found.frames, found.masks, strict=True):
        if name.startswith("still"):
            assert not torch.equal(frames[0], frames[1])
            assert masks.shape[:2] == (1, 2)


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_resuming_at_any_step_gives_the_same_batches(folder: Path, stills: Path, stop: int) -> None:
    whole = batches_of(folder, stills, accumulation=2)
    rest = batches_of(folder, stills, accumulation=2, start=stop)
    assert all(map(same, whole[2 * stop :], rest))
    assert len(rest) == len(whole) - 2 * stop


@pytest.mark.parametrize(("world", "accumulation"), [(2, 1), (1, 2), (2, 2), (4, 1)])
def test_other_numbers_of_ranks_share_out_the_same_samples(
    folder: Path, stills: Path, world: int, accumulation: int
) -> None:
    whole = batches_of(folder, stills, batch=4, steps=3)
    ranks = [
        batches_of(
            folder,
            stills,
            batch=4 // (world * accumulation),
            steps=3,
            rank=rank,
            world=world,
            accumulation=accumulation,
        )
        for rank in range(world)
    ]
    for step, batch in enumerate(whole):
        parts = [ranks[rank][step * accumulation + micro] for micro in range(accumulation) for rank in range(world)]
        assert batch.names == tuple(name for part in parts for name in part.names)
        assert torch.equal(batch.frames, torch.cat([part.frames for part in parts]))
        masks = [mask for part in parts for mask in part.masks]
        assert all(torch.equal(*pair) for pair in zip(batch.masks, masks, strict=True))


def test_seeds_differ_and_global_random_numbers_play_no_part(folder: Path) -> None:
    first = batches_of(folder)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    state = torch.get_rng_state()
    assert all(map(same, first, batches_of(folder)))
    assert torch.equal(torch.get_rng_state(), state)
    assert not all(map(same, first, batches_of(folder, seed=4)))


def test_worker_processes_give_the_same_batches_and_end_when_the_iterator_is_dropped(
    folder: Path, stills: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = set(psutil.Process().children())
    whole = batches_of(folder, stills)
    state = torch.get_rng_state()
    parameters = changed(SMALL, workers=2, stills=str(stills), stills_share=0.4)
    batches = training_batches(
        open_clips(folder), open_stills(stills), parameters, seed=3, batch=2, start=0, steps=1000
    )
    assert all(same(batch, next(batches)) for batch in whole)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(_workers(before)) == 2
    del batches
    wait_for(lambda: _workers(before) == [])
    assert capfd.readouterr() == ("", "")


def test_an_error_in_a_worker_is_the_same_one_line(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "dataset", (2, 2))
    (folder / "frames" / "vidéo1" / "00001.png").unlink()
    messages = []
    for workers in (0, 1):
        with pytest.raises(InputError) as error:
            batches_of(folder, parameters=changed(SMALL, workers=workers))
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    assert messages[0].startswith("clip 1 (vidéo1): ")
    assert messages[0].endswith("00001.png: no such image")
    assert "\n" not in messages[0]


def test_a_worker_that_is_killed_is_said_in_one_line(folder: Path) -> None:
    before = set(psutil.Process().children())
    batches = training_batches(
        open_clips(folder), None, changed(SMALL, workers=1), seed=0, batch=2, start=0, steps=100_000
    )
    next(batches)
    (worker,) = _workers(before)
    worker.kill()
    with pytest.raises(FlowCutError, match=r"ended from outside .*try fewer workers") as error:
        for _ in batches:
            pass
    assert "\n" not in str(error.value)


class _Faulty(dict[str, Any]):
    """Stands for a mistake in the program."""

    def __getitem__(self, name: str) -> Any:
        raise RuntimeError("a mistake")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mistake_in_the_program_is_not_taken_for_bad_input(folder: Path, workers: int) -> None:
    samples = loader._Samples.of(open_clips(folder), None, changed(SMALL, workers=workers), 0)
    broken = replace(samples, sources=_Faulty())
    with pytest.raises(RuntimeError, match="a mistake") as error:
        list(loader._batches(broken, Schedule(2, 0, 2, 0, 1, 1), False))
    assert not isinstance(error.value, FlowCutError)


_ENDLESS = """
import sys
from pathlib import Path
from flowcut_training.data import DataParameters, open_clips, training_batches
if __name__ == "__main__":
    parameters = DataParameters(short_side=48, max_side=64, workers=2)
    batches = training_batches(open_clips(Path(sys.argv[1])), None, parameters, seed=0, batch=2, start=0, steps=10**6)
    next(batches)
    print("started", flush=True)
    sys.stdin.read()
"""


def test_workers_end_when_their_parent_is_killed(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_ENDLESS)
    command = [sys.executable, str(script), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        workers = psutil.Process(process.pid).children(recursive=True)
        assert len(workers) >= 2
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    wait_for(lambda: not any(worker.is_running() and worker.status() != "zombie" for worker in workers))


def _workers(before: set[psutil.Process]) -> list[psutil.Process]:
    """Return the worker processes that were not there before; what keeps account of shared memory stays on."""
    found = []
    for child in set(psutil.Process().children()) - before:
        try:
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found
