"""What goes wrong in training ends in one line and an error event, and checkpoints stay whole."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_runs import plan, run, same, write_clips

from flowcut_napari.core.errors import FlowCutError, InputError, OutputError, WeightsError
from flowcut_napari.core.files import lock_folder
from flowcut_training.config import changed, load_config, parameter_names
from flowcut_training.engine import loop, stepping
from flowcut_training.engine.checkpoints import list_checkpoints
from flowcut_training.engine.events import read_events
from flowcut_training.engine.loop import train
from flowcut_training.engine.periodic import Evaluated
from flowcut_training.engine.plan import TrainingError
from flowcut_training.engine.run_folder import choose_config
from flowcut_training.trained import load_trained
from flowcut_training.weight_files import About, build_model, write_model


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"), count=3)


@pytest.fixture
def own(dataset: Path, tmp_path: Path) -> Path:
    """A dataset that a test may damage."""
    return write_clips(tmp_path / "own", count=3)


def last_event(folder: Path) -> dict:
    return read_events(folder)[-1]


def refused(words: str, *arguments: object, **options: object) -> str:
    with pytest.raises(FlowCutError, match=words) as caught:
        run(*arguments, **options)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_truncated_frame_names_clip_and_file(own: Path, tmp_path: Path) -> None:
    victim = sorted((own / "frames").rglob("*.jpg"))[0]
    victim.write_bytes(victim.read_bytes()[:200])
    text = refused("clip", own, tmp_path / "run", "steps=9")
    assert victim.name in text
    assert last_event(tmp_path / "run") | {"time": 0} == {"event": "error", "time": 0, "reason": text, "rank": 0}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_missing_frame_is_passed_over_and_counted_if_asked_for(own: Path, tmp_path: Path, workers: int) -> None:
    victim = sorted((own / "frames").rglob("*.jpg"))[0]
    victim.unlink()
    options = ("steps=6", f"workers={workers}")
    text = refused(victim.name, own, tmp_path / "run", *options)
    outcome = run(own, tmp_path / "other", *options, "skip_broken=true")
    assert outcome.end == "done" and outcome.broken_clips > 0
    broken = [event["reason"] for event in read_events(tmp_path / "other") if event["event"] == "broken_clip"]
    assert len(broken) == outcome.broken_clips
    assert text in broken


def test_broken_clips_are_counted_over_a_stop(own: Path, tmp_path: Path) -> None:
    sorted((own / "frames").rglob("*.jpg"))[0].unlink()
    straight = run(own, tmp_path / "straight", "steps=6", "skip_broken=true")
    run(own, tmp_path / "run", "steps=3", "skip_broken=true")
    outcome = run(own, tmp_path / "run", "steps=6", "skip_broken=true", resume=True)
    assert outcome.broken_clips == straight.broken_clips > 0
    assert same(outcome.checkpoint, straight.checkpoint)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content["annotations"].clear(), "none of its .* clips has an instance"),
        (lambda content: content["annotations"][0].update(category_id=2), "category 2"),
        (lambda content: content["annotations"][0].update(id=0), "0"),
        (lambda content: content["videos"][0].update(id=0), "0"),
        (lambda content: content["annotations"][0].update(video_id=99), "99"),
    ],
)
def test_a_dataset_that_is_wrong_is_refused(own: Path, tmp_path: Path, change, words: str) -> None:
    content = json.loads((own / "annotations.json").read_text())
    change(content)
    (own / "annotations.json").write_text(json.dumps(content))
    refused(words, own, tmp_path / "run")
    assert last_event(tmp_path / "run")["event"] == "error"
    # The folder is still free for another try.
    (tmp_path / "again").mkdir()
    run(write_clips(tmp_path / "again", count=3), tmp_path / "run", "steps=1")


def test_no_dataset_no_run(tmp_path: Path) -> None:
    refused("nowhere", tmp_path / "nowhere", tmp_path / "run")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizer.lrr=1", "did you mean optimizer.lr"),
        ("optimiser.lr=1", "did you mean optimizer.lr"),
        ("stepz=3", "did you mean optimizer.steps"),
        ("data.lr=3", "did you mean optimizer.lr"),
        ("lr", "NAME=VALUE"),
        ("=3", "NAME=VALUE"),
        ("lr=abc", "optimizer.lr is 'abc'"),
        ("lr=-1", "greater than 0"),
        ("lr=.nan", "optimizer.lr"),
        ("lr=[1", "yaml"),
        ("lr=", "optimizer.lr is None"),
        ("steps=2.5", "integer"),
        ("steps=0", "steps"),
        ("batch=true", "batch"),
        ("width=48", "multiple"),
        ("width=96 ", "heads"),
        ("backbone=resnet101", "resnet50"),
        ("brightness=[1.1,0.9]", "brightness"),
        ("stills_share=0.5", "stills"),
        ("seed=" + "[" * 2000, "yaml"),
    ],
)
def test_a_wrong_parameter_is_named_and_the_right_one_too(override: str, words: str) -> None:
    more = ["heads=7"] if override == "width=96 " else []
    with pytest.raises(InputError, match=words) as caught:
        load_config("tiny", [*more, override.strip()])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modell: {}", "did you mean model"),
        ("model: {widht: 32}", "did you mean model.width"),
        ("model: 3", "holds no names"),
        ("- 3", "holds no sections"),
        ("model: {", "yaml"),
        ("model: !!python/object:os.system {}", "yaml"),
        ("{1: {}}", "unknown section"),
        ("optimizer: {lr: fast}", "optimizer.lr is 'fast'"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        load_config(tmp_path / "own.yaml")
    assert "own.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_there_is_no_such_configuration(tmp_path: Path) -> None:
    for source in ("papr", tmp_path / "none.yaml", tmp_path):
        with pytest.raises(InputError):
            load_config(source)
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="yaml"):
        load_config(tmp_path / "b.yaml")


def test_a_configuration_survives_being_written(tmp_path: Path) -> None:
    config = load_config("davis", ["lr=3e-7", "milestones=[5, 9]", "stills=x", "stills_share=0.23"])
    (tmp_path / "c.yaml").write_text(config.to_yaml())
    assert load_config(tmp_path / "c.yaml") == config
    # Every name is one of a single section, so that it can be given without it.
    names = [name.split(".")[1] for name in parameter_names()]
    assert len(names) == len(set(names))


def test_a_folder_in_use_is_refused(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with lock_folder(folder, ".lock", "held"):
        refused("another process trains in this folder", dataset, folder)
    run(dataset, folder, "steps=1")
    before = sorted(path.name for path in folder.rglob("*"))
    refused("holds a run already; go on with it by --resume", dataset, folder)
    assert sorted(path.name for path in folder.rglob("*")) == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    refused("other files in it", dataset, tmp_path / "other")
    (tmp_path / "file").touch()
    refused("cannot write", dataset, tmp_path / "file")


def test_a_run_without_a_checkpoint_may_begin_anew(dataset: Path, tmp_path: Path) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepping, "normalize", full)
        refused("out of memory", dataset, tmp_path / "run", "batch=4")
    assert run(dataset, tmp_path / "run", "batch=2", "steps=1").step == 1
    refused("holds a run already", dataset, tmp_path / "run", "steps=1")


def test_what_is_not_there_cannot_go_on(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run to go on with"):
        choose_config(tmp_path / "run", None, [], resume=True)
    run(dataset, tmp_path / "run", "steps=1")
    with pytest.raises(InputError, match=r"cannot change data\.flip, optimizer\.lr"):
        choose_config(tmp_path / "run", None, ["lr=1", "flip=0"], resume=True)
    assert choose_config(tmp_path / "run", None, ["steps=7"], resume=True).optimizer.steps == 7


def test_another_dataset_is_not_gone_on_with(dataset: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path / "run", "steps=1")
    other = write_clips(tmp_path / "other", count=4)
    refused("not the dataset that this run began with", other, tmp_path / "run", "steps=2", resume=True)


def test_weights_that_are_missing_or_of_another_network_are_refused(dataset: Path, tmp_path: Path) -> None:
    text = refused("missing weights: cutler", dataset, tmp_path / "run", "init=cutler")
    assert "cutler_m2f_rn50.pth" in text and "--weights cutler=PATH" in text
    refused("no such weights file", dataset, tmp_path / "run", "init=cutlery")
    config = load_config("tiny", ["num_queries=7"]).model
    write_model(tmp_path / "m.safetensors", build_model(config).state_dict(), About(model=config))
    text = refused("another architecture", dataset, tmp_path / "run", f"init={tmp_path / 'm.safetensors'}")
    assert "query_decoder.query_feat.weight" in text


def test_a_batch_that_cannot_be_shared_out_is_refused(dataset: Path, tmp_path: Path) -> None:
    refused("batch is 3: it cannot be shared out", dataset, tmp_path / "run", "batch=3", "accumulation=2")


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps", "tpu", "meta", ""])
def test_a_device_that_is_not_there_is_refused(dataset: Path, tmp_path: Path, device: str) -> None:
    if device.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match="--device"):
        train(plan(dataset, tmp_path / "run", device=device))


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_checkpoint(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(dataset, folder, "steps=2")
    good = list_checkpoints(folder)[-1].folder
    weights = (good / "model.safetensors").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepping, "normalize", lambda frames, sizes: torch.full(frames.shape, float("nan")))
        text = refused("the loss is not finite at step 3", dataset, folder, "steps=5", resume=True)
    assert "clip " in text and "step 2" in text
    assert last_event(folder)["event"] == "error"
    assert [checkpoint.folder for checkpoint in list_checkpoints(folder)] == [good]
    assert (good / "model.safetensors").read_bytes() == weights
    assert run(dataset, folder, "steps=5", resume=True).step == 5


def test_a_gradient_that_is_not_finite_ends_the_run_too(dataset: Path, tmp_path: Path) -> None:
    real = torch.nn.utils.clip_grad_norm_
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *a, **k: real(*a, **k) * float("inf"))
        refused("the gradient is not finite at step 1", dataset, tmp_path / "run")


def test_a_full_disk_leaves_the_old_checkpoint_whole(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    straight = run(dataset, tmp_path / "straight", "steps=4").checkpoint
    run(dataset, folder, "steps=2")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:

        def listen(event: dict) -> None:
            if event["event"] == "step" and event["step"] == 3:
                patch.setattr(os, "fsync", full)

        with pytest.raises(OutputError, match="space") as caught:
            run(dataset, folder, "steps=4", resume=True, listen=listen)
    assert "earlier checkpoints are whole" in str(caught.value) and "\n" not in str(caught.value)
    assert [checkpoint.state.step for checkpoint in list_checkpoints(folder)] == [2]
    assert not [path for path in folder.rglob("*") if path.name.endswith((".part", ".old"))]
    assert same(run(dataset, folder, "steps=4", resume=True).checkpoint, straight)


def test_too_little_gpu_memory_says_what_was_tried_and_what_to_lower(dataset: Path, tmp_path: Path) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.50 GiB.\nmore lines")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepping, "normalize", full)
        with pytest.raises(TrainingError) as caught:
            run(dataset, tmp_path / "run", "batch=6")
    text = str(caught.value)
    assert "optimizer.batch=6" in text and "64x128" in text and "accumulation" in text and "\n" not in text
    assert last_event(tmp_path / "run")["reason"] == text


def test_the_last_few_checkpoints_and_the_best_are_kept(dataset: Path, tmp_path: Path) -> None:
    scores = iter([0.1, 0.9, 0.2, 0.3, 0.1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "evaluate_model", lambda *_: Evaluated({"AP": next(scores)}, 0))
        outcome = run(
            dataset,
            tmp_path / "run",
            "steps=5",
            "keep=2",
            "evaluate_every=1",
            f"evaluate={dataset}",
            "evaluate_clips=1",
        )
    assert [checkpoint.state.step for checkpoint in list_checkpoints(tmp_path / "run")] == [2, 4, 5]
    assert outcome.best == tmp_path / "run" / "checkpoints" / "step-00000002"
    assert (outcome.score, outcome.end) == (0.9, "done")
    assert load_trained(tmp_path / "run").about.step == 2
    assert load_trained(tmp_path / "run", "last").about.step == 5
    assert load_trained(tmp_path / "run", "4").about.step == 4
    with pytest.raises(InputError, match="best, last, 2, 4, 5"):
        load_trained(tmp_path / "run", "3")


@pytest.mark.parametrize("damage", ["optimizer.pt", "model.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_named(dataset: Path, tmp_path: Path, damage: str) -> None:
    victim = run(dataset, tmp_path / "run", "steps=1").checkpoint / damage
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    assert damage in refused("damaged", dataset, tmp_path / "run", "steps=2", resume=True)


def test_what_is_left_of_a_killed_run_is_put_in_order(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    saved = run(dataset, folder, "steps=2").checkpoint
    # Between the two renames of a checkpoint that replaces another of its step, and amid the writing of the next.
    saved.rename(saved.with_name(f".{saved.name}.old"))
    (saved.parent / ".step-00000003.part").mkdir()
    (folder / "events.jsonl").open("a").write('{"event": "st')
    touched_long_ago(folder / "stop")
    (saved.parent / ".step-00000001.gone").mkdir()
    assert run(dataset, folder, "steps=3", resume=True).step == 3
    assert sorted(path.name for path in saved.parent.iterdir()) == ["step-00000002", "step-00000003"]
    assert [event["event"] for event in read_events(folder)].count("done") == 2


def touched_long_ago(path: Path) -> None:
    path.touch()
    os.utime(path, (0, 0))


def test_an_earlier_stop_file_does_not_stop_a_run_and_one_while_it_starts_does(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    touched_long_ago(tmp_path / "run" / "stop")
    assert run(dataset, tmp_path / "run", "steps=2").step == 2
    started = plan(dataset, tmp_path / "other", "steps=2")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "stop").touch()
    outcome = train(started)
    assert (outcome.end, outcome.step) == ("stopped", 0)
    assert run(dataset, tmp_path / "other", "steps=2", resume=True).step == 2


def test_what_cannot_be_evaluated_is_known_before_the_first_step(own: Path, dataset: Path, tmp_path: Path) -> None:
    annotations = own / "annotations.json"
    document = json.loads(annotations.read_text())
    for item in document["annotations"]:
        item.pop("areas")
    annotations.write_text(json.dumps(document))
    refused("no areas", dataset, tmp_path / "run", f"evaluate={own}")
    annotations.write_text(json.dumps({**document, "annotations": []}))
    refused("has an object", dataset, tmp_path / "run", f"evaluate={own}")
    (tmp_path / "third").mkdir()
    other = write_clips(tmp_path / "third", count=3)
    sorted((other / "frames").rglob("*.jpg"))[0].unlink()
    refused("no such frame", dataset, tmp_path / "run", f"evaluate={other}")


def test_an_evaluation_that_fails_costs_no_step(own: Path, dataset: Path, tmp_path: Path) -> None:
    frame = sorted((own / "frames").rglob("*.jpg"))[0]

    def spoil(event: dict) -> None:
        if event["event"] == "start":
            frame.write_bytes(b"spoiled")

    options = ("steps=4", "evaluate_every=2", f"evaluate={own}")
    outcome = run(dataset, tmp_path / "run", *options, listen=spoil)
    assert (outcome.end, outcome.best) == ("done", None)
    failed = [event for event in read_events(tmp_path / "run") if event["event"] == "evaluation_failed"]
    assert [event["step"] for event in failed] == [2, 4] and frame.name in failed[0]["reason"]


def test_scores_of_another_evaluation_are_not_compared(dataset: Path, tmp_path: Path) -> None:
    scores = iter([0.9, 0.2, 0.3])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "evaluate_model", lambda *_: Evaluated({"AP": next(scores)}, 0))
        often = ["evaluate_every=1", f"evaluate={dataset}"]
        run(dataset, tmp_path / "run", "steps=1", "evaluate_clips=1", *often)
        outcome = run(dataset, tmp_path / "run", "steps=3", "evaluate_clips=2", *often, resume=True)
    assert (outcome.best, outcome.score) == (outcome.checkpoint, 0.3)


def test_a_run_that_met_a_broken_clip_goes_on_without_it(own: Path, tmp_path: Path) -> None:
    victims = sorted((own / "frames").rglob("*.jpg"))
    run(own, tmp_path / "run", "steps=2")
    victims[0].unlink()
    refused(victims[0].name, own, tmp_path / "run", "steps=9", resume=True)
    outcome = run(own, tmp_path / "run", "steps=9", "skip_broken=true", "accumulation=2", resume=True)
    assert outcome.end == "done" and outcome.broken_clips > 0


def test_a_weights_file_that_is_not_finite_is_refused(dataset: Path, tmp_path: Path) -> None:
    config = load_config("tiny").model
    tensors = build_model(config).state_dict()
    tensors["query_decoder.class_embed.bias"] = torch.tensor([np.nan, 0.0])
    write_model(tmp_path / "m.safetensors", tensors, About(model=config))
    with pytest.raises(WeightsError, match="NaN"):
        run(dataset, tmp_path / "run", f"init={tmp_path / 'm.safetensors'}")


def test_an_evaluation_that_a_stop_cut_short_is_made_up_for(dataset: Path, tmp_path: Path) -> None:
    folder, options = tmp_path / "run", ("steps=4", "evaluate_every=2", f"evaluate={dataset}", "evaluate_clips=2")

    def stop(event: dict) -> None:
        if event["event"] == "checkpoint" and event["step"] == 2:
            (folder / "stop").touch()

    assert run(dataset, folder, *options, listen=stop).step == 2
    assert not [event for event in read_events(folder) if event["event"] == "evaluation"]
    run(dataset, folder, *options, resume=True)
    assert [event["step"] for event in read_events(folder) if event["event"] == "evaluation"] == [2, 4]


@pytest.mark.parametrize(("name", "words"), [("cuttler", "training knows cutler"), ("cutler", "is not used")])
def test_weights_that_nothing_uses_are_refused(dataset: Path, tmp_path: Path, name: str, words: str) -> None:
    asked = plan(dataset, tmp_path / "run")
    with pytest.raises(WeightsError, match=words):
        train(replace(asked, weights={name: tmp_path / "nowhere.pth"}))


def test_lists_need_no_brackets_and_files_leave_out_what_is_as_in_the_paper(tmp_path: Path) -> None:
    config = load_config("tiny", ["brightness=0.8,1.2", "milestones=10"])
    assert (config.data.brightness, config.optimizer.milestones) == ((0.8, 1.2), (10,))
    (tmp_path / "own.yaml").write_text("optimizer: {lr: 1e-5}")
    assert changed(load_config("paper"), load_config(tmp_path / "own.yaml")) == ["optimizer.lr"]
