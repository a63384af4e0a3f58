"""What the loader hands over: one augmented clip, and a batch of them padded to one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from flowcut_training.model.normalize import pad_to_stride


@dataclass(frozen=True)
class Sample:
    """One augmented clip.

    Attributes
    ----------
    frames : torch.Tensor
        (T, 3, H, W) uint8 RGB.
    masks : torch.Tensor
        (N, T, H, W) bool, N >= 0. No instance is empty in all frames; it may be in some.
    name : str
        What messages call it, ``clip 12 (video)``.
    broken : tuple of str
        Messages of the clips that were passed over to get this one; see ``DataParameters.skip_broken``.
    """

    frames: torch.Tensor
    masks: torch.Tensor
    name: str
    broken: tuple[str, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Clips in one tensor, padded right and bottom to the largest of them and to a multiple of 32.

    Attributes
    ----------
    frames : torch.Tensor
        (B, T, 3, H, W) uint8 RGB, zeros in the padding.
    sizes : tuple of (int, int)
        Height and width of each clip before padding.
    masks : tuple of torch.Tensor
        One a clip, (N, T, H, W) bool, padded alike.
    names : tuple of str
        What messages call each clip.
    broken : tuple of str
        Messages of all clips that were passed over.
    """

    frames: torch.Tensor
    sizes: tuple[tuple[int, int], ...]
    masks: tuple[torch.Tensor, ...]
    names: tuple[str, ...]
    broken: tuple[str, ...] = ()

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory; the name is what `torch.utils.data.DataLoader` calls."""
        masks = tuple(mask.pin_memory() for mask in self.masks)
        return Batch(self.frames.pin_memory(), self.sizes, masks, self.names, self.broken)


def collate(samples: Sequence[Sample]) -> Batch:
    """Put clips of one length into a batch.

    Parameters
    ----------
    samples : sequence of Sample
        At least one; all have as many frames.
    """
    sizes = tuple((int(sample.frames.shape[-2]), int(sample.frames.shape[-1])) for sample in samples)
    height, width = (pad_to_stride(max(sides)) for sides in zip(*sizes, strict=True))
    frames = samples[0].frames.new_zeros((len(samples), *samples[0].frames.shape[:2], height, width))
    masks = []
    for place, (sample, (rows, columns)) in enumerate(zip(samples, sizes, strict=True)):
        frames[place, :, :, :rows, :columns] = sample.frames
        padded = sample.masks.new_zeros((*sample.masks.shape[:2], height, width))
        padded[:, :, :rows, :columns] = sample.masks
        masks.append(padded)
    names = tuple(sample.name for sample in samples)
    return Batch(frames, sizes, tuple(masks), names, tuple(text for sample in samples for text in sample.broken))
