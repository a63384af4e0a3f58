from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flowcut_napari.core import InputError, WeightsError, flow_picture
from flowcut_napari.core.features import (
    Appearance,
    HandmadeFeatures,
    Motion,
    TransformerFeatures,
    create_transformer,
    patch_grid,
)
from flowcut_napari.core.weights import WeightsFile, sha256_of


def _random_weights(name: str, path: Path, wrap: str | None = None, prefix: str = "") -> WeightsFile:
    """Save a randomly initialised model under its official names."""
    import torch

    torch.manual_seed(0)
    model = create_transformer(name)
    for parameter in model.parameters():  # no zeros anywhere: a bias left out would not be seen
        torch.nn.init.normal_(parameter, std=0.05)
    tensors: dict[str, Any] = {prefix + key: value for key, value in model.state_dict().items()}
    torch.save({wrap: tensors, "epoch": 3} if wrap else tensors, path)
    return WeightsFile(name, path, sha256_of(path))


def _keys_by_hand(name: str, weights: WeightsFile, picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The keys as METHOD 1.6 says it: a hook on the qkv layer of the last block of the whole model."""
    import torch

    model = create_transformer(name).eval()
    model.load_state_dict(torch.load(weights.path, weights_only=True))
    resized = np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.LANCZOS))
    mean, deviation = np.array(model.pretrained_cfg["mean"]), np.array(model.pretrained_cfg["std"])
    values = torch.from_numpy((resized / 255 - mean) / deviation).permute(2, 0, 1)[None].float()
    seen: list[torch.Tensor] = []
    model.blocks[-1].attn.qkv.register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.inference_mode():
        model.forward_features(values)
    heads = model.blocks[-1].attn.num_heads
    batch, tokens, width = seen[0].shape
    keys = seen[0].reshape(batch, tokens, 3, heads, width // 3 // heads)[:, :, 1].reshape(batch, tokens, -1)
    return keys[0, model.num_prefix_tokens :].numpy()


@pytest.mark.parametrize(
    ("height", "width", "patch", "grid"),
    [(360, 640, 16, (22, 40)), (376, 854, 16, (24, 53)), (480, 480, 8, (60, 60)), (360, 640, 14, (26, 46))],
)
def test_the_grid_rounds_half_to_even(height: int, width: int, patch: int, grid: tuple[int, int]) -> None:
    assert patch_grid(height, width, patch) == grid


@pytest.mark.parametrize(
    ("name", "prefix_tokens", "grid"),
    [
        ("dino", 1, (22, 40)),
        ("vit_tiny_patch16_224", 1, (22, 40)),
        ("vit_small_patch14_reg4_dinov2", 5, (26, 46)),
        ("vit_small_patch8_224", 1, (45, 80)),
    ],
)
def test_keys_equal_those_of_a_hook_on_the_whole_model(
    tmp_path: Path, random: np.random.Generator, name: str, prefix_tokens: int, grid: tuple[int, int]
) -> None:
    weights = _random_weights(name, tmp_path / "model.pth")
    features = TransformerFeatures(name, weights)
    picture = random.integers(0, 255, (360, 640, 3), dtype=np.uint8)
    assert features.grid(360, 640) == grid
    assert features._prefix_tokens == prefix_tokens
    (keys,) = features.encode([Appearance(picture)])
    expected = _keys_by_hand(name, weights, picture, (grid[0] * features.patch, grid[1] * features.patch))
    assert keys.shape == (grid[0] * grid[1], expected.shape[1])
    assert keys.dtype == np.float32
    assert np.abs(keys - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_frame_and_its_flow_picture_go_through_in_one_batch(tmp_path: Path, random: np.random.Generator) -> None:
    features = TransformerFeatures("vit_tiny_patch16_224", _random_weights("vit_tiny_patch16_224", tmp_path / "m.pth"))
    picture = random.integers(0, 255, (96, 128, 3), dtype=np.uint8)
    flow = random.standard_normal((96, 128, 2)).astype(np.float32)
    together = features.encode([Appearance(picture), Motion(flow)])
    alone = [features.encode([view])[0] for view in (Appearance(picture), Appearance(flow_picture(flow)))]
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one - other).max() < 1e-4


@pytest.mark.parametrize(("wrap", "prefix"), [(None, ""), ("teacher", "backbone."), ("model", "module.")])
def test_official_checkpoints_load_however_they_are_wrapped(tmp_path: Path, wrap: str | None, prefix: str) -> None:
    weights = _random_weights("vit_tiny_patch16_224", tmp_path / "model.pth", wrap, prefix)
    TransformerFeatures("vit_tiny_patch16_224", weights)


def test_a_full_dino_checkpoint_with_heads_and_arguments_loads(tmp_path: Path) -> None:
    import argparse

    import torch

    weights = _random_weights("dino", tmp_path / "plain.pth")
    tensors = {f"backbone.{key}": value for key, value in torch.load(weights.path, weights_only=True).items()}
    tensors["head.mlp.0.weight"] = torch.zeros(4, 384)
    path = tmp_path / "full.pth"
    torch.save({"student": {}, "teacher": tensors, "args": argparse.Namespace(arch="vit_small")}, path)
    full = TransformerFeatures("dino", WeightsFile("dino", path, sha256_of(path)))
    plain = TransformerFeatures("dino", weights)
    picture = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    assert np.array_equal(full.encode([Appearance(picture)])[0], plain.encode([Appearance(picture)])[0])


def test_official_dinov2_names_load(tmp_path: Path) -> None:
    import torch

    name = "vit_small_patch14_dinov2"
    plain = torch.load(_random_weights(name, tmp_path / "plain.pth").path, weights_only=True)
    official = {key.replace("reg_token", "register_tokens"): value for key, value in plain.items()}
    official["mask_token"] = torch.zeros(1, 384)
    path = tmp_path / "official.pth"
    torch.save(official, path)
    TransformerFeatures(name, WeightsFile(name, path, sha256_of(path)))


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    tiny = _random_weights("vit_tiny_patch16_224", tmp_path / "tiny.pth")
    eight = _random_weights("vit_small_patch8_224", tmp_path / "eight.pth")
    for weights in (tiny, eight):
        with pytest.raises(InputError, match="no weights of dino"):
            TransformerFeatures("dino", WeightsFile("dino", weights.path, weights.sha256))


def test_a_missing_layer_is_refused(tmp_path: Path) -> None:
    import torch

    weights = _random_weights("vit_tiny_patch16_224", tmp_path / "tiny.pth")
    tensors = torch.load(weights.path, weights_only=True)
    del tensors["blocks.3.attn.qkv.bias"]
    torch.save(tensors, weights.path)
    with pytest.raises(WeightsError, match=r"1 of its tensors missing, first blocks\.3\.attn\.qkv\.bias"):
        TransformerFeatures("vit_tiny_patch16_224", weights)


def test_models_without_keys_to_take_are_refused() -> None:
    with pytest.raises(InputError, match="no plain vision transformer"):
        create_transformer("resnet18")
    with pytest.raises(InputError, match="unknown feature model 'vit_imaginary'"):
        create_transformer("vit_imaginary")


@pytest.mark.parametrize("size", [(360, 640), (640, 360), (90, 120), (240, 241)])
def test_handmade_features_take_any_size_and_are_the_same_every_time(
    random: np.random.Generator, size: tuple[int, int]
) -> None:
    features = HandmadeFeatures()
    picture = random.integers(0, 255, (*size, 3), dtype=np.uint8)
    flow = random.standard_normal((*size, 2)).astype(np.float32)
    rows, cols = features.grid(*size)
    views = [Appearance(picture), Motion(flow)]
    for values, again in zip(features.encode(views), features.encode(views), strict=True):
        assert values.shape[0] == rows * cols
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert np.array_equal(values, again)


def test_handmade_features_of_nothing_are_finite() -> None:
    picture = np.full((96, 128, 3), 77, np.uint8)
    still = np.zeros((96, 128, 2), np.float32)
    for values in HandmadeFeatures().encode([Appearance(picture), Motion(still)]):
        assert np.isfinite(values).all()
        cosines = values @ values.T / np.maximum(np.linalg.norm(values, axis=1)[:, None] ** 2, 1e-12)
        assert cosines.min() > -0.5  # nothing is told apart by noise alone
