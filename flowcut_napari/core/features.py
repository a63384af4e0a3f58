"""Patch features of a frame and of its flow: DINO keys through timm, or hand-made ones without a download.

A feature model encodes views. An `Appearance` is a frame; a `Motion` is the flow of that frame. A vision transformer
sees both as pictures and takes them in one batch; hand-made features read the flow field itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from flowcut_napari.core.checkpoints import load_into, read_state_dict
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.flow import flow_picture
from flowcut_napari.core.handmade import VERSION as HANDMADE_VERSION
from flowcut_napari.core.handmade import appearance_features, motion_features
from flowcut_napari.core.weights import DINO_TIMM_NAME, WeightsFile

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Appearance:
    """A frame, (H, W, 3) uint8 RGB."""

    picture: np.ndarray


@dataclass(frozen=True)
class Motion:
    """The flow that leaves a frame, (H, W, 2) float32 in pixels."""

    flow: np.ndarray


View = Appearance | Motion


class FeatureModel(Protocol):
    """Turns views into one feature vector a patch."""

    name: str

    def identity_of(self, view: View) -> str:
        """Return everything besides the view that its features depend on, in one string: the key of the cache."""
        ...

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return (rows, cols) of patches of a picture of this size."""
        ...

    def encode(self, views: Sequence[View]) -> list[np.ndarray]:
        """Return features (rows * cols, C) float32 of each view, patches in row-major order."""
        ...


def patch_grid(height: int, width: int, patch: int) -> tuple[int, int]:
    """Return (rows, cols) of a picture whose sides are rounded to whole patches, half to even (METHOD 1.2).

    Examples
    --------
    >>> patch_grid(360, 640, 16), patch_grid(480, 854, 8)
    ((22, 40), (60, 107))
    """
    return max(1, round(height / patch)), max(1, round(width / patch))


def resize_picture(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (H, W, 3) uint8 by Lanczos resampling, the rule of TokenCut and MaskCut."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


class HandmadeFeatures:
    """Colour, texture and background-compensated motion of patches; see `flowcut_napari.core.handmade`."""

    name = "handmade"
    patch = 16

    def identity_of(self, view: View) -> str:
        """Return everything besides the view that its features depend on."""
        import cv2

        return f"handmade/{HANDMADE_VERSION}/opencv {cv2.__version__}/{type(view).__name__}"

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return (rows, cols) of patches of a picture of this size."""
        return patch_grid(height, width, self.patch)

    def encode(self, views: Sequence[View]) -> list[np.ndarray]:
        """Return features (rows * cols, C) float32 of each view, patches in row-major order."""
        return [self._encode(view) for view in views]

    def _encode(self, view: View) -> np.ndarray:
        if isinstance(view, Appearance):
            return appearance_features(view.picture, self.grid(*view.picture.shape[:2]))
        return motion_features(view.flow, self.grid(*view.flow.shape[:2]))


class TransformerFeatures:
    """Keys of the last attention layer of a vision transformer from timm (METHOD 1.5 to 1.8).

    Of the output of the last block's ``qkv`` layer the keys are taken, heads side by side; class and register
    tokens are left out. Position embeddings are resampled by timm to the grid of the picture (METHOD choice 29).
    What follows the keys is cut off the model and never computed.

    Parameters
    ----------
    name : str
        ``dino`` (ViT-S/16) or the timm name of a vision transformer.
    weights : WeightsFile
        Its weights: timm's own, or the official DINO or DINOv2 file.
    device : str
        Where it runs; on CUDA in half precision.
    min_flow : float
        Lower bound in pixels of the magnitude drawn in full colour in flow pictures.

    Raises
    ------
    InputError
        If timm has no such vision transformer.
    WeightsError
        If the file holds no weights of it.
    """

    def __init__(self, name: str, weights: WeightsFile, device: str = "cpu", min_flow: float = 0.0) -> None:
        import timm

        self.name = name
        # A CPU and a GPU do not round alike; timm may resample position embeddings otherwise in another version.
        self._identity = f"{name}/{weights.sha256}/keys/timm {timm.__version__}/{device.split(':')[0]}"
        self.device = device
        self.min_flow = min_flow
        model = create_transformer(name)
        _load_transformer(model, weights)
        self.patch = int(model.patch_embed.patch_size[0])
        self._prefix_tokens = int(model.num_prefix_tokens)
        self._mean, self._deviation = model.pretrained_cfg["mean"], model.pretrained_cfg["std"]
        self._model = _keep_keys_only(model).eval().to(device)

    def identity_of(self, view: View) -> str:
        """Return everything besides the view that its features depend on."""
        return self._identity if isinstance(view, Appearance) else f"{self._identity}/flow from {self.min_flow:g} px"

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return (rows, cols) of patches of a picture of this size."""
        return patch_grid(height, width, self.patch)

    def encode(self, views: Sequence[View]) -> list[np.ndarray]:
        """Return features (rows * cols, C) float32 of each view; all views of one size make one batch."""
        import torch

        pictures = np.stack([self._as_input(view) for view in views])
        with torch.inference_mode(), torch.autocast("cuda", torch.float16, enabled=self.device.startswith("cuda")):
            values = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2).float() / 255
            mean, deviation = (
                torch.tensor(numbers, device=self.device)[:, None, None] for numbers in (self._mean, self._deviation)
            )
            keys = self._model.forward_features((values - mean) / deviation)
        return list(keys[:, self._prefix_tokens :].float().cpu().numpy())

    def _as_input(self, view: View) -> np.ndarray:
        picture = view.picture if isinstance(view, Appearance) else flow_picture(view.flow, min_magnitude=self.min_flow)
        rows, cols = self.grid(*picture.shape[:2])
        return resize_picture(picture, rows * self.patch, cols * self.patch)


