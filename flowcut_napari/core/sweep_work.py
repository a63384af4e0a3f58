"""Many settings of one frame: what depends on none of them is done once.

Cosines are shared by all values of alpha and tau, cuts by those that differ in the CRF alone, and masks that several
settings cut alike are refined and scored once. Each result is that of `segment_frame` with its setting, to the bit.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from flowcut_napari.core.affinity import Cosines
from flowcut_napari.core.description import FrameDescriber, FrameDescription
from flowcut_napari.core.eigen import one_blas_thread
from flowcut_napari.core.ground_truth import FrameTruth, VideoTruth
from flowcut_napari.core.models import ModelPlan
from flowcut_napari.core.ncut import IterativeCut, cut_cosines
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.pseudo_masks import FrameMasks, refine_cuts, rejected_cut
from flowcut_napari.core.refine import FrameCrf, crf_is_available
from flowcut_napari.core.scoring import FrameScore, score_frame
from flowcut_napari.core.video import Video

# The masks of one frame under one setting, and their score where there is ground truth.
Result = tuple[FrameMasks, FrameScore | None]


@dataclass(frozen=True)
class Share:
    """What a worker is told once: settings of one video whose frames are described alike.

    Attributes
    ----------
    video : Video
    plan : ModelPlan
        That describes its frames for all of these settings.
    settings : tuple of CutParameters
    truth : VideoTruth or None
    places : dict of int to int
        For frames the place of their annotation; frames without one are cut and not scored.
    """

    video: Video
    plan: ModelPlan
    settings: tuple[CutParameters, ...]
    truth: VideoTruth | None
    places: Mapping[int, int]

    def results(self, description: FrameDescription) -> list[Result]:
        """Return the results of a frame under every setting."""
        wanted = None
        if self.truth is not None and description.index in self.places:
            wanted = self.truth.frame(self.places[description.index], description.size)
        return list(cut_with_all(description, self.settings, wanted))


def cut_with_all(
    description: FrameDescription,
    settings: Sequence[CutParameters],
    truth: FrameTruth | None = None,
    pause: Callable[[], None] | None = None,
) -> Iterator[Result]:
    """Yield the masks of a described frame under many settings, and how good they are.

    Parameters
    ----------
    description : FrameDescription
    settings : sequence of CutParameters
        Whose features, flow, gap and size are those of the description.
    truth : FrameTruth, optional
    pause : callable, optional
        Called between settings; what it raises ends the work.
    """
    with one_blas_thread():
        cosines = Cosines.of(description.rgb, description.motion)
    crf = FrameCrf(description.picture) if crf_is_available() else None
    cuts: dict[Hashable, IterativeCut] = {}
    refined: dict[Hashable, FrameMasks] = {}
    scores: dict[Hashable, FrameScore] = {}
    for parameters in settings:
        if pause:
            pause()
        key = tuple(getattr(parameters, name) for name in _CUT_BY)
        if key not in cuts:
            cuts[key] = cut_cosines(cosines, description.grid, parameters)
        result = cuts[key]
        shape = (
            (parameters.crf, parameters.crf_min_iou),
            tuple(np.packbits(cut.mask).tobytes() for cut in result.cuts),
        )
        if shape not in refined:
            accepted = IterativeCut(result.cuts, result.stop)
            refined[shape] = refine_cuts(description, accepted, parameters, crf if parameters.crf else None)
        frame = _as_cut(refined[shape], result)
        if truth is not None and shape not in scores:
            scores[shape] = score_frame(frame, truth)
        yield frame, scores.get(shape)


# The parameters that decide how a described frame is cut.
_CUT_BY = ("alpha", "tau", "eps", "max_instances", "min_area", "max_overlap", "max_eigenvalue")


def _as_cut(known: FrameMasks, result: IterativeCut) -> FrameMasks:
    """Return masks that came of other cuts of the same shape with the story of these."""
    cuts = {cut.iteration: cut for cut in result.cuts}
    instances = []
    for instance in known.instances:
        assert instance.iteration is not None  # of a cut
        cut = cuts[instance.iteration]
        instances.append(replace(instance, eigenvalue=cut.eigenvalue, eigengap=cut.eigengap, seed=cut.seed))
    rejected = []
    for item in known.rejected:
        cut = cuts[item.iteration]
        rejected.append(replace(item, eigenvalue=cut.eigenvalue, eigengap=cut.eigengap, seed=cut.seed))
    if result.rejected is not None:
        rejected.append(rejected_cut(result.rejected, result.stop))
    return replace(known, stop=result.stop, instances=tuple(instances), rejected=tuple(rejected), cuts=())


# What a worker process keeps between tasks: the share that it works on, and models.
_share: tuple[Path, Share, FrameDescriber | None] | None = None
_models: dict[Hashable, Any] = {}


def sweep_frames(packed: Path, indices: list[int]) -> list[list[Result]]:
    """Describe frames and cut them under all settings of the share that is pickled at `packed`."""
    share, describer = _loaded(packed, describes=True)
    assert describer is not None  # asked for
    return [share.results(description) for description in describer.describe(share.video, indices)]


def sweep_description(packed: Path, description: FrameDescription) -> list[list[Result]]:
    """Cut a frame that the parent described under all settings of a share."""
    return [_loaded(packed, describes=False)[0].results(description)]


def _loaded(packed: Path, *, describes: bool) -> tuple[Share, FrameDescriber | None]:
    global _share
    if _share is None or _share[0] != packed:
        share: Share = pickle.loads(packed.read_bytes())
        _share = packed, share, share.plan.build(_models) if describes else None
    return _share[1], _share[2]
