"""Hand-made patch features for unsupervised moving-object segmentation.

Two descriptors per patch, one of the picture and one of the optical flow, are
built so that their *cosines* are useful affinities for a normalised cut
(Shi & Malik 2000) of the patch graph.  Nothing here is learnt: the numbers
were set on four DAVIS-2016 sequences and checked on four others.

Appearance
    Lab colour, Lab contrast and position of a patch, mapped by random Fourier
    features so that a cosine is (nearly) a Gaussian kernel.
Motion
    Flow minus a robust polynomial camera motion, the median of each patch, in
    units of a noise-adaptive scale, put on the unit sphere by the inverse
    stereographic projection: background is the pole, a cosine falls with the
    difference of the two motions, and outliers saturate.

References
----------
.. [1] A. Rahimi, B. Recht, "Random features for large-scale kernel machines",
   NIPS 2007.
.. [2] M. J. Black, P. Anandan, "The robust estimation of multiple motions:
   parametric and piecewise-smooth flow fields", CVIU 63(1), 1996.
.. [3] J.-M. Odobez, P. Bouthemy, "Robust multiresolution estimation of
   parametric motion models", JVCIR 6(4), 1995.
.. [4] J. Shi, J. Malik, "Normalized cuts and image segmentation", PAMI 22(8),
   2000.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Part of the cache key: raise it when the numbers change.
VERSION = "1"

__all__ = ["appearance_features", "background_motion", "motion_features"]

# Kernel widths of the appearance: Lab units (L 0..100) for colour and
# contrast, fractions of the picture's width for position.
_COLOUR_WIDTH = 20.0
_CONTRAST_WIDTH = 10.0
_POSITION_WIDTH = 0.25
_FOURIER_PAIRS = 256

# Motion scale = floor + gain * (median residual).  The floor is in pixels of a
# 640 pixels wide field, so that the features do not depend on the flow's size.
_SCALE_FLOOR = 2.0
_SCALE_GAIN = 6.0
_REFERENCE_WIDTH = 640.0
_SAMPLES = 8

# Camera-motion fit: size of the field it is fitted on, number of
# re-weightings, and least residual scale in pixels of that reference width.
_FIT_LONG_SIDE = 64
_FIT_STEPS = 30
_FIT_FLOOR = 0.1


def appearance_features(picture: NDArray[np.uint8], grid: tuple[int, int]) -> NDArray[np.float32]:
    """Describe colour, contrast and position of each patch.

    Parameters
    ----------
    picture : ndarray of uint8, shape (H, W, 3)
        RGB picture of any size.
    grid : tuple of int
        Rows and columns of patches, row by row over the whole picture.

    Returns
    -------
    ndarray of float32, shape (rows * cols, 512)
        Unit vectors.  The cosine of two of them approximates
        ``exp(-|x - y|**2 / 2)`` of the scaled descriptors x and y, with an
        error of about 0.04 (one standard deviation).

    Notes
    -----
    Random Fourier features after Rahimi and Recht (2007).  The frequencies
    come from the frozen legacy generator, whose stream NumPy guarantees not to
    change, so that results agree between versions and machines.
    """
    import cv2

    rows, cols = grid
    height, width = picture.shape[:2]
    unit_range = picture.astype(np.float32) / np.float32(255)
    lab = np.asarray(cv2.cvtColor(unit_range, cv2.COLOR_RGB2LAB), np.float32)
    mean = _patch_mean(lab, grid)
    # The difference of moments can be slightly negative on flat patches.
    contrast = np.sqrt(np.maximum(_patch_mean(lab * lab, grid) - mean * mean, 0))
    y = np.repeat((np.arange(rows) + 0.5) / rows * (height / width), cols)
    x = np.tile((np.arange(cols) + 0.5) / cols, rows)
    descriptor = np.column_stack(
        [
            mean / _COLOUR_WIDTH,
            contrast / _CONTRAST_WIDTH,
            y / _POSITION_WIDTH,
            x / _POSITION_WIDTH,
        ]
    )
    frequencies = np.random.RandomState(0).standard_normal((descriptor.shape[1], _FOURIER_PAIRS))
    phase = descriptor @ frequencies
    features = np.concatenate([np.cos(phase), np.sin(phase)], axis=1)
    return np.asarray(features / np.sqrt(_FOURIER_PAIRS), np.float32)


def motion_features(flow: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
    """Describe how each patch moves against the camera motion.

    Parameters
    ----------
    flow : ndarray of float32, shape (H, W, 2)
        Displacement (right, down) in pixels of this field, of any size.
    grid : tuple of int
        Rows and columns of patches, row by row over the whole field.

    Returns
    -------
    ndarray of float32, shape (rows * cols, 3)
        Unit vectors ``(1 - r**2, 2 u, 2 v) / (1 + r**2)`` of the residual
        motion (u, v), r its length, in units of the motion scale.

    Notes
    -----
    The inverse stereographic projection needs no kernel width of its own: the
    cosine of a patch at rest and one moving at the motion scale is 0, of one
    moving much faster -1, and opposite directions repel each other at middle
    speeds only.  The scale grows with the median residual, which measures
    flow noise and parallax, and has a floor, below which a still scene stays
    one cluster at the pole instead of becoming noise of unit length.
    """
    import cv2

    rows, cols = grid
    # Nearest samples keep motion edges sharp; an area mean would mix the two
    # motions, and the median below is what decides a mixed patch.
    field = cv2.resize(
        np.asarray(flow, np.float32),
        (cols * _SAMPLES, rows * _SAMPLES),
        interpolation=cv2.INTER_NEAREST,
    )
    residual = field - _polynomial_field(_fit_background(flow), field.shape[0], field.shape[1])
    patches = residual.reshape(rows, _SAMPLES, cols, _SAMPLES, 2)
    patches = patches.transpose(0, 2, 4, 1, 3).reshape(rows * cols, 2, _SAMPLES**2)
    motion = np.median(patches, axis=2)
    floor = _SCALE_FLOOR * _relative_size(flow)
    scale = floor + _SCALE_GAIN * np.median(np.hypot(motion[:, 0], motion[:, 1]))
    motion = motion / scale
    square = np.sum(motion * motion, axis=1, keepdims=True)
    features = np.concatenate([1 - square, 2 * motion], axis=1) / (1 + square)
    return np.asarray(features, np.float32)


def background_motion(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Estimate the flow that the camera's motion alone would cause.

    Parameters
    ----------
    flow : ndarray of float32, shape (H, W, 2)
        Displacement (right, down) in pixels.

    Returns
    -------
    ndarray of float32, shape (H, W, 2)
        The dominant motion: a polynomial of second order in x and y for each
        component.

    Notes
    -----
    Second order contains the planar motion of eight parameters and takes up
    mild lens distortion and relief; a cubic begins to explain objects.  Fitted
    by iteratively re-weighted least squares with a redescending weight
    (Black and Anandan 1996; Odobez and Bouthemy 1995).
    """
    height, width = flow.shape[:2]
    return _polynomial_field(_fit_background(flow), height, width)