def create_transformer(name: str) -> Any:
    """Return the randomly initialised timm model behind a feature name, for pictures of any size.

    Raises
    ------
    InputError
        If timm does not know the name, or the model has no ``blocks[-1].attn.qkv`` to take keys from.
    """
    import timm

    timm_name = DINO_TIMM_NAME if name == "dino" else name
    if not timm.is_model(timm_name.split(".")[0]):
        raise InputError(f"unknown feature model {name!r}: give dino, handmade or a timm model name")
    unsuitable = f"the features {name!r} are no plain vision transformer; keys cannot be taken from it"
    try:
        model = timm.create_model(timm_name, pretrained=False, num_classes=0, dynamic_img_size=True)
    except TypeError:
        raise InputError(unsuitable) from None
    except RuntimeError as error:  # a tag that timm does not have
        raise InputError(f"unknown feature model {name!r}: {error}") from None
    blocks = getattr(model, "blocks", None)
    if not blocks or not hasattr(getattr(blocks[-1], "attn", None), "qkv") or not hasattr(model, "num_prefix_tokens"):
        raise InputError(unsuitable)
    return model


def check_transformer(name: str) -> None:
    """Raise what `create_transformer` raises, without making its parameters."""
    import torch

    with torch.device("meta"):
        create_transformer(name)


def _load_transformer(model: Any, weights: WeightsFile) -> None:
    from timm.models.vision_transformer import checkpoint_filter_fn

    tensors = read_state_dict(weights.path)
    projection = tensors.get("patch_embed.proj.weight")
    # timm would resample another patch size without a word; keys of such a model are not DINO's.
    if projection is not None and projection.shape != model.patch_embed.proj.weight.shape:
        size, wanted = tuple(projection.shape), tuple(model.patch_embed.proj.weight.shape)
        raise InputError(f"{weights.path}: no weights of {weights.name}: its patch embedding is {size}, not {wanted}")
    # Renames the official DINOv2 checkpoints to timm's names.
    tensors = checkpoint_filter_fn(tensors, model)
    heads = ("head.", "head_dist.", "fc_norm.", "fc.", "attn_pool.", "mask_token", "prototypes")
    load_into(model, weights, {key: value for key, value in tensors.items() if not key.startswith(heads)})


def _keep_keys_only(model: Any) -> Any:
    """Replace the last block by its keys and drop the final norm, which is not involved."""
    from torch import nn

    class KeysOfLastBlock(nn.Module):
        """Norm and ``qkv`` layer of a block; returns the keys of all heads side by side, (B, tokens, C)."""

        def __init__(self, block: Any) -> None:
            super().__init__()
            self.norm1, self.qkv = block.norm1, block.attn.qkv

        def forward(self, tokens: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
            # The layer's output is (queries, keys, values), each with its heads in order.
            return self.qkv(self.norm1(tokens)).chunk(3, dim=-1)[1]

    model.blocks[-1] = KeysOfLastBlock(model.blocks[-1])
    model.norm = nn.Identity()
    return model
