"""Bad input: training, converting weights and the demo. One clear line, an error event, nothing lost."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from command_line import Result, _Forkserver, in_session, snapshot, wait_for, written
from made_runs import run as run_here
from made_runs import same, write_clips
from PIL import Image
from safetensors.torch import load_file, save_file

from flowcut_napari.commands.demo_model import train_and_predict
from flowcut_napari.core import sample
from flowcut_napari.core.dataset import ExportPlan, export_dataset
from flowcut_napari.core.errors import FlowCutError, printable
from flowcut_napari.core.masks import encode_rle
from flowcut_napari.core.parameters import CurationParameters
from flowcut_training.config import load_config
from flowcut_training.engine.checkpoints import list_checkpoints
from flowcut_training.engine.events import read_events
from flowcut_training.engine.loop import train as go
from flowcut_training.engine.plan import TrainingPlan
from flowcut_training.engine.ranks import join_ranks
from flowcut_training.engine.run_folder import choose_config
from flowcut_training.weight_files import build_model, convert
from flowcut_training.weight_names import to_detectron2

QUICK = (
    "--device",
    "cpu",
    "points=32",
    "log_every=1",
    "workers=0",
    "steps=1",
    "seed=3",
    "short_side=48",
    "max_side=96",
)
TINY = load_config("tiny").model


@dataclass(frozen=True)
class Training:
    """Calls `flowcut train` on a dataset in one folder, as often as needed."""

    server: _Forkserver
    dataset: Path
    run: Path

    def __call__(self, *words: str, config: str | Path = "tiny", **how: Any) -> Result:
        place = how.pop("dataset", self.dataset), "-o", how.pop("run", self.run)
        return self.server.run(["train", *place, "--config", config, *QUICK, *words], **how)

    def refused(self, *words: str, says: str | list[str], code: int = 2, **how: Any) -> str:
        """Assert one line, and the same as an event on standard output; return it."""
        return refused(self(*words, **how), says, code)

    def resumed(self, *words: str) -> Result:
        return self.server.run(["train", self.dataset, "-o", self.run, "--resume", "--device", "cpu", *words])

    def works(self) -> None:
        """Assert that the folder takes a run, and leaves nothing but it."""
        result = self()
        result.succeeds_silently()
        assert last_event(result)["event"] == "done"
        assert not [path for path in written(self.run) if path.endswith((".part", ".old", "stop", ".lock"))]


def refused(result: Result, says: str | list[str], code: int = 2) -> str:
    line = result.fails_with(*([says] if isinstance(says, str) else says), code=code)
    event = last_event(result)
    assert event["event"] == "error"
    assert line == f"error: {printable(event['reason'])}"
    return line


def last_event(result: Result) -> dict[str, Any]:
    return json.loads(result.out.splitlines()[-1])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"), count=3)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A dataset that a test may damage."""
    return write_clips(tmp_path / "own", count=3)


@pytest.fixture
def train(server: _Forkserver, dataset: Path, tmp_path: Path) -> Training:
    return Training(server, dataset, tmp_path / "run")


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    run_here(dataset, folder, "steps=2", "short_side=48", "max_side=96", "ema=0.5")
    return folder


@pytest.fixture
def broken(train: Training, trained: Path) -> Training:
    """A finished run of two steps that a test may damage; its checkpoints are links, only to be replaced."""
    shutil.copytree(trained, train.run, copy_function=link)
    return train


def link(source: str, target: str) -> None:
    (os.link if "checkpoints" in source and not source.endswith(".json") else shutil.copy2)(source, target)


