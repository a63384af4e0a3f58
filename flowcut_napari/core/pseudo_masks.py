"""Pseudo-masks of one frame: from its description to disjoint masks, with the story of its cuts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from PIL import Image
from pydantic import ConfigDict

from flowcut_napari.core.affinity import Cosines
from flowcut_napari.core.description import FrameDescription
from flowcut_napari.core.eigen import one_blas_thread
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.masks import Rle, check_rle, decode_rle, encode_rle, mask_iou, rle_box
from flowcut_napari.core.ncut import Cut, IterativeCut, StopReason, cut_cosines
from flowcut_napari.core.parameters import STRICT, CutParameters
from flowcut_napari.core.refine import FrameCrf, crf_is_available, upsample_mask

Origin = Literal["cut", "edited", "drawn"]
RejectReason = Literal["duplicate", "too_small", "degenerate", "weak", "crf_iou", "empty"]


@dataclass(frozen=True)
class Instance:
    """A pseudo-mask that was kept, in the size of the video.

    Attributes
    ----------
    id : int
        Unique in its frame; for a cut its iteration.
    iteration : int or None
        Of the normalised cut, from 1; None for a mask drawn by hand.
    segmentation : Rle
        COCO run-length encoding.
    bbox : [x, y, width, height]
        In pixels.
    area : int
        In pixels.
    eigenvalue, eigengap : float or None
        Of its cut.
    crf_iou : float or None
        IoU of the mask before and after the CRF; None where it was not refined.
    seed : (row, col) or None
        Patch of the cut's seed.
    origin : str
        ``cut``, ``edited`` or ``drawn``.
    """

    id: int
    iteration: int | None
    segmentation: Rle
    bbox: list[float]
    area: int
    eigenvalue: float | None
    eigengap: float | None
    crf_iou: float | None
    seed: tuple[int, int] | None
    origin: Origin = "cut"

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    @classmethod
    def of_mask(cls, number: int, mask: np.ndarray, origin: Origin) -> Instance:
        """Make an instance of a mask (height, width) bool that no cut gave."""
        segmentation = encode_rle(mask)
        return cls(
            id=number,
            iteration=None,
            segmentation=segmentation,
            bbox=rle_box(segmentation),
            area=int(mask.sum()),
            eigenvalue=None,
            eigengap=None,
            crf_iou=None,
            seed=None,
            origin=origin,
        )

    def check(self, size: tuple[int, int]) -> None:
        """See that what was read from a file holds together.

        Raises
        ------
        InputError
            If it does not: of another size than (height, width), runs that do not fill it, another area or box.
        """
        if self.id < 1:
            raise InputError(f"a mask has the id {self.id}; ids start at 1")
        if self.segmentation["size"] != list(size):
            raise InputError(f"a mask has the size {self.segmentation['size']}, the video has {list(size)}")
        area = check_rle(self.segmentation)
        if area == 0 or area != self.area:
            raise InputError(f"a mask of {area} pixels says that its area is {self.area}")
        if self.bbox != rle_box(self.segmentation):
            raise InputError(f"a mask in the box {rle_box(self.segmentation)} says that its box is {self.bbox}")

    @property
    def mask(self) -> np.ndarray:
        """The mask, (height, width) bool."""
        return decode_rle(self.segmentation)


@dataclass(frozen=True)
class Rejected:
    """A cut that was not kept, and why.

    `share` is the part of the frame that it covers, 0 to 1; `iou` is the overlap with an accepted cut for a
    ``duplicate``, the IoU before and after the CRF for ``crf_iou`` and ``empty``, else None.
    """

    iteration: int
    reason: RejectReason
    share: float
    iou: float | None
    eigenvalue: float
    eigengap: float
    seed: tuple[int, int]

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class FrameMasks:
    """The pseudo-masks of one frame and the story of its cuts.

    Attributes
    ----------
    index : int
        Of the frame in its video.
    partner : int or None
        The frame that the flow leads to.
    stop : str
        Why there were no more cuts; see `iterative_cut`.
    instances : tuple of Instance
        Pairwise disjoint, in the order of their cuts.
    rejected : tuple of Rejected
        Cuts that were not kept.
    cuts : tuple of Cut
        All of them on the grid with their eigenvectors, the refused last one included; empty when read from a file.
    """

    index: int
    partner: int | None
    stop: StopReason
    instances: tuple[Instance, ...]
    rejected: tuple[Rejected, ...] = ()
    cuts: tuple[Cut, ...] = ()


def segment_frame(description: FrameDescription, parameters: CutParameters) -> FrameMasks:
    """Cut one described frame into instances and refine them (FlowCut section 3.2, METHOD 3 to 6).

    Without pydensecrf the masks stay as cut, as with ``crf=False``.

    Parameters
    ----------
    description : FrameDescription
    parameters : CutParameters
        Those of the cuts and of the CRF; its features, flow and gap were used to describe.

    Returns
    -------
    FrameMasks
        With pairwise disjoint instances in the size of the video.
    """
    with one_blas_thread():
        cosines = Cosines.of(description.rgb, description.motion)
    crf = FrameCrf(description.picture) if parameters.crf and crf_is_available() else None
    return refine_cuts(description, cut_cosines(cosines, description.grid, parameters), parameters, crf)


def refine_cuts(
    description: FrameDescription,
    result: IterativeCut,
    parameters: CutParameters,
    crf: FrameCrf | None,
    pause: Callable[[], None] | None = None,
) -> FrameMasks:
    """Turn the cuts of a frame into disjoint masks in the size of the video: the second half of `segment_frame`.

    Parameters
    ----------
    description : FrameDescription
    result : IterativeCut
    parameters : CutParameters
    crf : FrameCrf or None
        Of the picture of this frame; it may be used again for other cuts of it. None leaves masks as they were cut.
    pause : callable, optional
        Called some sixty times a second; what it raises ends the work.
    """
    instances, rejected = _refine(description, result.cuts, parameters, crf, pause)
    if result.rejected is not None:
        rejected.append(rejected_cut(result.rejected, result.stop))
    return FrameMasks(
        index=description.index,
        partner=description.partner,
        stop=result.stop,
        instances=tuple(instances),
        rejected=tuple(rejected),
        cuts=result.cuts if result.rejected is None else (*result.cuts, result.rejected),
    )


def refine_by_hand(mask: np.ndarray, crf: FrameCrf, pause: Callable[[], None] | None = None) -> np.ndarray:
    """Refine a mask that a person made, in the size in which cuts are refined.

    Parameters
    ----------
    mask : (height, width) bool
        In the size of the video.
    crf : FrameCrf
        Of the picture of its frame, in working size.
    pause : callable, optional
        See `FrameCrf.refine`.

    Returns
    -------
    (height, width) bool
        In the size of the video.
    """
    height, width = crf.image.shape[:2]
    grey = Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BOX)
    return _to_video_size(crf.refine(np.asarray(grey) > 127, pause), (mask.shape[0], mask.shape[1]))


def _refine(
    description: FrameDescription,
    cuts: Sequence[Cut],
    parameters: CutParameters,
    crf: FrameCrf | None,
    pause: Callable[[], None] | None,
) -> tuple[list[Instance], list[Rejected]]:
    height, width = description.picture.shape[:2]
    taken_here = np.zeros((height, width), dtype=bool)
    taken_in_video = np.zeros(description.size, dtype=bool)
    instances: list[Instance] = []
    rejected: list[Rejected] = []
    for cut in cuts:
        before = upsample_mask(cut.mask, height, width)
        refined = crf.refine(before, pause) if crf else before
        crf_iou = mask_iou(before, refined) if crf else None
        # The earlier mask keeps what both claim, and what is left must still be this mask (METHOD choice 18).
        after = refined & ~taken_here
        agreement = mask_iou(before, after) if crf_iou is None else min(crf_iou, mask_iou(before, after))
        mask = _to_video_size(after, description.size) & ~taken_in_video
        area = int(mask.sum())
        if area == 0 or agreement < parameters.crf_min_iou:
            reason: RejectReason = "empty" if area == 0 else "crf_iou"
            share = area / mask.size
            rejected.append(Rejected(cut.iteration, reason, share, crf_iou, cut.eigenvalue, cut.eigengap, cut.seed))
            continue
        taken_here |= after
        taken_in_video |= mask
        encoded = encode_rle(mask)
        instances.append(
            Instance(
                id=cut.iteration,
                iteration=cut.iteration,
                segmentation=encoded,
                bbox=rle_box(encoded),
                area=area,
                eigenvalue=cut.eigenvalue,
                eigengap=cut.eigengap,
                crf_iou=crf_iou,
                seed=cut.seed,
            )
        )
    return instances, rejected


def rejected_cut(cut: Cut, stop: StopReason) -> Rejected:
    """Return the story of the cut at which a frame stopped."""
    assert stop != "max_instances"  # only a refused cut is kept as rejected
    overlap = cut.overlap if stop == "duplicate" else None
    return Rejected(cut.iteration, stop, float(cut.raw_mask.mean()), overlap, cut.eigenvalue, cut.eigengap, cut.seed)


def _to_video_size(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask to the size of the video: bicubic, split at half of the maximum (METHOD 5.4)."""
    if mask.shape == size:
        return mask
    grey = Image.fromarray(mask.astype(np.uint8) * 255).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    values = np.asarray(grey)
    return values > values.max() / 2
