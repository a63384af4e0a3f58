"""The masks of the video that is looked at, as a person changes them: what is chosen, what is done, what is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from flowcut_napari.core import editing
from flowcut_napari.core.clips import Curation
from flowcut_napari.core.decisions import Key
from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.core.masks_file import SaveState
from flowcut_napari.core.parameters import CurationParameters
from flowcut_napari.core.review import Pair, Review
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.core.tracklets import Tracklet
from flowcut_napari.core.video import Video
from flowcut_napari.live.messages import MaskRefined
from flowcut_napari.viewer.match_layers import MatchLayers
from flowcut_napari.viewer.pair_view import PairView
from flowcut_napari.widgets.curate.brush import Brush
from flowcut_napari.widgets.curate.document import Document
from flowcut_napari.widgets.curate.refiner import Refiner
from flowcut_napari.widgets.curate.shelf import DocumentShelf
from flowcut_napari.widgets.curate.stage import Stage
from flowcut_napari.widgets.workbench import Workbench

NO_MASKS = "there are no masks to curate yet; run on all frames, or open a .masks.json"


def curation_of(bench: Workbench) -> CurationDesk:
    """Return the curation desk of a workbench, the same every time: it outlives panels."""
    found = bench.findChild(CurationDesk)
    return found if found is not None else CurationDesk(bench)


class CurationDesk(QObject):
    """Holds the document of each video and does all actions on that of the video that is looked at.

    Signals
    -------
    changed
        The masks or the decisions are others, or there are none.
    parameters_changed
        Gaps, threshold or method.
    selection_changed
        Other masks are chosen.
    pair_changed
        Another pair of frames is looked at.
    saved_changed
        Whether all is on disk.
    name_wanted
        Somebody wants to give the chosen object another number.
    """

    changed = Signal()
    parameters_changed = Signal()
    selection_changed = Signal()
    pair_changed = Signal()
    saved_changed = Signal()
    name_wanted = Signal()

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self._bench = bench
        self.parameters = CurationParameters()
        self.view = PairView(gap=self.parameters.gaps[0])
        self._stage = Stage(bench, self.view, self)
        self._brush = Brush(self)
        self._refiner = Refiner(self, bench.live)
        self.document: Document | None = None
        self.shelf = DocumentShelf(parent=self)
        self.shelf.opened.connect(self._on_opened)
        self.shelf.failed.connect(bench.remarked)
        self.shelf.rematched.connect(self._on_rematched)
        self.shelf.refused.connect(self._on_refused)
        self.shelf.state_changed.connect(self.saved_changed)
        # Place and gap of the pair that "next uncertain" came to last.
        self.walked: tuple[int, int] | None = None
        # Whether a verdict on a clip leads to the next undecided one.
        self.goes_on = False
        bench.video_changed.connect(self._on_video)
        bench.saved_changed.connect(self._on_saved)
        bench.frame_changed.connect(self._on_frame)
        bench.live.mask_refined.connect(self._on_refined)
        bench.closing.connect(self.shutdown)
        self._on_video()

    # The document.

    @property
    def masks(self) -> VideoMasks | None:
        """The masks as they are now, with all decisions."""
        return self.document.masks if self.document else None

    @property
    def path(self) -> Path | None:
        """Where they are saved."""
        return self.document.file.path if self.document else None

    @property
    def review(self) -> Review | None:
        """The pairs of the video."""
        return self.document.review if self.document else None

    @property
    def save_state(self) -> SaveState:
        """Whether all is on disk."""
        return self.document.file.state if self.document else SaveState("saved")

    def flush(self) -> bool:
        """Wait until all is on disk; return whether it is."""
        return self.document is None or self.document.file.wait(10)

    def documents(self) -> list[Document]:
        """Return the documents of all videos of this viewer."""
        return self.shelf.documents()

    def take_theirs(self) -> None:
        """Go on from what another program wrote into the file; what was done here is kept in the recovery folder."""
        if self._bench.video is not None:
            self.shelf.take_theirs(self._bench.video, self.parameters)

    def _on_video(self) -> None:
        self._stage.close()
        self.shelf.stop()  # what is being read is of another video
        video = self._bench.video
        known = self.shelf.of(video) if video is not None else None
        if known is None or video is None:
            self._put(None)
            self._open(self._bench.results.saved_path)
            return
        saved, path = self._bench.results.saved, self._bench.results.saved_path
        self._on_opened(video, known)
        if saved is not known.masks:  # a run, for instance, has made others meanwhile
            self._open(path)

    def _on_saved(self) -> None:
        self._open(self._bench.results.saved_path)

    def _open(self, path: Path | None) -> None:
        if path is not None and self._bench.video is not None:
            self.shelf.open(self._bench.video, path, self.parameters)

    def _on_opened(self, video: Video, document: Document) -> None:
        if video is not self._bench.video or self._bench.is_shut:
            return
        if document.parameters != self.parameters:
            try:
                document.set_parameters(self.parameters)
            except FlowCutError as error:
                # Its decisions were made with others, and with these they contradict each other.
                self._bench.remarked.emit(f"{error}; its own IoU, gaps and method are used again")
                self._take_parameters(document.parameters)
        self._put(document)

    def _put(self, document: Document | None) -> None:
        self.document = document
        if document is not None:
            # What other tabs and File > Save know of the masks are these from now on.
            self._bench.results.put_saved(document.masks, document.file.path)
        self.view.review = self.review
        self.view.selection, self.view.frame, self.view.followed = (), self.frame, None
        if self._stage.is_wanted:
            self.show()
        self.saved_changed.emit()
        self.changed.emit()
        self.pair_changed.emit()
        self.selection_changed.emit()

    # The match view.

    @property
    def layers(self) -> MatchLayers | None:
        """The layers of the match view, while it is shown."""
        return self._stage.layers

    def show(self) -> None:
        """Show frames side by side with what matches; again where layers were deleted."""
        self._stage.is_wanted = True
        if self.document is not None:
            self._stage.show(self._brush.take)

    def fit(self) -> None:
        """Bring both frames into sight, as large as the canvas allows."""
        self._stage.fit()

    def hide(self) -> None:
        """Take the match view away, and show again what it hid."""
        self._stage.is_wanted = False
        self._stage.close()

    # Where we are.

    @property
    def frame(self) -> int:
        """The frame that is looked at."""
        return self._bench.frame

    @property
    def pair(self) -> Pair | None:
        """The pair that is looked at."""
        return self.view.pair(self.frame)

    def set_parameters(self, parameters: CurationParameters) -> None:
        """Match with other parameters from now on."""
        if parameters == self.parameters:
            return
        document, video = self.document, self._bench.video
        if document is not None and video is not None and document.is_long:
            self._take_parameters(parameters)
            self.shelf.rematch(video, parameters)
            return
        try:
            if document is not None:
                document.set_parameters(parameters)
        except FlowCutError as error:
            self._bench.remarked.emit(str(error))
            self.parameters_changed.emit()  # controls go back
            return
        self._take_parameters(parameters)
        self._show_document()
        if document is None:
            self._open(self._bench.results.saved_path)  # its decisions may contradict each other no more

    def _on_rematched(self, video: Video, document: Document) -> None:
        if document is self.document:
            self._show_document()

    def _on_refused(self, text: str) -> None:
        self._bench.remarked.emit(text)
        if self.document is not None:
            self._take_parameters(self.document.parameters)

    def _take_parameters(self, parameters: CurationParameters) -> None:
        self.parameters = parameters
        if self.view.gap not in parameters.gaps:
            self.view.gap = parameters.gaps[0]
        # The timeline and the table have a row for each gap.
        self.view.review = self.review
        self.parameters_changed.emit()

    def set_gap(self, gap: int) -> None:
        """Look at pairs of this gap."""
        if gap != self.view.gap and gap in self.parameters.gaps:
            self.view.gap = gap
            self._let_go()
            self._refresh()
            self.pair_changed.emit()
            self.selection_changed.emit()

    def go(self, frame: int, gap: int | None = None) -> None:
        """Look at the pair that begins with a frame."""
        if gap is not None and gap in self.parameters.gaps:
            self.view.gap = gap
        if frame == self.frame:
            self._let_go()
            self._refresh()
            self.pair_changed.emit()
            self.selection_changed.emit()
            return
        viewer, layers = self._bench.viewer, self._bench.layers
        layer = layers["frames"] if layers is not None else None
        # The user may have given the axis another scale, such as seconds.
        place = layer.data_to_world((frame, 0, 0))[0] if layer is not None else frame
        viewer.dims.set_point(viewer.dims.ndim - 3, place)

    def _on_frame(self) -> None:
        self._follow()
        self.pair_changed.emit()
        self.selection_changed.emit()

    # What is chosen.

    @property
    def selection(self) -> tuple[Key, ...]:
        """The chosen masks, (frame, id): one, or two in the order in which they were chosen."""
        return self.view.selection

    @property
    def chosen(self) -> Key | None:
        """The chosen mask; of two the first."""
        return self.view.selection[0] if self.view.selection else None

    def select(self, key: Key | None, add: bool = False) -> None:
        """Choose a mask; with `add` beside the one that is chosen. None chooses nothing."""
        if key is None:
            chosen: tuple[Key, ...] = ()
        elif add and self.chosen is not None and key != self.chosen:
            chosen = (self.chosen, key)
        else:
            chosen = (key,)
        self._set_selection(chosen)
        self.view.followed = self.identity(self.chosen)

    def select_next(self, back: bool = False, add: bool = False) -> None:
        """Choose the next object of the pair, in the order of identities, on the left and then on the right.

        With `add`, it is the second one that is chosen.
        """
        keys = self.keys_in_sight()
        at = self.selection[1] if add and len(self.selection) > 1 else self.chosen
        if add:
            keys = [key for key in keys if key != self.chosen]
        if not keys:
            return
        place = keys.index(at) + (-1 if back else 1) if at in keys else (-1 if back else 0)
        self.select(keys[place % len(keys)], add)

    def keys_in_sight(self) -> list[Key]:
        """Return the masks of both frames, those of the frame that is looked at first, by identity."""
        frames = [self.frame] + ([partner] if (partner := self.view.partner(self.frame)) is not None else [])
        shown = [self.view.instances(frame) for frame in frames]
        return [key for side in shown for key in sorted(side, key=lambda key: self.identity(key) or 0)]

    def key_at(self, y: float, x: float) -> Key | None:
        """Return the mask at a point of the match view, in pixels of the video from the left frame's corner."""
        video = self._bench.video
        if self.layers is None or video is None:
            return None
        side, y, x = self.layers.arrangement.side_of(y, x)
        frame = self.view.partner(self.frame) if side else self.frame
        row, column = round(y), round(x)
        if frame is None or not (0 <= row < video.height and 0 <= column < video.width):
            return None
        masks = (*self.view.objects(frame), *self.view.rejected(frame))
        return next((key for key, _, mask in masks if mask[row, column]), None)

    def identity(self, key: Key | None) -> int | None:
        """Return the identity of a mask."""
        return self.review.curation.identity.get(key) if self.review is not None and key is not None else None

    def is_rejected(self, key: Key) -> bool:
        """Whether a mask was rejected by itself."""
        return self.masks is not None and self.masks.decisions.instances().get(key) == "reject"

    def tracklet(self, key: Key | None) -> Tracklet | None:
        """Return the tracklet that a mask is part of, rejected members included."""
        if self.review is None or key is None or key not in self.review.curation.identity:
            return None
        return editing.chain_of(self.review.curation, key)

    def _set_selection(self, chosen: tuple[Key, ...]) -> None:
        if chosen != self.view.selection:
            self.view.selection = chosen
            if self.layers is not None:
                self.layers.refresh_drawing()
            self._hold_brush()
            self.selection_changed.emit()

    def _let_go(self) -> None:
        """Choose no longer what is not in sight any more."""
        seen = set(self.keys_in_sight())
        self.view.selection = tuple(key for key in self.view.selection if key in seen)

    def _hold_brush(self) -> None:
        """Let the brush paint what is chosen, whatever number that has now."""
        identity = self.identity(self.chosen)
        if self.layers is not None and identity is not None:
            self.layers.paint_with(identity)

    def _follow(self) -> None:
        """Choose the mask of the same object in another frame; nothing where it has none."""
        self.view.selection, self.view.frame = self.view.selection_in(self.frame), self.frame
        self._hold_brush()

    # What is done.

    def act(self, label: str, change: Callable[[VideoMasks, Curation], VideoMasks]) -> bool:
        """Do one action; return whether it changed anything. What cannot be done is said, and changes nothing."""
        document = self.document
        if document is None:
            self._bench.remarked.emit(NO_MASKS)
            return False
        try:
            done = document.do(label, change(document.masks, document.review.curation))
        except FlowCutError as error:
            self._bench.remarked.emit(str(error))
            self._refresh(painted=True)  # what was painted is taken away
            return False
        if done:
            self._show_document()
        else:
            self._refresh(painted=True)
        return done

    def undo(self) -> None:
        """Take the last action back, and look at where it was done."""
        if self.document is not None and self.document.history.next_undo is not None:
            frames = self.document.history.frames_of_last()
            self._say_step("undone", self.document.undo, frames)

    def redo(self) -> None:
        """Do what was undone last again, and look at where that is."""
        if self.document is not None and self.document.history.next_redo is not None:
            frames = self.document.history.frames_of_next()
            self._say_step("done again", self.document.redo, frames)

    def _say_step(self, what: str, step: Callable[[], str | None], frames: tuple[int, ...]) -> None:
        try:
            label = step()
        except FlowCutError as error:
            self._bench.remarked.emit(f"with these gaps, IoU and method this cannot be {what}: {error}")
            return
        self._show_document()
        if frames and self.frame not in frames and self.view.partner(self.frame) not in frames:
            self.go(frames[0])
        self._bench.remarked.emit(f"{what}: {label}")

    def _show_document(self) -> None:
        document = self.document
        if document is not None:
            self._bench.results.put_saved(document.masks, document.file.path)
        self.view.review = self.review
        self._let_go()
        if self.chosen is not None:
            self.view.followed = self.identity(self.chosen)
        self._hold_brush()
        self._refresh()
        self.changed.emit()
        self.pair_changed.emit()
        self.selection_changed.emit()

    def _refresh(self, *, painted: bool = False) -> None:
        self._stage.refresh(self.frame, painted=painted)

    def draw_again(self) -> None:
        """Draw everything of this frame anew, whatever was painted on it."""
        self._refresh(painted=True)

    def hold(self, layer: Any) -> None:
        """Make a layer the one that the mouse works on."""
        self._bench.viewer.layers.selection = {layer}

    def draw_new(self) -> None:
        """Let the brush paint an object that is nowhere yet."""
        self._brush.begin_new()

    def _on_refined(self, answer: MaskRefined) -> None:
        self._refiner.take(answer)

    def refine(self) -> None:
        """Refine the chosen mask by the CRF, in the computing process."""
        self._refiner.refine()

    def say(self, text: str) -> None:
        """Say something once."""
        self._bench.remarked.emit(text)

    @property
    def wanted_identity(self) -> int | None:
        """The object that was chosen last, whether or not this frame has it."""
        return self.view.followed

    def shutdown(self) -> None:
        """Wait until all is on disk, and let go of the files. May be called again."""
        self._stage.let_go()
        self.shelf.shutdown()
