"""YouTube-VIS: one json of videos and of instances with a mask (or none) in each frame (METHOD 7.5)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from flowcut_napari.core.clips import CuratedVideo
from flowcut_napari.core.decisions import Key
from flowcut_napari.core.formats.spool import Spool, write_document

ANNOTATIONS = "annotations.json"
CATEGORIES = '[{"id":1,"name":"fg","supercategory":"fg"}]'
# Of an instance that is not in a frame.
_ABSENT = ("null", "null", "null")


class YtvisWriter:
    """Writes each clip as a video of its own, with ids from 1 in the order in which they come.

    A frame is named ``VIDEO/FILE`` and lies under ``frames/``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._videos = Spool(folder / ".videos")
        self._annotations = Spool(folder / ".annotations")

    def frame_places(self, curated: CuratedVideo, names: Mapping[int, str]) -> Iterator[tuple[int, Path]]:
        """Yield the frames that are needed, each with its place in the folder."""
        for index in sorted({index for clip in curated.clips for index in clip.frames}):
            yield index, self.folder / "frames" / curated.masks.video.name / names[index]

    def add(self, curated: CuratedVideo, names: Mapping[int, str]) -> None:
        """Write the clips of a video; `names` are the files of its frames."""
        video = curated.masks.video
        files = {index: json.dumps(f"{video.name}/{name}") for index, name in names.items()}
        # An instance is in many clips: its text is made once.
        texts = instance_texts(curated)
        size = f'"width":{video.width},"height":{video.height}'
        for clip in curated.clips:
            length = len(clip.frames)
            listed = ",".join(files[index] for index in clip.frames)
            number = self._videos.count + 1
            self._videos.add(f'{{"id":{number},{size},"length":{length},"file_names":[{listed}]}}')
            for track in clip.tracks:
                masks = [
                    _ABSENT if instance is None else texts[frame, instance]
                    for frame, instance in zip(clip.frames, track.instances, strict=True)
                ]
                segmentations, boxes, areas = (",".join(parts) for parts in zip(*masks, strict=True))
                self._annotations.add(
                    f'{{"id":{self._annotations.count + 1},"video_id":{number},"category_id":1,"iscrowd":0,{size},'
                    f'"length":{length},"segmentations":[{segmentations}],"bboxes":[{boxes}],"areas":[{areas}]}}'
                )

    def finish(self) -> tuple[int, int]:
        """Put the json together; return how many clips and instances it has."""
        write_annotations(self.folder, "videos", self._videos, self._annotations)
        return self._videos.count, self._annotations.count

    def close(self) -> None:
        """Let go of all files, whether finished or not."""
        self._videos.close()
        self._annotations.close()


def write_annotations(folder: Path, name: str, items: Spool, annotations: Spool) -> None:
    """Write ``annotations.json``; `items` are its videos or images, and `name` is what they are called in it."""
    parts: dict[str, str | Spool] = {"info": "{}", "licenses": "[]", name: items}
    write_document(folder / ANNOTATIONS, {**parts, "categories": CATEGORIES, "annotations": annotations})


def instance_texts(curated: CuratedVideo) -> dict[Key, tuple[str, str, str]]:
    """Return segmentation, box and area of every instance, as JSON, by frame and id."""
    return {
        (frame.index, instance.id): (
            json.dumps(instance.segmentation, separators=(",", ":")),
            json.dumps(instance.bbox, separators=(",", ":")),
            str(instance.area),
        )
        for frame in curated.masks.frames
        for instance in frame.instances
    }