def stamps(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return what changes where a file is written anew."""
    states = {str(path): path.lstat() for path in folder.rglob("*") if path.is_file()}
    return {name: (state.st_ino, state.st_size, state.st_mtime_ns) for name, state in states.items()}


# ---------------------------------------------------------------------------------------------- configuration


def refused_here(call: Callable[[], object], says: str | list[str]) -> str:
    """Assert one line on purpose, which the command line would show as it is; return it."""
    with pytest.raises(FlowCutError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 1000
    for needle in [says] if isinstance(says, str) else says:
        assert needle in line
    return line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lr=1e400"], "optimizer.lr"),
        (["lr=-0.0"], "optimizer.lr is -0.0"),
        (["lr=1e300"], "optimizer.lr"),
        (["lr=._"], "optimizer.lr"),
        (["weight_decay=1e300"], "optimizer.weight_decay"),
        (["backbone_factor=1e300"], "optimizer.backbone_factor"),
        (["steps=" + "9" * 30], "optimizer.steps"),
        (["steps=" + "9" * 5000], "optimizer.steps"),
        (["steps=2024-13-45"], "optimizer.steps"),
        (["steps=0b_"], "optimizer.steps"),
        (["batch=1000000000"], "optimizer.batch"),
        (["encoder_hidden=1000000000000"], "model.encoder_hidden"),
        (["decoder_hidden=1000000000000"], "model.decoder_hidden"),
        (["heads=64"], "multiple of heads, 64"),
        (["max_side=33", "short_side=64"], "max_side is 33, below short_side"),
        (["milestones=soon"], "optimizer.milestones"),
        (["milestones=[9, later]"], "optimizer.milestones"),
        (["seed=9223372036854775808"], "run.seed"),
        (["lr=&a [*a]"], "optimizer.lr"),
        (["\uff4c\uff52=1"], "unknown parameter"),
        (["l\u0433=1"], "unknown parameter"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_value_that_cannot_be_is_refused(words: list[str], says: str) -> None:
    refused_here(lambda: load_config("tiny", words), says)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["steps=2024-13-45"], "optimizer.steps"),
        (["frames=3"], "has 2 frames, samples have 3"),
        (["init=" + "x" * 5000], "no such weights file"),
        (["stills=nowhere", "stills_share=0.5"], "nowhere"),
        (["evaluate=" + "x" * 5000], "no such file or folder"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_wrong_for_this_dataset_or_machine_is_an_event_too(
    train: Training, words: list[str], says: str
) -> None:
    assert len(train.refused(*words, says=says)) < 1000
    assert not (train.run / "config.yaml").exists()


def test_a_path_is_taken_as_it_is_written() -> None:
    config = load_config("tiny", ["evaluate=a #1: [b", "init=2021", "stills=~", "tensorboard=no"])
    assert str(config.run.evaluate).endswith("a #1: [b")
    assert (config.run.init, config.data.stills) == ("2021", None)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"optimizer: {lr: 1.0e-3, lr: 1.0e-4}", ["own.yaml", "'lr'", "twice"]),
        (b"optimizer: {lr: 1.0e-3}\nmodel: {}\noptimizer: {steps: 3}", ["own.yaml", "'optimizer'", "twice"]),
        (("data: {brightness: 1}\n" + BOMB).encode(), ["own.yaml", "alias"]),
        (f"optimizer:\n  lr:\n{BOMB.replace('a:', '- ', 1)[:40]}".encode(), "own.yaml"),
        (b"optimizer: &o {lr: *o}", "own.yaml"),
        (b"optimizer: {steps: 2024-13-45}", "own.yaml"),
        (b"optimizer: {steps: " + b"9" * 5000 + b"}", "own.yaml"),
        (b"optimizer: " + b"[" * 5000, "own.yaml"),
        ("optimizer: {lr: 1}".encode("utf-16"), "own.yaml"),
        (b"\x7fELF\x00\x01\x02", "own.yaml"),
        (b"optimizer: {[1, 2]: 3}", "own.yaml"),
        (b"? {a: 1}\n: 2", "own.yaml"),
        (b"optimizer: {null: 3}", "own.yaml"),
        (b"---\nmodel: {}\n---\nmodel: {}", "own.yaml"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_configuration_file_that_is_wrong_is_refused(tmp_path: Path, content: bytes, says: str | list[str]) -> None:
    (tmp_path / "own.yaml").write_bytes(content)
    refused_here(lambda: load_config(tmp_path / "own.yaml"), says)


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "long"])
def test_what_is_no_configuration_file_is_refused(train: Training, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "own.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "long":
        path = tmp_path / ("x" * 5000 + ".yaml")
    train.refused(config=path, says=str(tmp_path), timeout=20)


# ------------------------------------------------------------------------------------------------ run folder


@pytest.mark.parametrize("place", ["/proc/nope/run", "/dev/full", "file/run", "x" * 300])
def test_a_place_that_takes_no_run_is_refused(train: Training, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    train.refused(run=place, folder=tmp_path, says=place)
    assert (tmp_path / "file").read_text() == "mine"
    refused_here(lambda: choose_config(tmp_path / place, None, [], resume=True), [place[:99], "no run to go on with"])


@pytest.mark.parametrize("name", ['it\'s "my" run', os.fsdecode(b"\xff\xfe"), "[red]\n\u00e4"])
def test_a_run_may_have_any_name(train: Training, tmp_path: Path, name: str) -> None:
    result = train(run=name, folder=tmp_path)
    result.succeeds_silently()
    events = [json.loads(line) for line in result.out.splitlines()]
    assert events == read_events(tmp_path / name)
    assert events[-1]["event"] == "done"


def test_a_dataset_may_have_any_name(train: Training, own: Path) -> None:
    place = own.rename(own.with_name(os.fsdecode(b"it's \xff\xfe")))
    train(dataset=place).succeeds_silently()
    result = train("--resume", "steps=2", dataset=place)
    result.succeeds_silently()
    assert last_event(result)["step"] == 2


def test_a_run_is_not_mixed_with_its_dataset(train: Training, own: Path) -> None:
    before = snapshot(own)
    train.refused(dataset=own, run=own, says="other files in it")
    train.refused("--resume", dataset=own, run=own, says="no run to go on with")
    assert snapshot(own) == before
    # Beside its files it does no harm.
    train(dataset=own, run=own / "run").succeeds_silently()
    assert {path: value for path, value in snapshot(own).items() if path in before} == before


def test_a_link_to_a_folder_is_that_folder_and_a_broken_one_is_refused(train: Training, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    train.run.symlink_to(tmp_path / "elsewhere")
    train.works()
    assert (tmp_path / "elsewhere" / "config.yaml").is_file()
    (tmp_path / "broken").symlink_to(tmp_path / "gone" / "gone")
    train.refused(run=tmp_path / "broken", says="broken")


def make_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "mine").touch()


def write(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


def with_state(**values: Any) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def with_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    def rewrite(path: Path) -> None:
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)

    return rewrite


def with_optimizer(change: Callable[[Any], Any]) -> Callable[[Path], object]:
    return lambda path: torch.save(change(torch.load(path, weights_only=True)), path)


def reshape_moments(content: Any) -> Any:
    content["state"][0]["exp_avg"] = torch.zeros(7)
    return content


def forget_moments(content: Any) -> Any:
    content["state"].pop(0)
    return content


def spoil_moments(content: Any) -> Any:
    content["state"][0]["exp_avg_sq"].fill_(float("nan"))
    return content


def set_to(name: str, value: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda tensors: tensors.update({name: value(tensors[name])})


LAST = "checkpoints/step-00000002/"
BIAS = "query_decoder.class_embed.bias"


@pytest.mark.parametrize(
    ("file", "damage", "says"),
    [
        ("config.yaml", write(""), ["config.yaml", "empty"]),
        ("config.yaml", write("model: {backbone: resnet18"), "config.yaml"),
        ("config.yaml", write("model: {backbone: resnet18, mamba_layers: 4}"), ["config.yaml", "mamba_layers"]),
        ("checkpoints", lambda path: (shutil.rmtree(path), path.touch()), "checkpoints"),
        (LAST + "model.safetensors", Path.unlink, "model.safetensors"),
        (LAST + "model.safetensors", with_tensors(set_to(BIAS, lambda value: value[:1])), "model.safetensors"),
        (LAST + "model.safetensors", with_tensors(set_to(BIAS, lambda value: value * torch.nan)), "NaN"),
        (LAST + "model.safetensors", with_tensors(lambda tensors: tensors.pop(BIAS)), [BIAS]),
        (LAST + "ema.safetensors", Path.unlink, "ema.safetensors"),
        (LAST + "ema.safetensors", with_tensors(set_to(BIAS, lambda value: value[:1])), ["ema.safetensors", BIAS]),
        (LAST + "optimizer.pt", Path.unlink, "optimizer.pt"),
        (LAST + "optimizer.pt", with_optimizer(lambda _: []), "optimizer.pt"),
        (LAST + "optimizer.pt", with_optimizer(lambda _: {"state": 1, "param_groups": 2}), "optimizer.pt"),
        (LAST + "optimizer.pt", with_optimizer(reshape_moments), "optimizer.pt"),
        (LAST + "optimizer.pt", with_optimizer(forget_moments), "optimizer.pt"),
        (LAST + "optimizer.pt", with_optimizer(spoil_moments), "optimizer.pt"),
        (LAST + "state.json", with_state(schema_="flowcut.checkpoint/9"), ["state.json", "flowcut.checkpoint/9"]),
        (LAST + "state.json", with_state(step=-1), "state.json"),
        (LAST + "state.json", with_state(step=7), ["state.json", "7"]),
        (LAST + "state.json", with_state(score=float("nan")), "state.json"),
        (LAST + "state.json", with_state(dataset="0" * 64), "not the dataset"),
        (LAST + "state.json", write(""), "state.json"),
        ("events.jsonl", make_folder, "events.jsonl"),
        ("metrics.csv", make_folder, "metrics.csv"),
        ("metrics.csv", write("step," + "9" * 200_000), "metrics.csv"),
    ],
)
def test_a_run_that_was_damaged_does_not_go_on_and_keeps_what_it_has(
    broken: Training, file: str, damage: Callable[[Path], object], says: str | list[str]
) -> None:
    victim = broken.run / file
    if victim.is_file():
        # A file of its own: the others are links, to spare time.
        content = victim.read_bytes()
        victim.unlink()
        victim.write_bytes(content)
    damage(victim)
    kept = stamps(broken.run / "checkpoints")

    def resume() -> None:
        config = choose_config(broken.run, None, ["steps=3"], resume=True)
        go(TrainingPlan(broken.dataset, broken.run, config, resume=True, device="cpu"))

    refused_here(resume, says)
    assert stamps(broken.run / "checkpoints") == kept


@pytest.mark.parametrize("file", [LAST + "optimizer.pt", "stop"])
def test_a_run_that_was_mended_goes_on(broken: Training, file: str) -> None:
    victim = broken.run / file
    whole = victim.read_bytes() if victim.exists() else None
    make_folder(victim)
    refused(broken.resumed("steps=3"), "")
    shutil.rmtree(victim)
    if whole is not None:
        victim.write_bytes(whole)
    result = broken.resumed("steps=3")
    result.succeeds_silently()
    assert last_event(result)["step"] == 3


def test_what_else_lies_in_a_run_is_left_alone(broken: Training) -> None:
    for name in ("checkpoints/notes.txt", "checkpoints/step-1", "checkpoints/mine/file", "thesis.tex"):
        (broken.run / name).parent.mkdir(exist_ok=True)
        (broken.run / name).write_text("mine")
    broken.resumed("steps=3").succeeds_silently()
    found = [path for path in broken.run.rglob("*") if path.is_file() and path.read_bytes() == b"mine"]
    assert len(found) == 4


def test_a_run_that_is_done_stays_as_it_is(broken: Training) -> None:
    kept = stamps(broken.run / "checkpoints")
    for words in ((), ("steps=1",)):
        result = broken.resumed(*words)
        result.succeeds_silently()
        assert (last_event(result)["event"], last_event(result)["step"]) == ("done", 2)
        assert stamps(broken.run / "checkpoints") == kept
    document = json.loads(broken.resumed("--json").out)
    assert (document["end"], document["step"], document["loss"]) == ("done", 2, None)


# -------------------------------------------------------------------------------------- while it is going on


def at_step(step: int, do: Callable[[], object]) -> Callable[[dict[str, Any]], None]:
    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == step:
            do()

    return listen


SMALL = ("short_side=48", "max_side=96")


def test_a_second_process_does_not_disturb_the_first(train: Training, tmp_path: Path) -> None:
    def start_others() -> None:
        for flags in ((), ("--resume",)):
            train.refused(*flags, says="another process trains in this folder")

    (tmp_path / "stop").touch()
    outcome = run_here(train.dataset, train.run, "steps=2", *SMALL, listen=at_step(1, start_others))
    assert (outcome.end, outcome.step) == ("done", 2)


def test_a_folder_that_goes_away_ends_the_run(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(FlowCutError, match=r"metrics.csv: cannot be written"):
        run_here(dataset, folder, "steps=9", *SMALL, listen=at_step(1, lambda: shutil.rmtree(folder)))
    assert not folder.exists()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_stop_before_the_first_step_can_be_gone_on_from(dataset: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "run"

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "start":
            (folder / "stop").touch() if kind == "file" else (folder / "stop").mkdir()

    outcome = run_here(dataset, folder, "steps=2", *SMALL, listen=stop)
    assert (outcome.end, outcome.step, outcome.reason) == ("stopped", 0, "stop file")
    if kind == "folder":
        (folder / "stop").rmdir()
    assert run_here(dataset, folder, "steps=2", *SMALL, resume=True).step == 2
    straight = run_here(dataset, tmp_path / "straight", "steps=2", *SMALL)
    assert same(list_checkpoints(folder)[-1].folder, straight.checkpoint)


@pytest.fixture(scope="module")
def straight(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run of four steps that nothing happened to."""
    return run_here(dataset, tmp_path_factory.mktemp("straight") / "run", "steps=4", *SMALL).checkpoint


def replace(path: Path) -> None:
    """Put another file of the same size in the place of one."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[::-1])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (shutil.rmtree, "annotations.json"),
        (lambda own: replace(own / "annotations.json"), "annotations.json: was changed"),
        (lambda own: shutil.rmtree(own / "frames"), "clip "),
        (lambda own: [path.write_bytes(b"") for path in (own / "frames").rglob("*.jpg")], "clip "),
    ],
    ids=["dataset gone", "json changed", "frames gone", "frames emptied"],
)
def test_a_dataset_that_changes_ends_the_run_and_no_step_is_lost(
    dataset: Path, straight: Path, own: Path, tmp_path: Path, change: Callable[[Path], object], says: str
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(FlowCutError, match=says):
        run_here(own, folder, "steps=4", *SMALL, listen=at_step(2, lambda: change(own)))
    assert read_events(folder)[-1]["event"] == "error"
    assert list_checkpoints(folder)[-1].state.step == 2
    if "json" in says:
        assert same(run_here(dataset, folder, "steps=4", *SMALL, resume=True).checkpoint, straight)


def test_weights_that_are_not_finite_are_never_saved(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_here(dataset, folder, "steps=1", *SMALL)
    kept = stamps(folder / "checkpoints")

    def spoil(*_: object, **__: object) -> None:
        for parameter in spoilt:
            parameter.data.fill_(float("inf"))

    spoilt: list[torch.nn.Parameter] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", lambda self: (spoilt.extend(self.param_groups[0]["params"]), spoil()))
        with pytest.raises(FlowCutError, match="weights are not finite after step 2"):
            run_here(dataset, folder, "steps=2", *SMALL, resume=True)
    assert stamps(folder / "checkpoints") == kept
    assert run_here(dataset, folder, "steps=2", *SMALL, resume=True).step == 2


# ----------------------------------------------------------------------------------------------------- frames


def write_dataset(folder: Path, frames: list[list[Image.Image]], suffix: str = ".png") -> Path:
    """Write a dataset of clips as YouTube-VIS has it, with one object in the left half of each frame."""
    (folder / "JPEGImages").mkdir(parents=True)
    videos, annotations = [], []
    for number, pictures in enumerate(frames, 1):
        width, height = pictures[0].size
        names = [f"v{number}/{place}{suffix}" for place in range(len(pictures))]
        (folder / "JPEGImages" / f"v{number}").mkdir()
        for name, picture in zip(names, pictures, strict=True):
            picture.save(folder / "JPEGImages" / name)
        mask = np.zeros((height, width), dtype=bool)
        mask[:, : (width + 1) // 2] = True
        videos.append({"id": number, "width": width, "height": height, "length": len(names), "file_names": names})
        code = encode_rle(mask)
        annotations.append(
            {
                "id": number,
                "video_id": number,
                "category_id": 1,
                "iscrowd": 0,
                "height": height,
                "width": width,
                "segmentations": [code] * len(names),
                "bboxes": [[0, 0, (width + 1) // 2, height]] * len(names),
                "areas": [int(mask.sum())] * len(names),
            }
        )
    document = {"videos": videos, "categories": [{"id": 1, "name": "fg"}], "annotations": annotations}
    (folder / "train.json").write_text(json.dumps(document, default=lambda value: vars(value)))
    return folder


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    random = np.random.default_rng(width * height)
    if mode == "I;16":
        return Image.fromarray(random.integers(0, 65536, (height, width), dtype=np.uint16))
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([(1, 1), (5000, 1), (1, 5000), (64, 48), (48, 64), (30, 30)], ("batch=6",)),
        ([(64, 48)], ("batch=8", "accumulation=4")),
    ],
    ids=["mixed", "fewer than a batch"],
)
def test_clips_of_odd_sizes_are_trained_on(
    train: Training, tmp_path: Path, sizes: list[tuple[int, int]], words: tuple[str, ...]
) -> None:
    odd = write_dataset(tmp_path / "odd", [[picture(*size), picture(*size)] for size in sizes])
    train(*words, f"evaluate={odd}", dataset=odd).succeeds_silently()


@pytest.mark.parametrize(("modes", "suffix"), [(["CMYK"], ".jpg"), (["L", "RGBA", "P", "1", "I;16"], ".png")])
def test_frames_of_odd_kinds_are_trained_on(train: Training, tmp_path: Path, modes: list[str], suffix: str) -> None:
    odd = write_dataset(tmp_path / "odd", [[picture(64, 48, mode)] * 2 for mode in modes], suffix)
    train("batch=5", dataset=odd).succeeds_silently()


def test_more_instances_than_queries_do_no_harm(train: Training) -> None:
    train("num_queries=1", f"evaluate={train.dataset}").succeeds_silently()


def test_frames_that_are_links_to_nothing_are_named(train: Training, own: Path) -> None:
    for path in (own / "frames").rglob("*.jpg"):
        path.unlink()
        path.symlink_to("gone.jpg")
    train.refused(dataset=own, says=["clip ", ".jpg"])
    train.refused("--skip-broken", dataset=own, run=train.run.with_name("other"), says="one after another")


def test_stills_are_no_clips(train: Training, own: Path, tmp_path: Path) -> None:
    masks = sorted((own.parent / "masks").glob("*.json"))
    stills = tmp_path / "stills"
    export_dataset(masks, stills, ExportPlan(CurationParameters(), format="coco"))
    train.refused(dataset=stills, says=["stills", "coco"])
    train.refused(f"evaluate={stills}", says=["stills", "coco"])
    train(f"stills={stills}", "stills_share=0.5", "batch=4").succeeds_silently()
    shutil.rmtree(stills / "frames", ignore_errors=True)
    shutil.rmtree(stills / "images", ignore_errors=True)
    words = (f"stills={stills}", "stills_share=1")
    train.refused(*words, run=tmp_path / "other", says="still ")


# ----------------------------------------------------------------------------------------------------- limits


def test_a_full_disk_keeps_the_checkpoints_that_are_there(broken: Training) -> None:
    kept = stamps(broken.run / "checkpoints")
    limits = {"RLIMIT_FSIZE": 1_000_000}
    result = broken.server.run(
        ["train", broken.dataset, "-o", broken.run, "--resume", "--device", "cpu", "steps=3"], limits=limits
    )
    refused(result, ["step-00000003", "cannot be written", "earlier checkpoints are whole"])
    assert stamps(broken.run / "checkpoints") == kept
    broken.resumed("steps=3").succeeds_silently()


@pytest.mark.parametrize("words", ["points=10000000", "short_side=4000 max_side=8000"])
def test_too_little_memory_is_one_line_with_what_to_lower(train: Training, words: str) -> None:
    train.refused(*words.split(), limits={"RLIMIT_AS": 400 << 20}, says=["out of memory", "optimizer.batch"])
    assert not list_checkpoints(train.run)


def test_too_few_files_for_workers_is_one_line(train: Training) -> None:
    train.refused("workers=2", limits={"RLIMIT_NOFILE": 14}, says=["too many open files", "data.workers=2"])
    wait_for(lambda: not in_session(last_pid(train.run) or -1), 5)


def last_pid(run: Path) -> int | None:
    return next((event["pid"] for event in reversed(read_events(run)) if event["event"] == "start"), None)


# ---------------------------------------------------------------------------------------------------- signals


@contextlib.contextmanager
def meanwhile(do: Callable[[], object]) -> Iterator[None]:
    """Do something while the fork server is at work."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            do()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if failures:
        raise failures[0]


def after_event(run: Path, kind: str, do: Callable[[int], object], count: int = 1) -> Callable[[], None]:
    """Do something with the process of a run once it has said something `count` times."""

    def act() -> None:
        wait_for(lambda: [event["event"] for event in read_events(run)].count(kind) >= count)
        pid = last_pid(run)
        assert pid is not None
        do(pid)

    return act


def test_a_hangup_saves_and_says_so(train: Training) -> None:
    with meanwhile(after_event(train.run, "step", lambda pid: os.kill(pid, signal.SIGHUP))):
        result = train("steps=100000")
    assert (result.code, result.err) == (128 + signal.SIGHUP, "")
    last = last_event(result)
    assert (last["event"], last["reason"]) == ("stopped", "SIGHUP")
    assert list_checkpoints(train.run)[-1].state.step == last["step"]
    train.resumed(f"steps={last['step'] + 1}").succeeds_silently()


def test_a_signal_with_json_is_one_document(train: Training) -> None:
    with meanwhile(after_event(train.run, "step", lambda pid: os.kill(pid, signal.SIGTERM))):
        result = train("steps=100000", "--json")
    assert (result.code, result.err) == (128 + signal.SIGTERM, "")
    document = json.loads(result.out)
    assert (document["end"], document["reason"]) == ("stopped", "SIGTERM")


def test_a_second_signal_does_not_wait_and_leaves_whole_checkpoints(train: Training) -> None:
    def twice(pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            for _ in range(2):
                os.kill(pid, signal.SIGTERM)
                threading.Event().wait(0.02)

    with meanwhile(after_event(train.run, "checkpoint", twice, count=2)):
        result = train("steps=100000", "checkpoint_every=1")
    assert result.code == 128 + signal.SIGTERM
    assert not result.strays
    assert len(result.errors) <= 1
    step = list_checkpoints(train.run)[-1].state.step
    train.resumed(f"steps={step + 1}").succeeds_silently()
    assert not [path for path in written(train.run) if ".part" in path or ".old" in path]


def test_a_worker_that_is_killed_ends_the_run_and_no_step_is_lost(train: Training) -> None:
    def kill(pid: int) -> None:
        for child in psutil.Process(pid).children(recursive=True):
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()

    with meanwhile(after_event(train.run, "step", kill)):
        result = train("steps=100000", "workers=1")
    refused(result, ["a process that reads clips was ended from outside", "fewer workers"])
    steps = [event["step"] for event in read_events(train.run) if event["event"] == "step"]
    assert list_checkpoints(train.run)[-1].state.step == steps[-1]
    wait_for(lambda: not in_session(last_pid(train.run) or -1), 5)


# --------------------------------------------------------------------------------------- torchrun's variables


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"WORLD_SIZE": "2"}, "RANK"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "MASTER_ADDR"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1"}, "MASTER_PORT"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "x"}, "MASTER_PORT"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE"),
        ({"WORLD_SIZE": "-2"}, "WORLD_SIZE"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE"),
        ({"RANK": "first"}, "RANK"),
        ({"RANK": "1"}, "RANK"),
        ({"LOCAL_RANK": "x"}, "LOCAL_RANK"),
        ({"WORLD_SIZE": "2", "RANK": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}, "RANK"),
    ],
    ids=str,
)
def test_half_of_torchruns_variables_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], says: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    refused_here(lambda: join_ranks("cpu").__enter__(), [says, "torchrun"])


