from __future__ import annotations

import numpy as np
import pytest

from flowcut_napari.core import InputError, MissingPackageError, refine, refine_mask
from flowcut_napari.core.refine import FrameCrf, _unary_energy, upsample_mask

needs_crf = pytest.mark.skipif(not refine.crf_is_available(), reason="pydensecrf2 is not installed")


def _disc(size: tuple[int, int] = (120, 160), radius: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture of a bright disc on a dark ground, and the disc."""
    random = np.random.default_rng(0)
    rows, cols = np.mgrid[: size[0], : size[1]]
    disc = np.hypot(rows - size[0] / 2, cols - size[1] / 2) < radius
    picture = np.where(disc[..., None], (210, 170, 60), (50, 70, 110)) + random.integers(-12, 12, (*size, 3))
    return picture.clip(0, 255).astype(np.uint8), disc


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@needs_crf
def test_a_coarse_mask_comes_to_fit_the_picture() -> None:
    picture, disc = _disc()
    coarse = disc[8::16, 8::16]
    before = upsample_mask(coarse, *disc.shape)
    after = refine_mask(picture, coarse)
    assert after.dtype == bool
    assert _iou(before, disc) < 0.9
    assert _iou(after, disc) > 0.97


@needs_crf
def test_many_masks_of_a_frame_equal_each_on_its_own() -> None:
    # One lattice for all of them must leave nothing of one mask in the next.
    picture, disc = _disc()
    masks = [disc, np.roll(disc, 25, axis=1), disc & (np.arange(160) > 80)]
    crf = FrameCrf(picture)
    together = [crf.refine(mask) for mask in masks]
    for mask, result in zip(masks, together, strict=True):
        assert np.array_equal(result, refine_mask(picture, mask))


@needs_crf
def test_it_is_the_crf_of_the_reference() -> None:
    """Numbers and calls of METHOD 5.2, written out."""
    from pydensecrf.densecrf import DenseCRF2D
    from pydensecrf.utils import unary_from_softmax
    from scipy.ndimage import binary_fill_holes

    picture, disc = _disc()
    mask = upsample_mask(disc[8::16, 8::16], *disc.shape)
    scores = np.exp(np.stack([1.0 - mask, 1.0 * mask]))
    crf = DenseCRF2D(160, 120, 2)
    crf.setUnaryEnergy(np.ascontiguousarray(unary_from_softmax((scores / scores.sum(0)).astype(np.float32))))
    crf.addPairwiseGaussian(sxy=3, compat=7)
    crf.addPairwiseBilateral(sxy=50, srgb=5, rgbim=picture.copy(), compat=10)
    expected = np.array(crf.inference(10)).reshape(2, 120, 160).argmax(0)
    assert np.array_equal(refine_mask(picture, mask), binary_fill_holes(expected))


def test_the_unary_is_one_nat() -> None:
    energy = _unary_energy(np.array([[True, False]]))
    assert energy == pytest.approx(np.array([[1.3133, 0.3133], [0.3133, 1.3133]]), abs=1e-4)


@needs_crf
def test_holes_are_filled() -> None:
    picture, disc = _disc()
    picture[56:64, 76:84] = (50, 70, 110)
    assert refine_mask(picture, disc)[60, 80]


@needs_crf
def test_an_empty_mask_stays_empty() -> None:
    picture, disc = _disc()
    assert not refine_mask(picture, np.zeros_like(disc)).any()


@pytest.mark.parametrize(("grid", "size"), [((22, 40), (360, 640)), ((60, 60), (480, 480)), ((26, 46), (360, 640))])
def test_upsampling_is_torchs_nearest(
    random: np.random.Generator, grid: tuple[int, int], size: tuple[int, int]
) -> None:
    import torch

    mask = random.random(grid) < 0.5
    expected = torch.nn.functional.interpolate(torch.from_numpy(mask)[None, None].float(), size=size, mode="nearest")
    assert np.array_equal(upsample_mask(mask, *size), expected[0, 0].numpy() > 0)


def test_what_does_not_fit_is_refused() -> None:
    picture, disc = _disc()
    with pytest.raises(InputError, match="RGB image"):
        refine_mask(picture[..., 0], disc)
    with pytest.raises(InputError, match="a mask has the shape"):
        refine_mask(picture, picture > 0)


def test_without_the_package_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refine, "crf_is_available", lambda: False)
    picture, disc = _disc()
    with pytest.raises(MissingPackageError, match="pip install pydensecrf2"):
        refine_mask(picture, disc)
