"""What is open in a workbench, as a session. Collected in the window, completed on a thread: fingerprints take time."""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcut_napari.core.parameters import CurationParameters, CutParameters
from flowcut_napari.core.store import VideoRecord
from flowcut_napari.core.video import Video
from flowcut_napari.live.messages import Machine
from flowcut_napari.viewer.find_video import address_of
from flowcut_napari.viewer.session import Session, SessionVideo
from flowcut_napari.viewer.video_layers import KEY, ours, video_of
from flowcut_napari.widgets.curate.desk import curation_of
from flowcut_napari.widgets.workbench import Workbench

if TYPE_CHECKING:
    from napari.layers import Layer


@dataclass(frozen=True)
class Place:
    """Where the panel stands: the names of a page and of a tab on it, and what is set for an export."""

    page: str = ""
    tab: str = ""
    export: dict[str, Any] | None = None


@dataclass(frozen=True)
class _OpenVideo:
    video: Video
    address: str
    masks: Path | None
    frame: int


@dataclass(frozen=True)
class Snapshot:
    """What is open, without what takes time to find out."""

    videos: tuple[_OpenVideo, ...]
    current: int | None
    parameters: CutParameters
    machine: Machine
    curation: CurationParameters
    place: Place


class Collector:
    """Makes sessions of a workbench; remembers the frame and the fingerprint of each video."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._frames: weakref.WeakKeyDictionary[Video, int] = weakref.WeakKeyDictionary()
        self._fingerprints: weakref.WeakKeyDictionary[Video, str] = weakref.WeakKeyDictionary()

    def note_frame(self) -> None:
        """Remember the frame that is looked at."""
        if self._bench.video is not None:
            self._frames[self._bench.video] = self._bench.frame

    def snapshot(self, place: Place) -> Snapshot:
        """Return what is open now; in the window's thread, takes no time."""
        bench = self._bench
        self.note_frame()
        found: list[_OpenVideo] = []
        for layer in ours(bench.viewer.layers):
            video = video_of(layer)
            # A copy that the user made of a layer is no other video.
            if video is None or any((item.video.path, item.video.name) == (video.path, video.name) for item in found):
                continue
            known = bench.desk.known(video)
            masks = known.saved_path if known is not None else None
            found.append(_OpenVideo(video, self._address(layer, video), masks, self._frames.get(video, 0)))
        current = next((place for place, item in enumerate(found) if item.video is bench.video), None)
        curation = curation_of(bench).parameters
        return Snapshot(tuple(found), current, bench.parameters, bench.machine, curation, place)

    def complete(self, snapshot: Snapshot) -> Session:
        """Return the session of a snapshot; takes a moment, on any thread."""
        videos = []
        for item in snapshot.videos:
            video = item.video
            record = VideoRecord(
                video.name, item.address, len(video), video.height, video.width, self._fingerprint(video)
            )
            masks = str(item.masks.absolute()) if item.masks is not None else None
            videos.append(SessionVideo(video=record, masks=masks, frame=item.frame))
        return Session(
            videos=tuple(videos),
            current=snapshot.current,
            parameters=snapshot.parameters,
            weights={name: str(Path(path).absolute()) for name, path in snapshot.machine.weights.items()},
            device=snapshot.machine.device,
            curation=snapshot.curation,
            page=snapshot.place.page,
            tab=snapshot.place.tab,
            export=snapshot.place.export or {},
        )

    def _address(self, layer: Layer, video: Video) -> str:
        if not self._bench.desk.is_copy(video):  # nobody has looked at it yet, and to look it up takes time
            return os.path.abspath(layer.metadata[KEY].get("address") or video.path)
        entry, sisters = self._bench.desk.origin(layer)
        return address_of(video, entry, len(sisters))

    def _fingerprint(self, video: Video) -> str:
        known = self._fingerprints.get(video)
        if known is None:
            try:
                known = video.fingerprint()
            except OSError:  # gone meanwhile: then any of this size and length may be it
                return ""
            self._fingerprints[video] = known
        return known
