"""Optical flow between a frame and its partner, and its colour picture (FlowCut section 3.1).

RAFT comes from torchvision, DIS (which needs no weights) from OpenCV. Flow is in pixels: ``flow[y, x] = (u, v)``
says that what is at (x, y) in the frame is at (x + u, y + v) in its partner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from flowcut_napari.core.errors import InputError

if TYPE_CHECKING:
    from flowcut_napari.core.weights import WeightsFile

# RAFT's correlation pyramid halves an eighth of the picture three times and needs two cells at the top.
_RAFT_MULTIPLE = 8
_RAFT_SMALLEST = 128


class FlowModel(Protocol):
    """Estimates flow for pairs of pictures."""

    name: str
    identity: str
    """Everything the numbers depend on, in one string: the cache key and the provenance."""

    def estimate(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        """Return the flow (H, W, 2) float32 of each pair of (H, W, 3) uint8 pictures."""
        ...


def partner_frame(index: int, gap: int, length: int) -> int | None:
    """Return the frame that the flow of frame `index` leads to.

    The frame `gap` later if there is one, else `gap` earlier; in a video too short for both, the one that is
    farthest away (the later one on a tie); None if the video has a single frame (METHOD choice 7).

    Examples
    --------
    >>> partner_frame(0, 4, 10), partner_frame(8, 4, 10), partner_frame(1, 4, 3), partner_frame(0, 4, 1)
    (4, 4, 2, None)
    """
    if not 0 <= index < length:
        raise InputError(f"there is no frame {index} in a video of {length}")
    if length == 1:
        return None
    if index + gap < length:
        return index + gap
    if index - gap >= 0:
        return index - gap
    return length - 1 if length - 1 - index >= index else 0


def flow_picture(flow: np.ndarray, max_magnitude: float | None = None, *, min_magnitude: float = 0.0) -> np.ndarray:
    """Draw a flow field with the Middlebury colour wheel: hue is direction, saturation is magnitude.

    With the defaults this equals ``torchvision.utils.flow_to_image`` of the one field: no motion is white, and
    the largest magnitude of the picture is fully saturated.

    Parameters
    ----------
    flow : (H, W, 2) array
        Flow in pixels.
    max_magnitude : float, optional
        Magnitude in pixels to draw fully saturated instead of the largest in the picture; anything faster is
        drawn darker.
    min_magnitude : float
        Lower bound in pixels of the magnitude that is fully saturated, so that the noise of a still scene is
        not blown up to a picture of colours (METHOD 2.4).

    Returns
    -------
    (H, W, 3) uint8 RGB

    Raises
    ------
    InputError
        If the field has another shape or holds NaN or infinity, or `max_magnitude` is not above 0.
    """
    import torch

    # A copy: torch takes neither read-only memory nor views that run backwards.
    field = np.array(flow, dtype=np.float32, order="C")
    if max_magnitude is not None and not 0 < max_magnitude < np.inf:
        raise InputError(f"max_magnitude is {max_magnitude}; it is a number of pixels above 0")
    if field.ndim != 3 or field.shape[2] != 2:
        raise InputError(f"a flow field has the shape (H, W, 2), not {field.shape}")
    if not np.isfinite(field).all():
        raise InputError("the flow field holds NaN or infinite values")
    # torch, not numpy: its float32 arctangent decides which side of a rounding step a pixel falls on.
    u, v = torch.from_numpy(field).unbind(-1)
    largest = (u.pow(2) + v.pow(2)).sqrt().max() if max_magnitude is None else torch.tensor(float(max_magnitude))
    scale = torch.clamp(largest, min=min_magnitude) + torch.finfo(torch.float32).eps
    u, v = u / scale, v / scale
    radius = (u.pow(2) + v.pow(2)).sqrt()
    wheel = torch.from_numpy(_colour_wheel())
    position = (torch.atan2(-v, -u) / torch.pi + 1) / 2 * (len(wheel) - 1)
    lower = position.floor().long()
    part = (position - lower)[..., None]
    colour = (1 - part) * (wheel[lower] / 255.0) + part * (wheel[(lower + 1) % len(wheel)] / 255.0)
    radius = radius[..., None]
    colour = torch.where(radius <= 1 + 1e-6, 1 - radius * (1 - colour), 0.75 * colour)
    return (255 * colour).floor().clamp(0, 255).to(torch.uint8).numpy()


def _colour_wheel() -> np.ndarray:
    """Return the 55 hues of Baker et al. (ICCV 2007) as (55, 3) float32: six ramps between the primary colours."""
    red, yellow, green = (1, 0, 0), (1, 1, 0), (0, 1, 0)
    cyan, blue, magenta = (0, 1, 1), (0, 0, 1), (1, 0, 1)
    ramps = (
        (15, red, yellow),
        (6, yellow, green),
        (4, green, cyan),
        (11, cyan, blue),
        (13, blue, magenta),
        (6, magenta, red),
    )
    hues = []
    for steps, start, end in ramps:
        climb = np.floor(255 * np.arange(steps) / steps)
        change = np.subtract(end, start)
        hues.append(255 * np.asarray(start) + climb[:, None] * change)
    return np.concatenate(hues).astype(np.float32)


class DisFlow:
    """Dense Inverse Search from OpenCV after camera alignment: no weights; see `flowcut_napari.core.dis_flow`."""

    name = "dis"

    def __init__(self) -> None:
        import cv2

        from flowcut_napari.core.dis_flow import VERSION

        self.identity = f"dis/{VERSION}/opencv {cv2.__version__}"

    def estimate(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        """Return the flow (H, W, 2) float32 of each pair of (H, W, 3) uint8 pictures."""
        from flowcut_napari.core.dis_flow import dis_flow

        return [dis_flow(first, second) for first, second in pairs]


class RaftFlow:
    """RAFT (Teed & Deng, ECCV 2020) from torchvision, trained on FlyingChairs and FlyingThings3D.

    Parameters
    ----------
    name : str
        ``raft-large`` or ``raft-small``.
    weights : WeightsFile
        Its weights.
    device : str
        Where it runs.
    updates : int
        Iterations of the update operator; the paper's sources use 20.

    Raises
    ------
    WeightsError
        If the file holds no weights of this model.
    """

    def __init__(self, name: str, weights: WeightsFile, device: str = "cpu", updates: int = 20) -> None:
        import torchvision
        from torchvision.models import optical_flow

        from flowcut_napari.core.checkpoints import load_into

        self.name = name
        # A CPU and a GPU do not round alike; what one computed is not served to the other.
        version, kind = torchvision.__version__, device.split(":")[0]
        self.identity = f"{name}/{weights.sha256}/{updates}/torchvision {version}/{kind}"
        self.updates = updates
        self.device = device
        model = {"raft-large": optical_flow.raft_large, "raft-small": optical_flow.raft_small}[name]()
        load_into(model, weights)
        self._model = model.eval().to(device)

    def estimate(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        """Return the flow (H, W, 2) float32 of each pair of (H, W, 3) uint8 pictures of one size; any size.

        The pictures are padded to multiples of 8 by repeating their borders, as RAFT's own evaluation does, and
        the flow is cropped back.
        """
        import torch

        height, width = pairs[0][0].shape[:2]
        top, bottom = _padding(height)
        left, right = _padding(width)

        def batch(pictures: list[np.ndarray]) -> torch.Tensor:
            values = torch.from_numpy(np.stack(pictures)).to(self.device).permute(0, 3, 1, 2).float()
            return torch.nn.functional.pad(values / 127.5 - 1, (left, right, top, bottom), mode="replicate")

        with torch.inference_mode():
            first, second = batch([a for a, _ in pairs]), batch([b for _, b in pairs])
            flow = self._model(first, second, num_flow_updates=self.updates)[-1]
        flow = flow[:, :, top : top + height, left : left + width].permute(0, 2, 3, 1)
        return list(flow.float().cpu().numpy())


def _padding(size: int) -> tuple[int, int]:
    wanted = max(_RAFT_SMALLEST, -(-size // _RAFT_MULTIPLE) * _RAFT_MULTIPLE)
    before = (wanted - size) // 2
    return before, wanted - size - before
