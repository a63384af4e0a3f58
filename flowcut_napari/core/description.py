"""What the cuts of a frame need, its features and those of its flow: computed, or taken from the cache."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from flowcut_napari.core.cache import ArrayCache, array_digest
from flowcut_napari.core.features import Appearance, FeatureModel, Motion, View, resize_picture
from flowcut_napari.core.flow import FlowModel, partner_frame
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.video import Video


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
        others = {index: self._other_partner(video, index) for index in indices}
        flown_to = (*partners.values(), *others.values())
        wanted = sorted({*partners, *(partner for partner in flown_to if partner is not None)})
        size = self.parameters.frame_size(video.height, video.width)
        pictures = {index: resize_picture(video[index], *size) for index in wanted}
        digests = {index: array_digest(picture) for index, picture in pictures.items()}
        for start in range(0, len(indices), self.batch):
            part = {index: partners[index] for index in indices[start : start + self.batch]}
            described = self._describe(part, pictures, digests, (video.height, video.width))
            across = {index: other for index in part if (other := others[index]) is not None}
            yield from self._with_other_way(described, across, pictures, digests)

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

    def _with_other_way(
        self,
        described: list[FrameDescription],
        others: dict[int, int],
        pictures: dict[int, np.ndarray],
        digests: dict[int, str],
    ) -> list[FrameDescription]:
        """Return descriptions with the features of the flow to the other side beside those of the flow.

        Rows are of unit length in each half, so that a cosine is the mean of the two.
        """
        if not others:
            return described
        flows = dict(zip(others, self._flows(pictures, digests, others), strict=True))
        views: list[View] = [Motion(flow) for flow in flows.values()]
        motions = dict(zip(others, self._encode(views, [array_digest(flow) for flow in flows.values()]), strict=True))
        return [
            replace(frame, motion=np.hstack([_unit(frame.motion), _unit(motions[frame.index])]))
            if frame.index in motions and frame.motion is not None
            else frame
            for frame in described
        ]

    def _other_partner(self, video: Video, index: int) -> int | None:
        """Return the frame as far away on the other side as the partner is, if there is one."""
        partner = self._partner(video, index) if self.parameters.both_ways else None
        if partner is None:
            return None
        other = 2 * index - partner
        return other if 0 <= other < len(video) else None

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


def _unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)


def description_key(parameters: CutParameters) -> tuple[Hashable, ...]:
    """Return all that the description of a frame depends on besides its video: two equal keys, one description."""
    still = (parameters.features, parameters.height, parameters.width)
    if not parameters.uses_flow:
        return still
    moving = (parameters.flow, parameters.gap, parameters.both_ways, parameters.flow_updates, parameters.min_flow)
    return (*still, *moving)
