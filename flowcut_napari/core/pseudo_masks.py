"""One frame, from features to refined, disjoint pseudo-masks with the story of every cut.

`FrameDescriber` looks up or computes what the cuts need of a frame; `segment_frame` cuts and refines. The two are
apart because they run apart: describing on a GPU in batches, cutting on as many processes as there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from PIL import Image
from pydantic import ConfigDict

from flowcut_napari.core.affinity import Cosines
from flowcut_napari.core.cache import ArrayCache, array_digest
from flowcut_napari.core.eigen import one_blas_thread
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.features import Appearance, FeatureModel, Motion, View, resize_picture
from flowcut_napari.core.flow import FlowModel, partner_frame
from flowcut_napari.core.masks import Rle, check_rle, decode_rle, encode_rle, mask_iou, rle_box
from flowcut_napari.core.ncut import Cut, StopReason, cut_cosines
from flowcut_napari.core.parameters import STRICT, CutParameters
from flowcut_napari.core.refine import FrameCrf, crf_is_available, upsample_mask
from flowcut_napari.core.video import Video

Origin = Literal["cut", "edited", "drawn"]
RejectReason = Literal["duplicate", "too_small", "degenerate", "crf_iou", "empty"]


@dataclass(frozen=True)
class FrameDescription:
    """What the cuts of one frame need.

    Attributes
    ----------
    index : int
        Of the frame in its video.
    size : (height, width)
        Of the video's frames; masks are given in this size.
    picture : (h, w, 3) uint8
        The frame at working size.
    grid : (rows, cols)
        Of patches.
    rgb : (rows * cols, C) float32
        Features of the picture.
    partner : int or None
        The frame that the flow leads to; None where motion plays no part.
    flow : (h, w, 2) float32 or None
        In pixels at working size.
    motion : (rows * cols, C) float32 or None
        Features of the flow.
    """

    index: int
    size: tuple[int, int]
    picture: np.ndarray
    grid: tuple[int, int]
    rgb: np.ndarray
    partner: int | None = None
    flow: np.ndarray | None = None
    motion: np.ndarray | None = None


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


class FrameDescriber:
    """Describes frames of videos, taking from the cache what it holds.

    Parameters
    ----------
    parameters : CutParameters
    features : FeatureModel
    flow : FlowModel or None
        None is enough where alpha is 1.
    cache : ArrayCache, optional
    batch : int
        Frames that go through the models at once. The size of a batch can change the last digit of its numbers: on a
        CPU, where results are promised to be the same in every way of running, it is 1.
    """

    def __init__(
        self,
        parameters: CutParameters,
        features: FeatureModel,
        flow: FlowModel | None,
        cache: ArrayCache | None = None,
        batch: int = 1,
    ) -> None:
        self.parameters = parameters
        self.features = features
        self.flow = flow
        self.cache = cache
        self.batch = batch

    def describe(self, video: Video, indices: Sequence[int]) -> Iterator[FrameDescription]:
        """Describe frames in the order given; what is not in the cache goes through the models.

        Frames are read in rising order, each once, so that a video file is decoded without going back. All of
        them are held meanwhile: give a few dozen at a time.
        """
        partners = {index: self._partner(video, index) for index in indices}
        wanted = sorted({*partners, *(partner for partner in partners.values() if partner is not None)})
        size = self.parameters.frame_size(video.height, video.width)
        pictures = {index: resize_picture(video[index], *size) for index in wanted}
        digests = {index: array_digest(picture) for index, picture in pictures.items()}
        for start in range(0, len(indices), self.batch):
            part = {index: partners[index] for index in indices[start : start + self.batch]}
            yield from self._describe(part, pictures, digests, (video.height, video.width))

    def _describe(
        self,
        partners: dict[int, int | None],
        pictures: dict[int, np.ndarray],
        digests: dict[int, str],
        video_size: tuple[int, int],
    ) -> list[FrameDescription]:
        pairs = {index: partner for index, partner in partners.items() if partner is not None}
        flows = dict(zip(pairs, self._flows(pictures, digests, pairs), strict=True))
        views: list[View] = [Appearance(pictures[index]) for index in partners]
        views += [Motion(flows[index]) for index in pairs]
        encoded = self._encode(views, [digests[index] for index in partners] + [array_digest(flows[i]) for i in pairs])
        motions = dict(zip(pairs, encoded[len(partners) :], strict=True))
        return [
            FrameDescription(
                index=index,
                size=video_size,
                picture=pictures[index],
                grid=self.features.grid(*pictures[index].shape[:2]),
                rgb=rgb,
                partner=partners[index],
                flow=flows.get(index),
                motion=motions.get(index),
            )
            for index, rgb in zip(partners, encoded, strict=False)
        ]

    def _partner(self, video: Video, index: int) -> int | None:
        return partner_frame(index, self.parameters.gap, len(video)) if self.parameters.uses_flow else None

    def _flows(
        self, pictures: dict[int, np.ndarray], digests: dict[int, str], pairs: dict[int, int]
    ) -> list[np.ndarray]:
        if not pairs:
            return []
        assert self.flow is not None  # a partner exists only where alpha is below 1
        model = self.flow.identity
        keys = [("flow-field", model, digests[index], digests[partner]) for index, partner in pairs.items()]
        known = [self.cache.get(*key) if self.cache else None for key in keys]
        missing = [
            (pictures[index], pictures[partner])
            for (index, partner), flow in zip(pairs.items(), known, strict=True)
            if flow is None
        ]
        return self._fill(known, keys, self.flow.estimate(missing) if missing else [])

    def _encode(self, views: list[View], digests: list[str]) -> list[np.ndarray]:
        keys = [(self.features.identity_of(view), digest) for view, digest in zip(views, digests, strict=True)]
        known = [self.cache.get(*key) if self.cache else None for key in keys]
        missing = [view for view, array in zip(views, known, strict=True) if array is None]
        return self._fill(known, keys, self.features.encode(missing) if missing else [])

    def _fill(
        self, known: list[np.ndarray | None], keys: Sequence[tuple[str, ...]], computed: list[np.ndarray]
    ) -> list[np.ndarray]:
        """Put computed arrays where the cache had none, and into the cache."""
        fresh = iter(computed)
        filled = []
        for array, key in zip(known, keys, strict=True):
            if array is None:
                array = next(fresh)
                if self.cache:
                    self.cache.put(array, *key)
            filled.append(array)
        return filled


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
    result = cut_cosines(cosines, description.grid, parameters)
    instances, rejected = _refine(description, result.cuts, parameters)
    if result.rejected is not None:
        rejected.append(_rejected_cut(result.rejected, result.stop))
    return FrameMasks(
        index=description.index,
        partner=description.partner,
        stop=result.stop,
        instances=tuple(instances),
        rejected=tuple(rejected),
        cuts=result.cuts if result.rejected is None else (*result.cuts, result.rejected),
    )


def _refine(
    description: FrameDescription, cuts: Sequence[Cut], parameters: CutParameters
) -> tuple[list[Instance], list[Rejected]]:
    height, width = description.picture.shape[:2]
    crf = FrameCrf(description.picture) if parameters.crf and crf_is_available() else None
    taken_here = np.zeros((height, width), dtype=bool)
    taken_in_video = np.zeros(description.size, dtype=bool)
    instances: list[Instance] = []
    rejected: list[Rejected] = []
    for cut in cuts:
        before = upsample_mask(cut.mask, height, width)
        refined = crf.refine(before) if crf else before
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


def _rejected_cut(cut: Cut, stop: StopReason) -> Rejected:
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
