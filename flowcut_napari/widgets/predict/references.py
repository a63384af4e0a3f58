"""What the predictions of the video that is looked at can be compared with: found where it is at hand, or chosen."""

from __future__ import annotations

import weakref
from pathlib import Path

from qtpy.QtCore import QObject, Signal

from flowcut_napari.core.clips import Curation
from flowcut_napari.core.reference_masks import ReferenceMasks, find_ground_truth, pseudo_reference, read_ground_truth
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.core.video import Video
from flowcut_napari.widgets.curate.desk import curation_of
from flowcut_napari.widgets.predict.errand import Errand
from flowcut_napari.widgets.workbench import Workbench


class References(QObject):
    """Pseudo-masks and ground truth of one video at a time; ground truth that was read is kept with its video.

    Signals
    -------
    changed
        Others are at hand, or why there are none.

    Attributes
    ----------
    pseudo, truth : ReferenceMasks or None
    problem : str
        Why something cannot be compared with; empty for nothing.
    """

    changed = Signal()

    def __init__(self, bench: Workbench, parent: QObject) -> None:
        super().__init__(parent)
        self._bench = bench
        self._curation = curation_of(bench)
        self.pseudo: ReferenceMasks | None = None
        self.truth: ReferenceMasks | None = None
        self.problem = ""
        self._truths: weakref.WeakKeyDictionary[Video, ReferenceMasks] = weakref.WeakKeyDictionary()
        # Where ground truth was looked for already.
        self._tried: weakref.WeakSet[Video] = weakref.WeakSet()
        self._pseudo_of: VideoMasks | None = None
        self._truth_errand = Errand(self)
        self._truth_errand.done.connect(self._on_truth)
        self._truth_errand.failed.connect(self._on_problem)
        self._pseudo_errand = Errand(self)
        self._pseudo_errand.done.connect(self._on_pseudo)
        self._pseudo_errand.failed.connect(self._on_problem)

    @property
    def is_reading(self) -> bool:
        """Whether ground truth is being read."""
        return self._truth_errand.is_going_on

    def follow(self) -> None:
        """Take up those of the video that is looked at now, as far as they were read before."""
        self._truth_errand.drop()
        self._pseudo_errand.drop()
        video = self._bench.video
        self.problem = ""
        self.pseudo = self._pseudo_of = None
        self.truth = self._truths.get(video) if video is not None else None

    def find(self) -> None:
        """Read what is at hand: masks that are open, annotations that lie where such videos have them."""
        video = self._bench.video
        if video is None:
            return
        # As they are now that somebody curates them; else as they were saved.
        review = self._curation.review
        curation: Curation | None = review.curation if review is not None else None
        masks = curation.masks if curation is not None else self._bench.results.saved
        if masks is not None and masks is not self._pseudo_of:
            self._pseudo_errand.start(lambda _: (pseudo_reference(masks, video, curation), masks, weakref.ref(video)))
        if self.truth is None and video not in self._tried and not self._truth_errand.is_going_on:
            self._tried.add(video)
            if (path := find_ground_truth(video)) is not None:
                self._read(path, video)

    def open_truth(self, path: Path) -> None:
        """Read ground truth of the video that is looked at from somewhere else."""
        video = self._bench.video
        if video is not None:
            self.problem = ""
            self._read(path, video)
            self.changed.emit()

    def shutdown(self) -> None:
        """Read no more. May be called again."""
        self._truth_errand.drop()
        self._pseudo_errand.drop()

    def _read(self, path: Path, video: Video) -> None:
        self._truth_errand.start(lambda is_wanted: (read_ground_truth(path, video, is_wanted), weakref.ref(video)))

    def _on_pseudo(self, found: tuple[ReferenceMasks, VideoMasks, weakref.ref[Video]]) -> None:
        reference, masks, video = found
        if video() is self._bench.video:
            self.pseudo, self._pseudo_of = reference, masks
            self.changed.emit()

    def _on_truth(self, found: tuple[ReferenceMasks, weakref.ref[Video]]) -> None:
        reference, video = found[0], found[1]()
        if video is not None:
            self._truths[video] = reference
            if video is self._bench.video:
                self.truth = reference
                self.changed.emit()

    def _on_problem(self, why: str) -> None:
        self.problem = why
        self.changed.emit()