@pytest.mark.parametrize("variables", [{"RANK": "first"}, {"WORLD_SIZE": "2", "RANK": "2"}], ids=str)
def test_half_of_torchruns_variables_is_an_event_too(train: Training, variables: dict[str, str]) -> None:
    train.refused(environment=variables, timeout=30, says="torchrun")
    assert written(train.run) == []


# ------------------------------------------------------------------------------------------------ what is said


def test_a_full_standard_output_does_not_end_a_run(train: Training) -> None:
    result = train("steps=2", stdout="/dev/full")
    result.succeeds_with_note("standard output", "events.jsonl")
    assert read_events(train.run)[-1]["event"] == "done"


def test_a_reader_that_goes_away_does_not_end_a_run(train: Training, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def read_a_line() -> None:
        with pipe.open() as stream:
            assert '"start"' in stream.readline()

    with meanwhile(read_a_line):
        result = train("steps=8", stdout=str(pipe))
    result.succeeds_with_note("standard output", "events.jsonl")
    assert read_events(train.run)[-1]["event"] == "done"


@pytest.mark.parametrize("words", [["lr=x"], ["init=nowhere.pth"]])
def test_json_and_an_error_is_the_line_alone(train: Training, words: list[str]) -> None:
    result = train("--json", *words)
    result.fails_with("")
    assert result.out == ""


def test_an_error_while_events_cannot_be_written_is_said(train: Training, tmp_path: Path) -> None:
    train.run.mkdir()
    (train.run / "events.jsonl").mkdir()
    train.refused("init=nowhere.pth", says="nowhere.pth")


# --------------------------------------------------------------------------------------------- one to the next


def test_what_is_none_is_refused_by_the_next_command(
    train: Training, broken: Training, server: _Forkserver, tmp_path: Path, clip: Path
) -> None:
    predicted = tmp_path / "predicted"
    server.run(["predict", broken.run, clip, "-o", predicted, "--device", "cpu"]).succeeds_silently()
    kept = stamps(broken.run / "checkpoints")
    # Each thing in the place of another.
    train.refused(dataset=broken.run, run=tmp_path / "a", says=str(broken.run))
    train.refused(dataset=predicted, run=tmp_path / "a", says=str(predicted))
    server.run(["predict", predicted, clip, "-o", tmp_path / "b"]).fails_with(str(predicted))
    server.run(["predict", broken.dataset, clip, "-o", tmp_path / "b"]).fails_with(str(broken.dataset))
    server.run(["predict", broken.run, clip, "-o", broken.run]).fails_with(str(broken.run))
    server.run(["predict", broken.run, clip, "-o", broken.run, "--overwrite"]).fails_with(str(broken.run))
    server.run(["evaluate", "ytvis", predicted / "results.json", predicted / "videos.json"]).fails_with("results.json")
    server.run(["evaluate", "ytvis", broken.run, predicted]).fails_with(str(broken.run))
    for init in (broken.run, broken.run / LAST):
        train.refused(f"init={init}", run=tmp_path / "a", says=[str(init), "model.safetensors"])
    assert stamps(broken.run / "checkpoints") == kept
    assert written(tmp_path / "b") == []
    # And what is one is taken.
    words = ("num_queries=10", f"init={broken.run / LAST / 'model.safetensors'}")
    train(*words, run=tmp_path / "c", config=broken.run / "config.yaml").succeeds_silently()


def test_a_run_without_a_checkpoint_predicts_nothing(
    train: Training, server: _Forkserver, tmp_path: Path, clip: Path
) -> None:
    train.refused(says="cannot be written", limits={"RLIMIT_FSIZE": 1_000_000})
    server.run(["predict", train.run, clip, "-o", tmp_path / "b"]).fails_with(str(train.run), "no checkpoint")
    train.resumed().succeeds_silently()
    server.run(["predict", train.run, clip, "-o", tmp_path / "b"]).succeeds_silently()


# -------------------------------------------------------------------------------------------------- conversion


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("theirs") / "m.pth"
    torch.save({"model": to_detectron2(build_model(TINY).state_dict())[0]}, path)
    return path


@pytest.mark.parametrize(
    "place",
    ["folder.safetensors", "/proc/nope/m.safetensors", "/dev/full/m.pth", "x" * 300 + ".pth", "m.onnx", "m", "."],
)
def test_a_place_that_takes_no_weights_is_refused(
    server: _Forkserver, theirs: Path, tmp_path: Path, place: str
) -> None:
    make_folder(tmp_path / "folder.safetensors")
    before = snapshot(tmp_path)
    line = server.run(["convert-checkpoint", theirs, "-o", place], folder=tmp_path).fails_with("")
    assert place in line
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("kind", ["same", "symlink", "hardlink"])
def test_weights_are_not_converted_onto_themselves(
    server: _Forkserver, theirs: Path, tmp_path: Path, kind: str
) -> None:
    source, target = tmp_path / "m.pth", tmp_path / "n.pth"
    shutil.copy(theirs, source)
    if kind == "symlink":
        target.symlink_to(source)
    elif kind == "hardlink":
        target.hardlink_to(source)
    before = snapshot(tmp_path)
    server.run(["convert-checkpoint", source, "-o", source if kind == "same" else target]).fails_with("source itself")
    assert snapshot(tmp_path) == before


def test_a_full_disk_leaves_the_weights_that_were_there(server: _Forkserver, theirs: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.safetensors"
    target.write_text("mine")
    result = server.run(["convert-checkpoint", theirs, "-o", target], limits={"RLIMIT_FSIZE": 1_000_000})
    result.fails_with("m.safetensors", "cannot be written")
    assert target.read_text() == "mine"
    assert written(tmp_path) == ["m.safetensors"]


def changed(theirs: Path, change: Callable[[dict[str, torch.Tensor]], object], path: Path) -> Path:
    tensors = torch.load(theirs, weights_only=True)["model"]
    change(tensors)
    torch.save({"model": tensors}, path)
    return path


CLASSIFIER = "sem_seg_head.predictor.class_embed.weight"
FIRST = "sem_seg_head.predictor.query_feat.weight"
HIDDEN = "sem_seg_head.pixel_decoder.transformer.encoder.layers.0.linear1.weight"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (dict.clear, "no named tensors"),
        (lambda tensors: tensors.pop(CLASSIFIER), "class_embed"),
        (set_to(CLASSIFIER, lambda value: torch.tensor(1.0)), "class_embed"),
        (set_to(CLASSIFIER, lambda value: value[:1]), "class"),
        (set_to(FIRST, lambda value: value[0]), "query_feat"),
        (set_to(FIRST, lambda value: value[:0]), "num_queries"),
        (set_to(HIDDEN, lambda value: torch.tensor(1.0)), "linear1"),
        (set_to(CLASSIFIER, lambda value: value.to(torch.int8)), ["class_embed", "int8"]),
        (set_to(CLASSIFIER, lambda value: value > 0), ["class_embed", "bool"]),
        (set_to(CLASSIFIER, lambda value: value.double() * 1e300), ["class_embed", "infinite"]),
        (set_to(CLASSIFIER, lambda value: value.to(torch.complex64)), "class_embed"),
        (set_to(CLASSIFIER, lambda value: value.to_sparse()), "class_embed"),
        (lambda tensors: [tensors.update({f"model.{name}": tensors.pop(name)}) for name in list(tensors)], "neither"),
    ],
)
def test_weights_that_are_none_are_refused_by_name(
    theirs: Path, tmp_path: Path, change: Callable[..., object], says: str | list[str]
) -> None:
    source = changed(theirs, change, tmp_path / "m.pth")
    out = tmp_path / "out" / "m.safetensors"
    refused_here(lambda: convert(source, out), [str(source), *([says] if isinstance(says, str) else says)])
    assert written(tmp_path / "out") == []


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_weights_of_other_precision_become_float32(
    server: _Forkserver, theirs: Path, tmp_path: Path, kind: torch.dtype
) -> None:
    source = changed(
        theirs, lambda tensors: tensors.update({n: value.to(kind) for n, value in tensors.items()}), tmp_path / "m.pth"
    )
    server.run(["convert-checkpoint", source, "-o", tmp_path / "n.safetensors"]).succeeds_silently()
    assert {value.dtype for value in load_file(tmp_path / "n.safetensors").values()} == {torch.float32}