def _fit_background(flow: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the (6, 2) coefficients of the dominant second-order motion."""
    import cv2

    height, width = flow.shape[:2]
    ratio = _FIT_LONG_SIDE / max(height, width)
    rows, cols = max(3, round(height * ratio)), max(3, round(width * ratio))
    # A few thousand vectors fix twelve numbers; more only cost time.
    small = cv2.resize(np.asarray(flow, np.float32), (cols, rows), interpolation=cv2.INTER_AREA)
    target = small.reshape(-1, 2).astype(np.float64)
    basis = _basis(rows, cols).reshape(-1, 6)
    floor = _FIT_FLOOR * _relative_size(flow)
    weight = np.ones(len(target))
    # The tiny ridge keeps the system solvable on fields of a few pixels.
    ridge = 1e-9 * np.eye(6)
    for _ in range(_FIT_STEPS):
        weighted = basis * weight[:, None]
        coefficients = np.linalg.solve(weighted.T @ basis + ridge, weighted.T @ target)
        error = target - basis @ coefficients
        square = np.sum(error * error, axis=1)
        # The scale is the median and so follows the larger half of the field,
        # which is what makes this the *background*'s motion.
        scale = max(1.4826 * np.sqrt(np.median(square)), floor)
        weight = 1 / (1 + square / scale**2) ** 2
    return np.asarray(coefficients, np.float64)


def _polynomial_field(coefficients: NDArray[np.float64], height: int, width: int) -> NDArray[np.float32]:
    """Evaluate a motion of :func:`_fit_background` on (height, width) pixels."""
    basis = _basis(height, width).astype(np.float32)
    field: NDArray[np.float32] = basis @ coefficients.astype(np.float32)
    return field


def _basis(height: int, width: int) -> NDArray[np.float64]:
    """Return 1, x, y, x^2, xy, y^2 at pixel centres, with x and y in -1..1."""
    y = ((np.arange(height) + 0.5) / height * 2 - 1)[:, None]
    x = ((np.arange(width) + 0.5) / width * 2 - 1)[None, :]
    one = np.ones((height, width))
    return np.stack([one, one * x, one * y, one * x * x, x * y, one * y * y], axis=-1)


def _patch_mean(channels: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
    """Return the mean of each patch, shape (rows * cols, channels)."""
    import cv2

    rows, cols = grid
    mean = cv2.resize(channels, (cols, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(mean, np.float32).reshape(rows * cols, -1)


def _relative_size(flow: NDArray[np.float32]) -> float:
    """Return the field's longer side relative to the size of the tuning data."""
    return float(max(flow.shape[:2])) / _REFERENCE_WIDTH
