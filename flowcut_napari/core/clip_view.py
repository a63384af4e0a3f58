"""A clip of a dataset as a person looks at it: some of its frames, the masks in them, and what cannot be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.images import image_size, read_rgb
from flowcut_napari.core.segmentations import Packed, area_of, unpack

# Of one frame; what is far beyond any camera is damage, and takes memory before it is found out.
LARGEST_FRAME = 1 << 26
# Of all frames that are read at a time: half a gigabyte with their masks.
LARGEST_VIEW = 1 << 27
# A number of an instance takes a byte.
MOST_INSTANCES = 255
_SHOWN = 6


@dataclass(frozen=True)
class ClipInstance:
    """An instance of a clip.

    Attributes
    ----------
    label : int
        Its number in `ClipView.labels`, from 1; the same in all frames of the clip.
    id, category : str
        As the dataset has them; the category is empty where there is none.
    score : float or None
    areas : tuple
        Pixels in each frame that was read; None where it is not there, or its mask cannot be read.
    """

    label: int
    id: str
    category: str
    score: float | None
    areas: tuple[int | None, ...]


@dataclass(frozen=True)
class ClipView:
    """Some frames of a clip with their masks.

    Attributes
    ----------
    number : int
        Of the clip, from 0.
    id, video : str
    files : tuple of str
        All of its frames.
    places : tuple of int
        Which of them were read.
    frames : tuple
        Of each (H, W, 3) uint8 RGB, or None if it cannot be shown.
    labels : tuple of ndarray
        Of each (H, W) uint8: the label of the instance at a pixel, else 0. Small instances lie over large ones.
    instances : tuple of ClipInstance
        Those in the frames that were read.
    problems : tuple of str
        What cannot be shown, a line each.
    """

    number: int
    id: str
    video: str
    files: tuple[str, ...]
    places: tuple[int, ...]
    frames: tuple[np.ndarray | None, ...]
    labels: tuple[np.ndarray, ...]
    instances: tuple[ClipInstance, ...]
    problems: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Memory of its pictures."""
        return sum(picture.nbytes for picture in (*self.frames, *self.labels) if picture is not None)


@dataclass
class Lines:
    """Lines for a person: the first of them, and how many more there are."""

    texts: list[str] = field(default_factory=list)
    count: int = 0

    def say(self, text: str) -> None:
        """Take down a line."""
        self.count += 1
        if len(self.texts) < _SHOWN:
            self.texts.append(text)

    def all(self) -> tuple[str, ...]:
        """Return them."""
        more = self.count - len(self.texts)
        return (*self.texts, *([f"and {more} more such problems"] if more else []))


def spread(length: int, most: int) -> tuple[int, ...]:
    """Return up to `most` frames of a clip, evenly over it, the first and the last among them.

    Examples
    --------
    >>> spread(2, 4), spread(24, 4)
    ((0, 1), (0, 8, 15, 23))
    """
    if length <= most:
        return tuple(range(length))
    if most == 1:
        return (0,)
    # Each step is longer than one frame, so none comes twice.
    return tuple(round(place * (length - 1) / (most - 1)) for place in range(most))


def read_frame(path: Path, size: tuple[int, int] | None) -> tuple[np.ndarray, str]:
    """Read a frame, and fit it to the size that its dataset states.

    Returns
    -------
    (H, W, 3) uint8, str
        The frame, and a word on its size where that is another; empty else.

    Raises
    ------
    InputError
        If it is not there, damaged, or too large.
    """
    found = image_size(path)
    if found[0] * found[1] > LARGEST_FRAME:
        raise InputError(f"{path}: too large to be shown ({found[1]}x{found[0]})")
    picture = read_rgb(path)
    if size is None or picture.shape[:2] == size:
        return picture, ""
    height, width = picture.shape[:2]
    fitted = Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(fitted), f"is {width}x{height}, its masks are {size[1]}x{size[0]}; it was stretched to fit"


def that_fit(places: tuple[int, ...], size: tuple[int, int], lines: Lines) -> tuple[int, ...]:
    """Return as many of some places as may be read at a time where frames are (height, width); at least one."""
    most = max(1, LARGEST_VIEW // (size[0] * size[1]))
    if len(places) > most:
        lines.say(f"its frames are {size[1]}x{size[0]}: only {most} of {len(places)} are shown at a time")
    return places[:most]


def paint(masks: Sequence[tuple[int, Packed]], size: tuple[int, int]) -> np.ndarray:
    """Return a picture of labels, (height, width) uint8, from masks with their labels, the smallest on top."""
    labels = np.zeros(size, np.uint8)
    # One after the other: all of them at once may be more than a machine has.
    for label, mask in sorted(masks, key=lambda item: -area_of(item[1])):
        labels[unpack(mask).view(bool)] = label
    return labels
