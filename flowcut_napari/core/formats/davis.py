"""DAVIS: folders of frames and of palette PNGs that hold the number of the object at each pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from flowcut_napari.core.clips import Clip, ClipTrack, CuratedVideo
from flowcut_napari.core.decisions import Key
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.pseudo_masks import Instance

# 255 is void.
MOST_OBJECTS = 254


class DavisWriter:
    """Writes each clip as a sequence: ``JPEGImages/480p/SEQ``, ``Annotations/480p/SEQ``, ``ImageSets/2017/train.txt``.

    The sequence is named after its video, or ``VIDEO_FIRST_LAST`` where it is a part of it. Where masks overlap, the
    lower number has the pixel. ``480p`` is the name that programs for DAVIS look for; sizes stay as they are. Frames
    are JPEG, as these programs expect.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: dict[str, None] = {}
        self._objects = 0

    def frame_places(self, curated: CuratedVideo, names: Mapping[int, str]) -> Iterator[tuple[int, Path]]:
        """Yield the frames that are needed, each with its place in the folder."""
        for clip in curated.clips:
            if len(clip.tracks) > MOST_OBJECTS:
                raise InputError(
                    f"{curated.masks.video.name}: {len(clip.tracks)} objects; a DAVIS annotation holds {MOST_OBJECTS}"
                )
            name = _sequence(curated, clip)
            if name in self._names:
                raise InputError(
                    f"{curated.masks.video.name}: another sequence is called {name} already; rename the video"
                )
            folder = self.folder / "JPEGImages" / "480p" / name
            for index in clip.frames:
                yield index, folder / f"{Path(names[index]).stem}.jpg"

    def add(self, curated: CuratedVideo, names: Mapping[int, str]) -> None:
        """Write the annotations of a video; `names` are the files of its frames."""
        masks = {(frame.index, item.id): item for frame in curated.masks.frames for item in frame.instances}
        size = (curated.masks.video.height, curated.masks.video.width)
        for clip in curated.clips:
            name = _sequence(curated, clip)
            folder = self.folder / "Annotations" / "480p" / name
            folder.mkdir(parents=True)
            tracks = self._visible(clip, masks)
            for place, index in enumerate(clip.frames):
                labels = np.zeros(size, dtype=np.uint8)
                for number, track in reversed(list(enumerate(tracks, start=1))):
                    instance = track.instances[place]
                    if instance is not None:
                        labels[masks[index, instance].mask] = number
                picture = Image.fromarray(labels, mode="P")
                picture.putpalette(davis_palette())
                picture.save(folder / f"{Path(names[index]).stem}.png")
            self._objects += len(tracks)
            self._names[name] = None

    def _visible(self, clip: Clip, masks: Mapping[Key, Instance]) -> list[ClipTrack]:
        """Return the objects that are not hidden behind others in every frame: numbers must not have holes."""
        used = [masks[index, number] for track in clip.tracks for index, number in _members(clip, track)]
        if all(instance.origin == "cut" for instance in used):
            return list(clip.tracks)  # cuts are disjoint
        seen: set[int] = set()
        for place, index in enumerate(clip.frames):
            covered: np.ndarray | None = None
            for spot, track in enumerate(clip.tracks):
                number = track.instances[place]
                if number is None:
                    continue
                mask = masks[index, number].mask
                if covered is None or (mask & ~covered).any():
                    seen.add(spot)
                covered = mask if covered is None else covered | mask
        return [track for spot, track in enumerate(clip.tracks) if spot in seen]

    def finish(self) -> tuple[int, int]:
        """Write the list of sequences; return how many they are, and how many objects are to be seen in them."""
        path = self.folder / "ImageSets" / "2017" / "train.txt"
        path.parent.mkdir(parents=True)
        path.write_text("".join(f"{name}\n" for name in self._names), encoding="utf-8")
        return len(self._names), self._objects

    def close(self) -> None:
        """Let go of all files: none is open."""


def _members(clip: Clip, track: ClipTrack) -> list[Key]:
    pairs = zip(clip.frames, track.instances, strict=True)
    return [(index, number) for index, number in pairs if number is not None]


def _sequence(curated: CuratedVideo, clip: Clip) -> str:
    name = curated.masks.video.name
    is_whole = len(clip.frames) == len(curated.masks.frames)
    return name if is_whole else "_".join([name, *(f"{index:05d}" for index in (clip.frames[0], clip.frames[-1]))])


def davis_palette() -> list[int]:
    """Return the colours of PASCAL VOC and DAVIS: the bits of the number, spread over red, green and blue."""
    colours = np.zeros((256, 3), dtype=int)
    numbers = np.arange(256)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((numbers >> (3 * bit + channel)) & 1) << (7 - bit)
    return colours.ravel().tolist()
