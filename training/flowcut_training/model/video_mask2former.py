"""VideoMask2Former (Cheng et al. 2021, arXiv 2112.10764): Mask2Former whose queries see all frames of a clip at once.

What is notable: frames are encoded one by one, and meet only in the query decoder, by cross-attention over all pixels
of the clip; positions in time have no parameters. So weights of the image model are weights of the video model.
"""

from __future__ import annotations

from typing import TypedDict

import torch
from torch import Tensor, nn

from flowcut_training.model.backbone import Backbone, BackboneName
from flowcut_training.model.pixel_decoder import PixelDecoder
from flowcut_training.model.query_decoder import QueryDecoder


class Prediction(TypedDict):
    """Of one layer: `pred_logits` (B, Q, classes + 1) and `pred_masks` (B, Q, T, H / 4, W / 4), both logits."""

    pred_logits: Tensor
    pred_masks: Tensor


class Predictions(Prediction):
    """Of the last layer, and in `aux_outputs` of all before it, the learnt queries' own first."""

    aux_outputs: list[Prediction]


class VideoMask2Former(nn.Module):
    """Class and mask logits of clips.

    Parameters
    ----------
    num_classes : int
        Classes besides "no object"; 1 is class-agnostic.
    num_queries : int
        The most instances that one clip can have.
    backbone : {"resnet50", "resnet34", "resnet18"}
    width : int
        Channels behind the backbone, a multiple of 32 and of `heads`.
    encoder_layers, decoder_layers : int
        Of the pixel decoder and of the query decoder.
    heads, attention_points : int
        Attention heads everywhere; points of the deformable attention.
    encoder_hidden, decoder_hidden : int
        Width of the two-layer networks in them.
    dropout : float
        In the pixel decoder's encoder.

    Notes
    -----
    The defaults are the paper's network: 43.95 million trained parameters.
    """

    def __init__(
        self,
        num_classes: int = 1,
        num_queries: int = 100,
        *,
        backbone: BackboneName = "resnet50",
        width: int = 256,
        encoder_layers: int = 6,
        decoder_layers: int = 9,
        heads: int = 8,
        attention_points: int = 4,
        encoder_hidden: int = 1024,
        decoder_hidden: int = 2048,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_classes, self.num_queries = num_classes, num_queries
        self.heads, self.attention_points = heads, attention_points
        self.backbone = Backbone(backbone)
        self.pixel_decoder = PixelDecoder(
            self.backbone.channels,
            width,
            layers=encoder_layers,
            heads=heads,
            points=attention_points,
            hidden=encoder_hidden,
            dropout=dropout,
        )
        self.query_decoder = QueryDecoder(
            num_classes, num_queries, width, layers=decoder_layers, heads=heads, hidden=decoder_hidden
        )

    def encode(self, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return mask features and levels of frames (N, 3, H, W), each frame for itself; see `PixelDecoder`."""
        features: tuple[Tensor, list[Tensor]] = self.pixel_decoder(self.backbone(frames))
        return features

    def forward(self, video: Tensor, *, auxiliary: bool = True) -> Predictions:
        """Return class and mask logits of every query.

        Parameters
        ----------
        video : (B, T, 3, H, W) tensor
            Normalised RGB (see `normalize`), padded to multiples of 32.
        auxiliary : bool
            Whether predictions of earlier layers are kept; without them `aux_outputs` is empty.

        Returns
        -------
        dict
            `pred_logits` (B, Q, classes + 1), `pred_masks` (B, Q, T, H / 4, W / 4), `aux_outputs`.
        """
        batch, frames = video.shape[:2]
        mask_features, levels = self.encode(video.flatten(0, 1))
        clip = (batch, frames)
        return self.decode(
            mask_features.unflatten(0, clip), [level.unflatten(0, clip) for level in levels], auxiliary=auxiliary
        )

    def decode(self, mask_features: Tensor, levels: list[Tensor], *, auxiliary: bool = True) -> Predictions:
        """Return the predictions for encoded clips, mask features and levels (B, T, C, h, w)."""
        *earlier, (logits, masks) = self.query_decoder(mask_features, levels, auxiliary=auxiliary)
        return {
            "pred_logits": logits,
            "pred_masks": masks,
            "aux_outputs": [{"pred_logits": before, "pred_masks": shapes} for before, shapes in earlier],
        }


def trained_parameters(model: nn.Module) -> int:
    """Return how many numbers of a model are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@torch.no_grad()
def all_finite(model: nn.Module) -> bool:
    """Whether no weight of a model is NaN or infinite."""
    # One answer for all of them: a GPU is waited for once.
    return bool(torch.stack([parameter.isfinite().all() for parameter in model.parameters()]).all())
