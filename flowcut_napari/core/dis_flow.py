"""Optical flow without learning: camera alignment, then dense inverse search.

DIS flow (Kroeger et al. 2016) searches locally from a coarse start and breaks
down on the long displacements of a panning camera.  So the second frame is
first brought into the first one's view by a homography from matched SIFT
points (Lowe 2004; Fischler and Bolles 1981), corrected once by a robust
second-order motion, and DIS only has to find what is left.

References
----------
.. [1] T. Kroeger et al., "Fast optical flow using dense inverse search",
   ECCV 2016.
.. [2] D. G. Lowe, "Distinctive image features from scale-invariant
   keypoints", IJCV 60(2), 2004.
.. [3] M. A. Fischler, R. C. Bolles, "Random sample consensus", CACM 24(6),
   1981.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flowcut_napari.core.handmade import background_motion

# Part of the cache key: raise it when the numbers change.
VERSION = "1"

__all__ = ["dis_flow"]

# SIFT doubles its input, so that points of a smaller picture are far cheaper.
_MATCH_LONG_SIDE = 320
_POINTS = 500
_CONTRAST = 0.01
_LEAST_MATCHES = 12
_REPROJECTION = 3.0
_CHECK_LONG_SIDE = 160
_CHECK_OVERLAP = 0.25
# DIS itself needs a few tens of pixels for its pyramid.
_LEAST_SIDE = 32


def dis_flow(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Estimate the optical flow from picture a to picture b.

    Parameters
    ----------
    a, b : ndarray of uint8, shape (H, W, 3)
        RGB pictures of equal size.

    Returns
    -------
    ndarray of float32, shape (H, W, 2)
        Displacement (right, down) in pixels of each pixel of `a`.

    Notes
    -----
    Where the camera motion carries a pixel out of picture b nothing can be
    measured, and the camera motion itself is returned: invented motion at the
    border is what a segmentation would mistake for an object.
    """
    grey_a = np.asarray(cv2.cvtColor(a, cv2.COLOR_RGB2GRAY), np.uint8)
    grey_b = np.asarray(cv2.cvtColor(b, cv2.COLOR_RGB2GRAY), np.uint8)
    height, width = grey_a.shape
    if min(height, width) < _LEAST_SIDE:
        return np.zeros((height, width, 2), np.float32)
    camera = _homography_field(_align(grey_a, grey_b), height, width)
    # First a cheap look at half size, only to correct the camera motion ...
    coarse = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    rest = _residual_flow(coarse, grey_a, grey_b, camera, half=True)
    camera = background_motion(np.add(camera, rest))
    # ... then the fine flow.  Going down to full resolution keeps the object's
    # outline; the variational refinement costs time and made masks worse.
    fine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    fine.setFinestScale(0)
    fine.setVariationalRefinementIterations(0)
    rest = _residual_flow(fine, grey_a, grey_b, camera)
    return np.asarray(np.add(camera, rest), np.float32)


def _residual_flow(
    search: cv2.DISOpticalFlow,
    a: NDArray[np.uint8],
    b: NDArray[np.uint8],
    camera: NDArray[np.float32],
    half: bool = False,
) -> NDArray[np.float32]:
    """Return the flow left after `camera`, zero where b does not show it."""
    height, width = a.shape
    x = camera[..., 0] + np.arange(width, dtype=np.float32)
    y = camera[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    warped = cv2.remap(b, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # None, not zeros (OpenCV's type stubs forbid it): given a start, OpenCV no
    # longer picks the coarsest scale by the picture's size, and the flow differs.
    no_start: Any = None
    if half and min(height, width) >= 2 * _LEAST_SIDE:
        size = (width // 2, height // 2)
        small = search.calc(
            cv2.resize(a, size, interpolation=cv2.INTER_AREA),
            cv2.resize(warped, size, interpolation=cv2.INTER_AREA),
            no_start,
        )
        flow = 2 * np.asarray(cv2.resize(small, (width, height)), np.float32)
    else:
        flow = np.asarray(search.calc(a, warped, no_start), np.float32)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    flow[~inside] = 0
    return flow


def _align(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the homography from a to b, or the identity where that fits better."""
    identity = np.eye(3)
    found = _match(a, b)
    if found is None:
        return identity
    # Points on a large object or a few false matches can give a homography
    # that fits the pictures worse than no motion at all.
    if _difference(a, b, found) < _difference(a, b, identity):
        return found
    return identity


def _match(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Return the homography of mutually nearest SIFT points, None if too few."""
    ratio = min(1.0, _MATCH_LONG_SIDE / max(a.shape))
    small_a = cv2.resize(a, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)
    small_b = cv2.resize(b, small_a.shape[::-1], interpolation=cv2.INTER_AREA)
    sift = cv2.SIFT.create(_POINTS, contrastThreshold=_CONTRAST)
    points_a, features_a = sift.detectAndCompute(small_a, None)
    points_b, features_b = sift.detectAndCompute(small_b, None)
    if min(len(points_a), len(points_b)) < _LEAST_MATCHES:
        return None
    pairs = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True).match(features_a, features_b)
    if len(pairs) < _LEAST_MATCHES:
        return None
    here = np.array([points_a[p.queryIdx].pt for p in pairs], np.float32)
    there = np.array([points_b[p.trainIdx].pt for p in pairs], np.float32)
    # OpenCV seeds this RANSAC with a constant: the result is repeatable.
    homography, _ = cv2.findHomography(here, there, cv2.RANSAC, _REPROJECTION)
    if homography is None or not np.isfinite(homography).all():
        return None
    scale = np.diag([ratio, ratio, 1.0])
    result: NDArray[np.float64] = np.linalg.inv(scale) @ homography @ scale
    return result


def _difference(a: NDArray[np.uint8], b: NDArray[np.uint8], homography: NDArray[np.float64]) -> float:
    """Return the mean grey difference of a and the aligned b where they overlap."""
    ratio = min(1.0, _CHECK_LONG_SIDE / max(a.shape))
    small_a = cv2.resize(a, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)
    size = small_a.shape[::-1]
    small_b = cv2.resize(b, size, interpolation=cv2.INTER_AREA)
    scale = np.diag([ratio, ratio, 1.0])
    move = scale @ homography @ np.linalg.inv(scale)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    aligned = cv2.warpPerspective(small_b, move, size, flags=flags)
    overlap = cv2.warpPerspective(np.full_like(small_b, 255), move, size, flags=flags) == 255
    if overlap.mean() < _CHECK_OVERLAP:
        return float("inf")
    return float(cv2.absdiff(small_a, aligned)[overlap].mean())


def _homography_field(homography: NDArray[np.float64], height: int, width: int) -> NDArray[np.float32]:
    """Return the (height, width, 2) displacement that a homography means."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    h = homography.astype(np.float32)
    depth = h[2, 0] * x + h[2, 1] * y + h[2, 2]
    # The horizon of a wild homography would divide by zero.
    depth = np.where(np.abs(depth) < 1e-3, np.float32(1e-3), depth)
    u = (h[0, 0] * x + h[0, 1] * y + h[0, 2]) / depth - x
    v = (h[1, 0] * x + h[1, 1] * y + h[1, 2]) / depth - y
    return np.stack([u, v], axis=-1)
