"""The network is the reference's: same weights, same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import data_path
from reference_model import rule_made_weights

from flowcut_training.model import VideoMask2Former
from flowcut_training.weight_names import from_detectron2, to_detectron2


@pytest.fixture(scope="module")
def reference() -> tuple[dict[str, torch.Tensor], dict[str, np.ndarray]]:
    folder = data_path("evalrefs", "vm2f")
    return rule_made_weights(folder), dict(np.load(folder / "expected.npz"))


@torch.no_grad()
def test_it_returns_what_the_reference_returns(reference) -> None:
    weights, expected = reference
    model = VideoMask2Former().eval()
    ours, unknown = from_detectron2(weights)
    assert not unknown
    model.load_state_dict(ours, strict=True)
    frames, height, width = (int(expected[name]) for name in ("frames", "height", "width"))
    video = np.random.default_rng(frames).standard_normal((1, frames, 3, height, width)).astype(np.float32)

    means = [features.double().mean().item() for features in model.backbone(torch.from_numpy(video)[0])]
    np.testing.assert_allclose(means, expected["backbone_means"], atol=1e-5)
    found = model(torch.from_numpy(video))
    np.testing.assert_allclose(found["pred_logits"][0], expected["pred_logits"], atol=1e-4)
    np.testing.assert_allclose(found["pred_masks"][0], expected["pred_masks"], atol=1e-4)
    # As prediction does it: masks for looking are made small.
    short = model(torch.from_numpy(video), auxiliary=False)
    np.testing.assert_allclose(short["pred_masks"][0], expected["pred_masks"], atol=1e-4)
    aux = torch.stack([layer["pred_logits"][0] for layer in found["aux_outputs"]])
    np.testing.assert_allclose(aux, expected["aux_logits"], atol=1e-4)


def test_the_names_go_over_and_back_without_loss(reference) -> None:
    weights, _ = reference
    ours, unknown = from_detectron2(weights)
    theirs, rest = to_detectron2(ours)
    assert (unknown, rest) == ([], [])
    assert set(ours) == set(VideoMask2Former().state_dict())
    assert set(theirs) == set(weights)
    assert all(theirs[name] is weights[name] for name in weights)
