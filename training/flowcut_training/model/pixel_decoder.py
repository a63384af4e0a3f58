"""The pixel decoder: features of three levels exchange what they know, and a fine map is made for the masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowcut_training.model.deformable_attention import DeformableAttention
from flowcut_training.model.positions import frame_positions

_LEVELS = 3
_GROUPS = 32


class _Norm(nn.GroupNorm):
    """Group normalisation that takes a map of one pixel, too: the coarsest of the smallest frames."""

    def forward(self, features: Tensor) -> Tensor:
        return torch.group_norm(features, self.num_groups, self.weight, self.bias, self.eps)


class EncoderLayer(nn.Module):
    """Deformable self-attention and a two-layer network, each added and normalised afterwards."""

    def __init__(self, width: int, heads: int, points: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = DeformableAttention(width, _LEVELS, heads, points)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(
        self, features: Tensor, positions: Tensor, places: Tensor, shapes: list[tuple[int, int]], pixels: Tensor
    ) -> Tensor:
        """Return features (N, S, C) after this layer; arguments as `DeformableAttention.forward` has them."""
        gathered = self.attention(features + positions, places, features, shapes, pixels)
        features = self.norm1(features + self.dropout(gathered))
        hidden = self.dropout(F.relu(self.linear1(features)))
        return self.norm2(features + self.dropout(self.linear2(hidden)))


class PixelDecoder(nn.Module):
    """Deformable encoder on res5, res4 and res3, then one step of a feature pyramid down to res2 (stride 4).

    Parameters
    ----------
    channels : sequence of int
        Of res2 to res5.
    width : int
        Channels of all that comes out, a multiple of 32.
    layers, heads, points, hidden : int
        Of the encoder; `hidden` is the width of its two-layer networks.
    dropout : float
        In the encoder; the paper's 0.3 reaches nothing else.
    """

    def __init__(
        self,
        channels: Sequence[int],
        width: int = 256,
        *,
        layers: int = 6,
        heads: int = 8,
        points: int = 4,
        hidden: int = 1024,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        res2, *coarser = channels
        # Coarse first, as everywhere behind this point.
        self.projections = nn.ModuleList(_project(depth, width) for depth in reversed(coarser))
        self.level_embed = nn.Parameter(torch.randn(_LEVELS, width))
        self.layers = nn.ModuleList(EncoderLayer(width, heads, points, hidden, dropout) for _ in range(layers))
        self.lateral = nn.Sequential(_convolve(res2, width, 1, bias=False), _Norm(_GROUPS, width))
        self.output = nn.Sequential(_convolve(width, width, 3, bias=False), _Norm(_GROUPS, width), nn.ReLU())
        self.mask_features = _convolve(width, width, 1, bias=True)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return what masks are made of, and what queries look at.

        Parameters
        ----------
        maps : sequence of four tensors
            res2 to res5, (N, C, H / stride, W / stride).

        Returns
        -------
        mask_features : (N, width, H / 4, W / 4) float32 tensor
        levels : list of three float32 tensors
            (N, width, h, w) at strides 32, 16 and 8.
        """
        # Sampling points are fractions of a pixel: half precision would move them.
        with torch.autocast(maps[0].device.type, enabled=False):
            res2, *coarser = (features.float() for features in maps)
            return self._decode(res2, coarser[::-1])

    def _decode(self, res2: Tensor, coarse_first: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        projected = [project(features) for project, features in zip(self.projections, coarse_first, strict=True)]
        shapes = [(features.shape[-2], features.shape[-1]) for features in projected]
        tokens = torch.cat([features.flatten(2).transpose(1, 2) for features in projected], dim=1)
        positions = torch.cat(
            [
                frame_positions(*shape, tokens.shape[-1], tokens.device).flatten(1).T + embedding
                for shape, embedding in zip(shapes, self.level_embed, strict=True)
            ]
        )
        places = torch.cat([_centres(*shape, tokens) for shape in shapes])
        pixels = tokens.new_tensor([(1 / width, 1 / height) for height, width in shapes])
        for layer in self.layers:
            tokens = layer(tokens, positions, places, shapes, pixels)
        areas = [height * width for height, width in shapes]
        levels = [
            part.transpose(1, 2).reshape(len(part), -1, *shape)
            for part, shape in zip(tokens.split(areas, dim=1), shapes, strict=True)
        ]
        finer = F.interpolate(levels[-1], size=res2.shape[-2:], mode="bilinear", align_corners=False)
        return self.mask_features(self.output(self.lateral(res2) + finer)), levels


def _project(depth: int, width: int) -> nn.Sequential:
    convolution = nn.Conv2d(depth, width, 1)
    nn.init.xavier_uniform_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # it has one
    return nn.Sequential(convolution, _Norm(_GROUPS, width))


def _convolve(depth: int, width: int, side: int, *, bias: bool) -> nn.Conv2d:
    convolution = nn.Conv2d(depth, width, side, padding=side // 2, bias=bias)
    nn.init.kaiming_uniform_(convolution.weight, a=1)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


def _centres(height: int, width: int, like: Tensor) -> Tensor:
    """Return the (x, y) of pixel centres in 0..1, (height * width, 2)."""
    rows = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height
    columns = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((x, y), dim=-1).flatten(0, 1)
