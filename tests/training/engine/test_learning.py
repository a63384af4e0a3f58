"""The network learns: the loss falls, gradients reach everything, and one clip is learnt by heart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_runs import plan, run, write_clips

from flowcut_training.config import load_config
from flowcut_training.data import open_clips, training_batches
from flowcut_training.engine.events import read_events
from flowcut_training.engine.optimizer import learning_rate, make_optimizer
from flowcut_training.loss import SetCriterion
from flowcut_training.model import normalize
from flowcut_training.trained import load_trained
from flowcut_training.weight_files import build_model

AS_IT_IS = ["flip=0", "rotation=0", "brightness=[1,1]", "contrast=[1,1]"]


@pytest.fixture(scope="module")
def one_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of one clip of two frames."""
    return write_clips(tmp_path_factory.mktemp("one"), count=2)


def test_one_clip_is_learnt_by_heart(one_clip: Path, tmp_path: Path) -> None:
    outcome = run(one_clip, tmp_path / "run", *AS_IT_IS, "steps=100", "batch=1", "points=128", "seed=0")
    losses = [event["loss"] for event in read_events(tmp_path / "run") if event["event"] == "step"]
    assert np.mean(losses[-10:]) < 0.2 * np.mean(losses[:5])

    config = load_config("tiny", AS_IT_IS)
    batch = next(iter(training_batches(open_clips(one_clip), None, config.data, seed=0, batch=1, start=0, steps=1)))
    model = load_trained(outcome.checkpoint.parent.parent, "last").model
    with torch.no_grad():
        found = model(normalize(batch.frames, batch.sizes))
    height, width = batch.frames.shape[-2:]
    best = found["pred_logits"][0].softmax(-1)[:, 0].topk(len(batch.masks[0])).indices
    masks = torch.nn.functional.interpolate(found["pred_masks"][0, best], (height, width), mode="bilinear") > 0
    for wanted in batch.masks[0]:
        overlaps = [(wanted & mask).sum() / (wanted | mask).sum() for mask in masks]
        assert max(overlaps) > 0.95


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_reach_every_weight(one_clip: Path, dropout: float) -> None:
    torch.manual_seed(0)
    config = load_config("tiny", [f"dropout={dropout}"])
    model = build_model(config.model).train()
    for layer in model.pixel_decoder.layers:
        # These start at zero, which positions do not get past in the first step.
        for part in (layer.attention.offsets, layer.attention.weights):
            torch.nn.init.normal_(part.weight, std=0.01)
    batch = next(iter(training_batches(open_clips(one_clip), None, config.data, seed=0, batch=1, start=0, steps=1)))
    SetCriterion(config.loss)(model(normalize(batch.frames, batch.sizes)), batch.masks).total.backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []


def test_norms_and_embeddings_do_not_decay_and_the_backbone_learns_slower() -> None:
    config = load_config("tiny", ["backbone_factor=0.1", "lr=1"])
    model = build_model(config.model)
    names = {id(weight): name for name, weight in model.named_parameters()}
    groups = make_optimizer(model, config.optimizer).param_groups
    of = {names[id(weight)]: (group["lr"], group["weight_decay"]) for group in groups for weight in group["params"]}
    assert len(of) == len(names)
    assert of["backbone.conv1.weight"] == (0.1, 0.05)
    assert of["query_decoder.query_feat.weight"] == of["query_decoder.norm.weight"] == (1.0, 0.0)
    assert of["pixel_decoder.lateral.1.bias"] == of["query_decoder.level_embed.weight"] == (1.0, 0.0)
    assert of["pixel_decoder.level_embed"] == of["query_decoder.class_embed.bias"] == (1.0, 0.05)


def test_the_learning_rate_warms_up_and_falls_at_milestones() -> None:
    parameters = load_config("paper", ["lr=1", "warmup_factor=0.1", "milestones=[20,30]"]).optimizer
    assert [learning_rate(step, parameters) for step in (0, 5, 10, 19)] == pytest.approx([0.1, 0.55, 1, 1])
    assert [learning_rate(step, parameters) for step in (20, 29, 30)] == pytest.approx([0.1, 0.1, 0.01])
    assert learning_rate(3, load_config("paper").optimizer) == 1e-6


def test_accumulated_parts_take_the_step_of_the_whole_batch(one_clip: Path, tmp_path: Path) -> None:
    """All but the points of the loss, which are drawn part by part."""
    losses = []
    for name, parts in (("whole", 1), ("parts", 2)):
        run(one_clip, tmp_path / name, *AS_IT_IS, "steps=1", "batch=4", f"accumulation={parts}", "points=4000")
        losses.append(next(event for event in read_events(tmp_path / name) if event["event"] == "step"))
    for figure in ("loss", "classification", "mask", "dice", "gradient_norm"):
        assert losses[1][figure] == pytest.approx(losses[0][figure], rel=0.03)


def test_averaged_weights_are_kept_and_predicted_with(one_clip: Path, tmp_path: Path) -> None:
    outcome = run(one_clip, tmp_path / "run", "steps=3", "ema=0.5")
    assert load_trained(tmp_path / "run").path == outcome.checkpoint / "ema.safetensors"
    again = run(one_clip, tmp_path / "two", "steps=2", "ema=0.5")
    run(one_clip, tmp_path / "two", "steps=3", "ema=0.5", resume=True)
    first, second = (load_trained(tmp_path / name).model.state_dict() for name in ("run", "two"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert again.step == 2
    assert plan(one_clip, tmp_path).config.optimizer.ema == 0
