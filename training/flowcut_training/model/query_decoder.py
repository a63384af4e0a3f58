"""The query decoder: learnt queries become instances by looking, layer by layer, where their mask was so far."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowcut_training.model.positions import clip_positions

_LEVELS = 3


class Attention(nn.Module):
    """Multi-head attention whose mask is shared by the heads.

    `nn.MultiheadAttention` would want the mask once for every head, which for a long video is most of the memory.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.xavier_uniform_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None = None) -> Tensor:
        """Return (B, Q, C) of query (B, Q, C) and key and value (B, S, C); `visible` (B, Q, S) bool or None."""
        weights, biases = self.qkv.weight.chunk(3), self.qkv.bias.chunk(3)
        heads = [
            F.linear(tokens, weight, bias).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for tokens, weight, bias in zip((query, key, value), weights, biases, strict=True)
        ]
        mask = None if visible is None else visible[:, None]
        gathered = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], attn_mask=mask)
        return self.out(gathered.transpose(1, 2).flatten(2))


class DecoderLayer(nn.Module):
    """Masked cross-attention, self-attention and a two-layer network, each added and normalised afterwards."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.cross_attention = Attention(width, heads)
        self.cross_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads)
        self.self_norm = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.ffn_norm = nn.LayerNorm(width)
        for layer in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(
        self, queries: Tensor, query_positions: Tensor, pixels: Tensor, pixel_positions: Tensor, visible: Tensor
    ) -> Tensor:
        """Return queries (B, Q, C) after looking at pixels (B, S, C) where `visible` (B, Q, S)."""
        seen = self.cross_attention(queries + query_positions, pixels + pixel_positions, pixels, visible)
        queries = self.cross_norm(queries + seen)
        placed = queries + query_positions
        queries = self.self_norm(queries + self.self_attention(placed, placed, queries))
        return self.ffn_norm(queries + self.linear2(F.relu(self.linear1(queries))))


class QueryDecoder(nn.Module):
    """Queries over a whole clip: one query is one instance in all frames.

    Parameters
    ----------
    num_classes : int
        Classes besides "no object".
    num_queries, width, layers, heads, hidden : int
        `hidden` is the width of the two-layer networks.
    """

    def __init__(
        self,
        num_classes: int = 1,
        num_queries: int = 100,
        width: int = 256,
        *,
        layers: int = 9,
        heads: int = 8,
        hidden: int = 2048,
    ) -> None:
        super().__init__()
        self.query_feat = nn.Embedding(num_queries, width)
        self.query_embed = nn.Embedding(num_queries, width)
        self.level_embed = nn.Embedding(_LEVELS, width)
        self.layers = nn.ModuleList(DecoderLayer(width, heads, hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.class_embed = nn.Linear(width, num_classes + 1)
        self.mask_embed = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(
        self, mask_features: Tensor, levels: list[Tensor], *, auxiliary: bool = True
    ) -> list[tuple[Tensor, Tensor]]:
        """Return (logits, masks) of the learnt queries and after each layer; without `auxiliary` of the last alone.

        Parameters
        ----------
        mask_features : (B, T, C, H / 4, W / 4) tensor
        levels : list of three (B, T, C, h, w) tensors
            Coarse first.

        Returns
        -------
        list of (logits, masks)
            (B, Q, classes + 1), the last class being "no object", and (B, Q, T, H / 4, W / 4) mask logits.
        """
        batch, frames = mask_features.shape[:2]
        pixels, positions, shapes = [], [], []
        for level, embedding in zip(levels, self.level_embed.weight, strict=True):
            channels, height, width = level.shape[2:]
            places = clip_positions(frames, height, width, channels, level.device)
            pixels.append(level.permute(0, 1, 3, 4, 2).reshape(batch, -1, channels) + embedding)
            positions.append(places.permute(0, 2, 3, 1).reshape(1, -1, channels))
            shapes.append((height, width))

        masks = _MaskFeatures(mask_features)
        # What is shrunk before it is multiplied costs a sixteenth and less; those masks are for looking alone.
        seen = None if auxiliary else [masks.shrunk(shape) for shape in shapes]
        queries = self.query_feat.weight.expand(batch, -1, -1)
        query_positions = self.query_embed.weight.expand(batch, -1, -1)
        predictions = []
        for number, layer in enumerate(self.layers):
            place = number % _LEVELS
            normed = self.norm(queries)
            if seen is None:
                predictions.append(self._predict(normed, masks))
                visible = _visible(predictions[-1][1], shapes[place])
            else:
                visible = _visible(seen[place].times(self.mask_embed(normed)), shapes[place])
            queries = layer(queries, query_positions, pixels[place], positions[place], visible)
        return [*predictions, self._predict(self.norm(queries), masks)]

    def _predict(self, normed: Tensor, masks: _MaskFeatures) -> tuple[Tensor, Tensor]:
        return self.class_embed(normed), masks.times(self.mask_embed(normed))


class _MaskFeatures:
    """Features (B, T, C, H, W) of which masks are made, laid out once for all layers, in the precision of autocast."""

    def __init__(self, features: Tensor) -> None:
        self._features, kind = features, features.device.type
        if torch.is_autocast_enabled(kind):
            self._features = features.to(torch.get_autocast_dtype(kind))
        self._shape = (features.shape[1], *features.shape[3:])
        self._flat = self._features.transpose(1, 2).flatten(2)

    def times(self, embedding: Tensor) -> Tensor:
        """Return the mask logits of queries (B, Q, C), (B, Q, T, H, W)."""
        return torch.bmm(embedding, self._flat).unflatten(2, self._shape)

    def shrunk(self, shape: tuple[int, int]) -> _MaskFeatures:
        """Return these features of another height and width: masks made of them are those masks, shrunk."""
        smaller = F.interpolate(self._features.flatten(0, 1), size=shape, mode="bilinear", align_corners=False)
        return _MaskFeatures(smaller.unflatten(0, self._features.shape[:2]))


@torch.no_grad()
def _visible(masks: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return where a query may look at a level, (B, Q, T * h * w) bool: inside its mask, or all where that is empty."""
    if masks.shape[-2:] != shape:
        count = masks.shape[:3]
        masks = F.interpolate(masks.flatten(0, 1), size=shape, mode="bilinear", align_corners=False).view(
            *count, *shape
        )
    # sigmoid < 0.5 is logit < 0, without the rounding of the sigmoid in half precision.
    visible = (masks >= 0).flatten(2)
    return visible | ~visible.any(dim=-1, keepdim=True)
