"""The reference case of VideoMask2Former: weights and input that are made by rule, and what the reference returns."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch


def rule_made_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Make the weights of the reference case, under detectron2's names."""
    shapes = json.loads((folder / "keys.json").read_text())
    salt = str(np.load(folder / "expected.npz")["salt"])
    return {name: torch.from_numpy(_weight(salt, name, tuple(shape))) for name, shape in shapes.items()}


def _weight(salt: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.default_rng(zlib.crc32((salt + name).encode()))
    normal = random.standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        weight = 0.5 + random.random(shape)
    elif name.endswith("running_mean"):
        weight = 0.1 * normal
    elif "sampling_offsets" in name or "attention_weights" in name:
        weight = 0.05 * normal
    elif len(shape) == 1 and name.endswith("conv3.norm.weight"):
        weight = 0.2 * (1 + 0.1 * normal)
    elif len(shape) == 1:
        weight = 1 + 0.1 * normal if name.endswith("weight") else 0.05 * normal
    elif name.endswith(("query_feat.weight", "query_embed.weight", "level_embed.weight", "level_embed")):
        weight = normal
    else:
        weight = normal / np.sqrt(np.prod(shape[1:]))
    return np.asarray(weight, dtype=np.float32)
