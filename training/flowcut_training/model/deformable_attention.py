"""Multi-scale deformable attention (Zhu et al. 2021) in plain PyTorch."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DeformableAttention(nn.Module):
    """Every pixel looks at a few points near it on every level, and learns where and how much.

    Parameters
    ----------
    width : int
        Channels of the features, shared out among the heads.
    levels, heads, points : int
        Points are of each head on each level.
    """

    def __init__(self, width: int, levels: int, heads: int, points: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} cannot be shared out among {heads} heads")
        self.levels, self.heads, self.points = levels, heads, points
        self.offsets = nn.Linear(width, heads * levels * points * 2)
        self.weights = nn.Linear(width, heads * levels * points)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with equal weights on points that go out from the pixel, each head in its own direction."""
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions = torch.stack((angles.cos(), angles.sin()), dim=1)
        # On the square around the pixel, so that the first point of a diagonal head is a diagonal neighbour.
        directions = directions / directions.abs().amax(dim=1, keepdim=True)
        distances = torch.arange(1, self.points + 1)
        bias = directions[:, None, None, :] * distances[None, None, :, None]
        with torch.no_grad():
            self.offsets.bias.copy_(bias.expand(-1, self.levels, -1, -1).flatten())
        for layer in (self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, query: Tensor, places: Tensor, features: Tensor, shapes: list[tuple[int, int]], pixels: Tensor
    ) -> Tensor:
        """Return what every query gathers.

        Parameters
        ----------
        query : (N, S, C) tensor
            Features with their positions, all levels one after the other.
        places : (S, 2) tensor
            Of each query, (x, y) in 0..1 of the picture.
        features : (N, S, C) tensor
            What is gathered, ordered as the queries.
        shapes : list of (height, width)
            Of the levels; their areas sum to S.
        pixels : (levels, 2) tensor
            Of each level, one over its width and one over its height.

        Returns
        -------
        (N, S, C) tensor
        """
        count, length, width = query.shape
        head_width = width // self.heads
        values = self.value(features).view(count, length, self.heads, head_width)
        offsets = self.offsets(query).view(count, length, self.heads, self.levels, self.points, 2)
        weights = self.weights(query).view(count, length, self.heads, self.levels * self.points).softmax(-1)
        weights = weights.transpose(1, 2).reshape(count * self.heads, 1, length, self.levels, self.points)

        gathered = query.new_zeros(count * self.heads, head_width, length)
        areas = [height * width for height, width in shapes]
        for level, ((height, columns), value) in enumerate(zip(shapes, values.split(areas, dim=1), strict=True)):
            maps = value.permute(0, 2, 3, 1).reshape(count * self.heads, head_width, height, columns)
            # Offsets are in pixels of the level; grid_sample counts from -1 to 1 over the picture.
            points = places[None, :, None, None, :] + offsets[:, :, :, level] * pixels[level]
            grid = (2 * points - 1).transpose(1, 2).flatten(0, 1)
            samples = F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            gathered = gathered + (samples * weights[:, :, :, level]).sum(-1)
        gathered = gathered.view(count, width, length).transpose(1, 2)
        return self.out(gathered)
