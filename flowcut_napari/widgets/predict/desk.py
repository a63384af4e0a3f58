"""What is looked at in the Predict tab: predictions of each video, what they are compared with, and their layers."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from flowcut_napari.core.predictions import Prediction
from flowcut_napari.core.reference_masks import Kind, ReferenceMasks, overlaps
from flowcut_napari.core.video import Video
from flowcut_napari.viewer.prediction_arrays import Mode, PredictionView
from flowcut_napari.viewer.prediction_layers import PredictionLayers
from flowcut_napari.widgets.endings import quietly
from flowcut_napari.widgets.predict.errand import Errand
from flowcut_napari.widgets.predict.references import References
from flowcut_napari.widgets.workbench import Workbench


def looking_of(bench: Workbench) -> PredictionDesk:
    """Return the desk of a workbench, the same every time: it outlives panels."""
    found = bench.findChild(PredictionDesk)
    return found if found is not None else PredictionDesk(bench)


def next_worst(ious: dict[int, float], frame: int) -> int | None:
    """Return the frame with the next higher IoU after this one; the worst of all after the best, None if there is none.

    Examples
    --------
    >>> ious = {0: 0.9, 4: 0.2, 8: 0.5}
    >>> next_worst(ious, 4), next_worst(ious, 0), next_worst(ious, 7)
    (8, 4, 4)
    """
    order = sorted(ious, key=lambda index: (ious[index], index))
    if not order:
        return None
    return order[(order.index(frame) + 1) % len(order)] if frame in ious else order[0]


class PredictionDesk(QObject):
    """Shows the predictions of the video that is looked at, as long as the tab is.

    Signals
    -------
    changed
        Another prediction, other references, another IoU, or how it is shown.

    Attributes
    ----------
    view : PredictionView
        What the layers show.
    references : References
        What they can be compared with.
    highlighted : int
        The track that is seen alone; 0 for all.
    """

    changed = Signal()

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self._bench = bench
        self.view = PredictionView()
        self.references = References(bench, self)
        self.references.changed.connect(self._on_references)
        self.highlighted = 0
        self._is_seen = False
        self._layers: PredictionLayers | None = None
        self._predictions: weakref.WeakKeyDictionary[Video, Prediction] = weakref.WeakKeyDictionary()
        self._table: np.ndarray | None = None
        self._table_of: tuple[Prediction, ReferenceMasks] | None = None
        self._has_chosen = False
        self._overlapping = Errand(self)
        self._overlapping.done.connect(self._on_overlaps)
        # One layer in each turn of the event loop: each takes napari a moment.
        self._maker = QTimer(self)
        self._maker.setInterval(0)
        self._maker.timeout.connect(self._make_next)
        self._leaving = QTimer(self)
        self._leaving.setSingleShot(True)
        self._leaving.setInterval(0)
        self._leaving.timeout.connect(self._leave)
        bench.video_changed.connect(self._on_video)
        bench.saved_changed.connect(self._on_saved)
        bench.frame_changed.connect(self.changed)
        bench.closing.connect(self.shutdown)
        self._on_video()

    # What is looked at.

    @property
    def prediction(self) -> Prediction | None:
        """The predictions of the video that is looked at."""
        return self.view.prediction

    @property
    def layers(self) -> PredictionLayers | None:
        """Their layers, while the tab is looked at."""
        return self._layers

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What there is to compare with."""
        found: dict[Kind, ReferenceMasks | None] = {"ground truth": self.view.truth, "pseudo-masks": self.view.pseudo}
        return tuple(kind for kind, masks in found.items() if masks is not None)

    def put(self, video: Video, prediction: Prediction) -> None:
        """Take up predictions of a video, whichever is looked at."""
        self._predictions[video] = prediction
        if video is self._bench.video:
            self._take(prediction)

    def set_threshold(self, threshold: float) -> None:
        """See tracks of at least this score."""
        if threshold == self.view.threshold:
            return
        self.view.threshold = threshold
        if self.highlighted > self.view.count:
            self.highlight(0)
        self._show()

    def set_mode(self, mode: Mode) -> None:
        """Look at predictions in another way; layers that were deleted come back."""
        self.view.mode = mode
        if self._layers is not None:
            self._layers.restore()
        self._show()

    def compare_with(self, kind: Kind) -> None:
        """Compare with other masks."""
        self._has_chosen = True
        if kind != self.view.compared:
            self.view.compared = kind
            self._ask_overlaps()
            self._show()

    def highlight(self, label: int) -> None:
        """See one track alone; 0 for all."""
        self.highlighted = label
        if self._layers is not None:
            self._layers.highlight(label)

    def open_truth(self, path: Path) -> None:
        """Read ground truth of the video that is looked at from somewhere else."""
        self._has_chosen = True
        self.view.compared = "ground truth"
        self.references.open_truth(path)

    # How they agree.

    @property
    def ious(self) -> dict[int, float]:
        """The IoU of the foreground with what it is compared with, frame by frame, where there is one."""
        prediction, reference = self.view.prediction, self.view.reference
        if prediction is None or self._table is None or self._table_of != (prediction, reference):
            return {}
        column = self._table[:, self.view.count]
        return {frame: float(iou) for frame, iou in zip(prediction.frames, column, strict=True) if iou == iou}

    def go_to_worst(self) -> None:
        """Look at the frame that agrees least, from there on at the next one."""
        frame = next_worst(self.ious, self._bench.frame)
        if frame is not None:
            self.go(frame)

    def go(self, frame: int) -> None:
        """Look at a frame."""
        viewer, layers = self._bench.viewer, self._bench.layers
        layer = layers["frames"] if layers is not None else None
        # The user may have given the axis another scale, such as seconds.
        place = layer.data_to_world((frame, 0, 0))[0] if layer is not None else frame
        viewer.dims.set_point(viewer.dims.ndim - 3, place)

    def _ask_overlaps(self) -> None:
        prediction, reference = self.view.prediction, self.view.reference
        if prediction is None or reference is None or self._table_of == (prediction, reference):
            return
        self._overlapping.start(lambda _: (overlaps(prediction, reference), (prediction, reference)))

    def _on_overlaps(self, found: tuple[np.ndarray, tuple[Prediction, ReferenceMasks]]) -> None:
        self._table, self._table_of = found
        self.changed.emit()

    # The page.

    def enter(self) -> None:
        """Say that the tab is looked at: the predictions come into the canvas."""
        self._leaving.stop()
        self._is_seen = True
        self.references.find()
        if self._layers is not None:
            self._layers.restore()
        self._show()

    def leave(self, *, at_once: bool = False) -> None:
        """Say that the tab is left: what was seen before is seen again, in a moment or `at_once`.

        While Qt takes a dock apart a canvas must not be drawn, which taking layers away does; the next page, on the
        other hand, is to find things as they were.
        """
        self._is_seen = False
        if at_once:
            self._leave()
        else:
            self._leaving.start()

    def _leave(self) -> None:
        if not self._bench.is_shut:
            # The window may be on its way out.
            quietly(self._close)

    def shutdown(self) -> None:
        """End all that goes on. May be called again."""
        self._maker.stop()
        self._leaving.stop()
        self.references.shutdown()
        self._overlapping.drop()
        # A window that is being torn down takes its layers along.
        self._layers = None

    # The video.

    def _on_video(self) -> None:
        self._close(has_moved_on=True)
        self.references.follow()
        self._take_references()
        video = self._bench.video
        self._take(self._predictions.get(video) if video is not None else None)
        if self._is_seen:
            self.references.find()

    def _on_saved(self) -> None:
        if self._is_seen:
            self.references.find()

    def _take(self, prediction: Prediction | None) -> None:
        self.view.prediction = prediction
        self.highlighted = 0
        if self._layers is not None:
            self._layers.restore()
            self._layers.highlight(0)
        self._choose()
        self._ask_overlaps()
        self._show()

    def _on_references(self) -> None:
        self._take_references()
        self._choose()
        self._ask_overlaps()
        self._show()

    def _take_references(self) -> None:
        self.view.pseudo, self.view.truth = self.references.pseudo, self.references.truth

    def _choose(self) -> None:
        """Compare with what there is, if nobody has chosen: ground truth, else pseudo-masks."""
        kinds = self.kinds
        if kinds and (not self._has_chosen or self.view.compared not in kinds):
            self.view.compared = kinds[0]

    # The layers.

    def _show(self) -> None:
        bench = self._bench
        if bench.is_shut or not bench.desk.has_viewer:
            return
        if not self._is_seen or self.view.prediction is None or bench.video is None:
            self._close()
        else:
            if self._layers is None:
                self._layers = PredictionLayers(bench.viewer, bench.video, self.view)
                self._layers.arrange()
                if len(self._layers.panels) > 1:
                    self._layers.fit()
            elif self._layers.arrange():
                self._layers.fit()
            self._layers.refresh()
            if self._layers.missing():
                self._maker.start()
        self.changed.emit()

    def _make_next(self) -> None:
        layers = self._layers
        missing = layers.missing() if layers is not None else []
        if layers is None or not missing or self._bench.is_shut:
            self._maker.stop()
            return
        layers.make(missing[0])
        if layers[missing[0]] is None:  # the frames are gone
            self._maker.stop()
        elif len(missing) == 1:
            layers.highlight(self.highlighted)

    def _close(self, *, has_moved_on: bool = False) -> None:
        self._maker.stop()
        layers, self._layers = self._layers, None
        if layers is None or not self._bench.desk.has_viewer:
            return
        layers.close(has_moved_on=has_moved_on)
        if len(layers.panels) > 1:
            self._bench.viewer.reset_view()
