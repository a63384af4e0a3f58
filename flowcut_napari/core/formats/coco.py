"""COCO: one json of single pictures and their instances, for detectors and still-image training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from flowcut_napari.core.clips import CuratedVideo
from flowcut_napari.core.formats.spool import Spool
from flowcut_napari.core.formats.ytvis import instance_texts, write_annotations


class CocoWriter:
    """Writes each frame with an instance that is part of a clip, and these instances.

    A frame is named ``VIDEO/FILE`` and lies under ``frames/``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._images = Spool(folder / ".images")
        self._annotations = Spool(folder / ".annotations")

    def frame_places(self, curated: CuratedVideo, names: Mapping[int, str]) -> Iterator[tuple[int, Path]]:
        """Yield the frames that are needed, each with its place in the folder."""
        for index in _matched(curated):
            yield index, self.folder / "frames" / curated.masks.video.name / names[index]

    def add(self, curated: CuratedVideo, names: Mapping[int, str]) -> None:
        """Write the frames of a video; `names` are their files."""
        video = curated.masks.video
        texts = instance_texts(curated)
        for index, instances in _matched(curated).items():
            file = json.dumps(f"{video.name}/{names[index]}")
            number = self._images.count + 1
            self._images.add(f'{{"id":{number},"width":{video.width},"height":{video.height},"file_name":{file}}}')
            for instance in instances:
                segmentation, box, area = texts[index, instance]
                self._annotations.add(
                    f'{{"id":{self._annotations.count + 1},"image_id":{number},"category_id":1,"iscrowd":0,'
                    f'"area":{area},"bbox":{box},"segmentation":{segmentation}}}'
                )

    def finish(self) -> tuple[int, int]:
        """Put the json together; return how many images and annotations it has."""
        write_annotations(self.folder, "images", self._images, self._annotations)
        return self._images.count, self._annotations.count

    def close(self) -> None:
        """Let go of all files, whether finished or not."""
        self._images.close()
        self._annotations.close()


def _matched(curated: CuratedVideo) -> dict[int, list[int]]:
    """Return the instances that are in a clip, by frame, both rising."""
    found: dict[int, set[int]] = {}
    for clip in curated.clips:
        for track in clip.tracks:
            for frame, number in zip(clip.frames, track.instances, strict=True):
                if number is not None:
                    found.setdefault(frame, set()).add(number)
    return {frame: sorted(found[frame]) for frame in sorted(found)}
