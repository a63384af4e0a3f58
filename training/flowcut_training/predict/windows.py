"""Long videos in overlapping windows, and tracks of neighbouring windows put together (METHOD choice 26)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flowcut_napari.core.masks import Rle
from flowcut_napari.core.matching import match_iou
from flowcut_training.evaluation.tubes import read_tube, tube_ious
from flowcut_training.predict.tracks import Track

# Tracks are one where their tubes overlap more than this over the frames that both windows have.
LINK_IOU = 0.5


def overlap_of(window: int) -> int:
    """Return how many frames windows of this length have in common: a quarter."""
    return max(1, window // 4)


def plan_windows(length: int, window: int) -> list[range]:
    """Cut `length` frames into windows of `window` frames, the last of which ends with the video.

    Parameters
    ----------
    length : int
        At least 1.
    window : int
        At least 2. Where it is not shorter than the video, there is one window, the video.
    """
    if window >= length:
        return [range(length)]
    step = window - overlap_of(window)
    starts = [*range(0, length - window, step), length - window]
    return [range(start, start + window) for start in starts]


def link_windows(windows: Sequence[range], tracks: Sequence[Sequence[Track]], size: tuple[int, int]) -> list[Track]:
    """Put together the tracks of windows into those of the video.

    Two tracks of neighbouring windows are one where their tubes over the common frames have an IoU above 0.5, as the
    assignment with the largest sum pairs them. In common frames the first half is that of the earlier window. A score
    is the mean over the windows that a track is in, weighted by the frames that each of them gives. What has no pixel
    in a window is no track there.

    Parameters
    ----------
    windows : sequence of range
        Of `plan_windows`.
    tracks : sequence of sequences of Track
        Of each window.
    size : (int, int)
        Height and width of the masks.

    Returns
    -------
    list of Track
        By falling score; of equal ones, which begin first.
    """
    length = windows[-1].stop
    # There is nothing to know them again by, and one of each window would push others out of the best.
    tracks = [[track for track in found if any(track.masks)] for found in tracks]
    # Of every track of the video, its places among the tracks of the windows that it is in.
    chains: list[dict[int, int]] = []
    latest: dict[int, dict[int, int]] = {}
    for number, found in enumerate(tracks):
        pairs = _pairs(windows, tracks, number, size) if number else {}
        current = {}
        for place in range(len(found)):
            if place in pairs:
                current[place] = latest[pairs[place]]
            else:
                current[place] = {}
                chains.append(current[place])
            current[place][number] = place
        latest = current
    joined = [_join(chain, windows, tracks, length) for chain in chains]
    return sorted(joined, key=lambda track: -track.score)


def _pairs(
    windows: Sequence[range], tracks: Sequence[Sequence[Track]], number: int, size: tuple[int, int]
) -> dict[int, int]:
    """Return for tracks of a window those of the window before that they go on from."""
    before, after = windows[number - 1], windows[number]
    common = range(after.start, before.stop)
    tubes = [
        [
            read_tube(track.masks[common.start - window.start : common.stop - window.start], *size, "a window")
            for track in found
        ]
        for window, found in ((before, tracks[number - 1]), (after, tracks[number]))
    ]
    matches = match_iou(tube_ious(*tubes), LINK_IOU, "hungarian")
    return {later: earlier for earlier, later in matches.pairs}


def _join(chain: dict[int, int], windows: Sequence[range], tracks: Sequence[Sequence[Track]], length: int) -> Track:
    masks: list[Rle | None] = [None] * length
    numbers = sorted(chain)
    scores, weights = [], []
    for number in numbers:
        window, track = windows[number], tracks[number][chain[number]]
        start = _middle(windows, number - 1) if number - 1 in chain else window.start
        stop = _middle(windows, number) if number + 1 in chain else window.stop
        masks[start:stop] = track.masks[start - window.start : stop - window.start]
        scores.append(track.score)
        weights.append(stop - start)
    return Track(float(np.average(scores, weights=weights)), tuple(masks))


def _middle(windows: Sequence[range], number: int) -> int:
    """Return the first frame that a window leaves to the next one."""
    return (windows[number + 1].start + windows[number].stop) // 2
