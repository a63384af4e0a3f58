"""Features to instances: the best queries are chosen first, and only their masks become large."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flowcut_napari.core.errors import WeightsError
from flowcut_napari.core.masks import Rle, encode_rle
from flowcut_training.model.video_mask2former import VideoMask2Former
from flowcut_training.predict.features import ClipFeatures, Sizes
from flowcut_training.predict.tracks import Track


def find_instances(model: VideoMask2Former, features: ClipFeatures, sizes: Sizes, top: int, name: str) -> list[Track]:
    """Decode a clip (METHOD 8.4).

    The score is the softmax probability of the foreground, of all classes together where there are several. A mask
    is where its logit, enlarged twice, is above 0; the masks of all queries would take ten times the memory.

    Parameters
    ----------
    model : VideoMask2Former
    features : ClipFeatures
    sizes : Sizes
    top : int
        Instances at most.
    name : str
        What errors call the model.

    Returns
    -------
    list of Track
        By falling score, of equal ones in the order of the queries.

    Raises
    ------
    WeightsError
        If the model gives what is no number.
    """
    scores, logits = choose_queries(model, features, top)
    if not (bool(scores.isfinite().all()) and bool(logits.isfinite().all())):
        raise WeightsError(f"{name}: the model gives NaN or infinite values; take an earlier checkpoint")
    frames = [encode_masks(enlarge(logits[:, place], sizes)) for place in range(logits.shape[1])]
    masks = zip(*frames, strict=True)
    return [Track(score, codes) for score, codes in zip(scores.tolist(), masks, strict=True)]


def choose_queries(model: VideoMask2Former, features: ClipFeatures, top: int) -> tuple[Tensor, Tensor]:
    """Return scores (n,) and mask logits (n, T, H / 4, W / 4), float32, of the best queries."""
    found = model.decode(features.mask_features, features.levels, auxiliary=False)
    scores = found["pred_logits"][0].float().softmax(-1)[:, :-1].sum(-1)
    order = scores.sort(descending=True, stable=True).indices[:top]
    return scores[order], found["pred_masks"][0][order].float()


def enlarge(logits: Tensor, sizes: Sizes) -> Tensor:
    """Return the masks (n, H, W) bool of a frame's logits (n, h, w): to the padded size, cropped, to the video's."""
    height, width = sizes.resized
    padded = F.interpolate(logits[None], size=sizes.padded, mode="bilinear", align_corners=False)
    own = F.interpolate(padded[..., :height, :width], size=sizes.own, mode="bilinear", align_corners=False)
    return own[0] > 0


def encode_masks(masks: Tensor) -> list[Rle | None]:
    """Return the run lengths of masks (n, H, W) bool, None for those without a pixel."""
    is_there = masks.flatten(1).any(dim=1).tolist()
    # Run lengths go down the columns: turned where the masks are, which a GPU does for nothing.
    columns: np.ndarray = masks.transpose(1, 2).to(torch.uint8).contiguous().cpu().numpy()
    return [encode_rle(mask.T) if there else None for mask, there in zip(columns, is_there, strict=True)]
