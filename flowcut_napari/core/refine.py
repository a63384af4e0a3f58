"""From a mask of patches to a mask of pixels: a dense CRF and filled holes (METHOD 5).

The CRF is pydensecrf's, an optional package (``pydensecrf2`` on the package index). What it is asked to weigh up is
a weak hint from the mask, one nat a pixel, against smoothness and the colours of the picture.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from flowcut_napari.core.errors import InputError, MissingPackageError

# Krähenbühl & Koltun (NeurIPS 2011) with MaskCut's numbers: (width in pixels, width in colour, weight).
_SMOOTHNESS = (3.0, 7.0)
_APPEARANCE = (50.0, 5.0, 10.0)
_ITERATIONS = 10
CRF_INSTALL_HINT = "pip install pydensecrf2 (it needs a C++ compiler)"


@functools.cache
def crf_is_available() -> bool:
    """Return whether pydensecrf can be imported."""
    try:
        import pydensecrf.densecrf  # noqa: F401
    except ImportError:
        return False
    return True


def upsample_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a mask of patches as a mask of pixels, nearest neighbour, (height, width) bool (METHOD 5.1)."""
    rows = (np.arange(height) * mask.shape[0]) // height
    cols = (np.arange(width) * mask.shape[1]) // width
    return mask[rows[:, None], cols]


class FrameCrf:
    """The dense CRF of one frame, for any number of its masks.

    What depends on the picture alone, its bilateral lattice, is built once.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB

    Raises
    ------
    MissingPackageError
        If pydensecrf is not installed.
    """

    def __init__(self, image: np.ndarray) -> None:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InputError(f"the CRF takes an RGB image (H, W, 3) uint8, not {image.shape} {image.dtype}")
        if not crf_is_available():
            raise MissingPackageError(f"refining masks needs pydensecrf: {CRF_INSTALL_HINT}")
        self.image = image
        self._crf: Any = None

    def refine(self, mask: np.ndarray, pause: Callable[[], None] | None = None) -> np.ndarray:
        """Return the most likely mask given the picture, holes filled; (H, W) bool.

        Parameters
        ----------
        mask : (H, W) bool
            Of the size of the picture. An empty mask stays empty.
        pause : callable, optional
            Called between two iterations; what it raises ends the work, and another mask can be refined after.
        """
        height, width = self.image.shape[:2]
        if mask.shape != (height, width):
            raise InputError(f"a mask of {mask.shape} for a picture of {(height, width)}")
        if not mask.any():
            return np.zeros_like(mask, dtype=bool)
        crf = self._prepared()
        crf.setUnaryEnergy(_unary_energy(mask))
        # Step by step, which is what pydensecrf's own `inference` does, too.
        belief, *scratch = crf.startInference()
        for _ in range(_ITERATIONS):
            if pause:
                pause()
            crf.stepInference(belief, *scratch)
        background, foreground = np.asarray(belief).reshape(2, height, width)
        return ndimage.binary_fill_holes(foreground > background)

    def _prepared(self) -> Any:
        if self._crf is None:
            from pydensecrf.densecrf import DenseCRF2D

            height, width = self.image.shape[:2]
            self._crf = DenseCRF2D(width, height, 2)
            position, weight = _SMOOTHNESS
            self._crf.addPairwiseGaussian(sxy=position, compat=weight)
            position, colour, weight = _APPEARANCE
            # A copy: pydensecrf asks for writable memory.
            picture = np.array(self.image, order="C")
            self._crf.addPairwiseBilateral(sxy=position, srgb=colour, rgbim=picture, compat=weight)
        return self._crf


def refine_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Refine one mask by a dense CRF on its picture and fill its holes (METHOD 5.2 and 5.3).

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB
    mask : (H, W) bool, or a mask of patches, which is brought to the size of the picture first

    Returns
    -------
    (H, W) bool

    Raises
    ------
    MissingPackageError
        If pydensecrf is not installed.
    """
    mask = np.asarray(mask, dtype=bool)
    if mask.ndim != 2:
        raise InputError(f"a mask has the shape (H, W), not {mask.shape}")
    return FrameCrf(image).refine(upsample_mask(mask, *image.shape[:2]))


def _unary_energy(mask: np.ndarray) -> np.ndarray:
    """Return -log softmax of the 0/1 scores of both labels, (2, H * W) float32: .3133 for the mask, 1.3133 against."""
    scores = np.stack([~mask, mask]).reshape(2, -1).astype(np.float32)
    return np.ascontiguousarray(np.log(np.exp(np.float32(1)) + 1) - scores, dtype=np.float32)