@pytest.mark.parametrize("kind", ["pipe", "folder", "missing", "empty", "long", "device"])
def test_what_is_no_weights_file_is_refused(server: _Forkserver, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.pth"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "long":
        path = tmp_path / ("x" * 5000 + ".pth")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    result = server.run(["convert-checkpoint", path, "-o", tmp_path / "out.safetensors", "--json"], timeout=20)
    result.fails_with("weights file")
    assert result.out == ""
    assert not (tmp_path / "out.safetensors").exists()


def test_what_a_file_says_of_its_weights_is_not_trusted(tmp_path: Path) -> None:
    tensors = build_model(TINY).state_dict()
    for number, (fields, says) in enumerate(
        [
            ({"num_classes": 10**12}, "num_classes"),
            ({"num_classes": -5}, "num_classes"),
            ({"model": {"encoder_hidden": 10**12}}, "encoder_hidden"),
            ({"model": TINY.model_dump() | {"num_queries": 11}}, "query_feat"),
            ({"short_side": -3}, "short_side"),
            ({"model": "tiny"}, "model"),
        ]
    ):
        text = json.dumps({"schema_": "flowcut.model/1", "model": TINY.model_dump(), **fields})
        path = tmp_path / f"m{number}.safetensors"
        save_file(tensors, path, {"flowcut": text})
        refused_here(functools.partial(convert, path, tmp_path / "out.pth"), [str(path), says])
    assert not (tmp_path / "out.pth").exists()


def test_weights_may_have_any_name(server: _Forkserver, theirs: Path, tmp_path: Path) -> None:
    for number, name in enumerate([b"it's \xc3\xa4.pth", b"\xff.pth", b"a\nb.pth"]):
        source = tmp_path / os.fsdecode(name)
        source.symlink_to(theirs)
        middle = tmp_path / f"\u00e4\n{number}.safetensors"
        server.run(["convert-checkpoint", source, "-o", middle]).succeeds_silently()
        server.run(["convert-checkpoint", middle, "-o", tmp_path / f"{number}.pth", "--json"]).succeeds_silently()


# -------------------------------------------------------------------------------------------------------- demo


@pytest.mark.parametrize("name", ["run", "prediction", "dataset"])
@pytest.mark.parametrize("kind", ["foreign", "file", "real"])
def test_the_demo_removes_nothing_that_is_not_its_own(
    server: _Forkserver, trained: Path, dataset: Path, tmp_path: Path, name: str, kind: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    if kind == "file":
        (out / name).write_text("mine")
    elif kind == "foreign":
        make_folder(out / name)
    elif name == "prediction":
        (out / name / "ytvis").mkdir(parents=True)
        (out / name / "ytvis" / "results.json").write_text("[]")
    else:
        shutil.copytree(trained if name == "run" else dataset, out / name)
    before = snapshot(out)
    server.run(["demo", "-o", out, "--workers", "1"], timeout=20).fails_with(str(out / name), "another --out")
    assert snapshot(out) == before


def test_a_demo_that_is_stopped_goes_no_further(dataset: Path, tmp_path: Path) -> None:
    folder = sample.sample_folder()
    address = f"{folder}::{sample.NAME}"
    stop = after_event(tmp_path / "run", "step", lambda _: (tmp_path / "run" / "stop").touch())
    with meanwhile(stop), pytest.raises(FlowCutError, match="stop file"):
        train_and_predict(dataset, address, folder, tmp_path)
    assert not (tmp_path / "prediction").exists()


def test_a_demo_that_is_ended_by_a_signal_is_ended(dataset: Path, tmp_path: Path) -> None:
    folder = sample.sample_folder()

    class Ended(BaseException):
        pass

    def end(*_: object) -> None:
        raise Ended

    before = signal.signal(signal.SIGTERM, end)
    try:
        kill = after_event(tmp_path / "run", "step", lambda pid: os.kill(pid, signal.SIGTERM))
        with meanwhile(kill), pytest.raises(Ended):
            train_and_predict(dataset, f"{folder}::{sample.NAME}", folder, tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not (tmp_path / "prediction").exists()
