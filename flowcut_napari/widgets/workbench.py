"""What all tabs of one viewer share: the video, the parameters, what is known of the frames, and the layers."""

from __future__ import annotations

import atexit
import contextlib
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QCoreApplication, QObject, QTimer, Signal

from flowcut_napari.core.description import description_key
from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.core.flow import partner_frame
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.core.video import Video, VideoEntry, find_videos
from flowcut_napari.live.messages import CutsMade, Described, Machine, Probed, Refined
from flowcut_napari.viewer.frame_results import FrameAnswer, FrameResults
from flowcut_napari.viewer.layer_set import LayerSet
from flowcut_napari.viewer.lazy_arrays import LazyFrames
from flowcut_napari.viewer.preferences import Preferences
from flowcut_napari.viewer.video_layers import frames_layer, layer_of, ours, take_file_masks, video_of
from flowcut_napari.widgets.endings import Quietly, leave
from flowcut_napari.widgets.layer_maker import LayerMaker
from flowcut_napari.widgets.live import LiveLink, Trouble
from flowcut_napari.widgets.settings_keeper import SettingsKeeper
from flowcut_napari.widgets.video_desk import VideoDesk

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

_of_viewer: weakref.WeakKeyDictionary[ViewerModel, Workbench] = weakref.WeakKeyDictionary()


def workbench_of(viewer: ViewerModel) -> Workbench:
    """Return the workbench of a viewer, the same every time; a proxy of napari's counts as its viewer."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    bench = _of_viewer.get(viewer)
    if bench is None or bench.is_shut:
        bench = _of_viewer[viewer] = Workbench(viewer)
    return bench


class Workbench(QObject):
    """The state of one viewer. It lives as long as the viewer; panels come and go.

    Signals
    -------
    video_changed
        Another video is looked at, or none.
    parameters_changed
        Whoever changed them.
    frame_changed
        Another frame is looked at.
    answered (str)
        Something new is known of the frame that is looked at: ``flow``, ``cuts``, ``masks`` or ``probe``.
    work_changed (str)
        What the computing process does now; empty for nothing.
    trouble_changed
        `trouble` is another, or gone.
    remarked (str)
        Something to be said once.
    saved_changed
        The masks of the whole video are others, those of a run for instance.
    layers_changed
        Layers came, went, or were deleted by the user.
    closing
        The viewer goes; all that runs has to end.
    """

    video_changed = Signal()
    parameters_changed = Signal()
    frame_changed = Signal()
    answered = Signal(str)
    work_changed = Signal(str)
    trouble_changed = Signal()
    remarked = Signal(str)
    saved_changed = Signal()
    layers_changed = Signal()
    closing = Signal()

    def __init__(self, viewer: ViewerModel, preferences: Preferences | None = None) -> None:
        super().__init__()
        self._are_given = preferences is not None
        if preferences is None:
            from flowcut_napari.viewer.preferences import read_preferences

            preferences = read_preferences()
        self.desk = VideoDesk(viewer)
        self.preferences = preferences
        self.keeper = SettingsKeeper(preferences, self)
        self.parameters, self.machine = self.keeper.begin_with()
        self.results = FrameResults(self.parameters)
        self.layers: LayerSet | None = None
        self.video: Video | None = None
        self.entry: VideoEntry | None = None
        self.sisters: list[VideoEntry] = []
        self.frame = 0
        self.trouble: Trouble | None = None
        self.probed: Probed | None = None
        self.milliseconds: dict[str, float] = {}
        self.is_live = True
        self.is_curating = False
        self.is_shut = False
        self._described: Described | None = None
        self._panels = 0
        self._window: QObject | None = None
        self.live = LiveLink(preferences.environment(), self)
        self.live.answered.connect(self._on_answer)
        self.live.troubled.connect(self._set_trouble)
        self.live.remarked.connect(self.remarked)
        self.live.work_changed.connect(self.work_changed)
        self._maker = LayerMaker(self)
        # A method, not a lambda: that would keep this alive for ever, and the viewer with it.
        self._maker.made.connect(self._on_layer_made)
        self._maker.finished.connect(self.layers_changed)
        viewer.dims.events.current_step.connect(self._on_step)
        viewer.dims.events.ndisplay.connect(self._on_ndisplay)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.shutdown)
        atexit.register(Quietly(self.shutdown))

    @property
    def viewer(self) -> ViewerModel:
        """The viewer.

        Raises
        ------
        ReferenceError
            If it is gone.
        """
        return self.desk.viewer

    def preferences_now(self) -> Preferences:
        """Return the preferences as they are now, for processes that start now; the user may have changed them."""
        if not self._are_given:
            from flowcut_napari.viewer.preferences import read_preferences

            self.preferences = read_preferences()
        return self.preferences

    # The video.

    def open(self, address: str) -> None:
        """Open the video, or the first of the videos, at an address, and look at it.

        Raises
        ------
        FlowCutError
            If there is none, or it cannot be opened.
        """
        entries = find_videos(address)
        self.take(entries[0], entries[0].open(), entries)

    def take(self, entry: VideoEntry, video: Video, sisters: Sequence[VideoEntry] = ()) -> None:
        """Look at a video that was opened; `sisters` are those found at the same address."""
        known = layer_of(self.viewer, video)
        if known is not None:  # it is open already, and looked at again
            self.desk.show_only(known)
            self._adopt(known, entry, sisters)
            return
        self.desk.show_only(None)
        with self.viewer.layers.events.inserted.blocker(self._on_inserted):
            layer = frames_layer(self.viewer, video)
        self._go_to_start()
        self._adopt(layer, entry, sisters)
        for text in video.notices:
            self.remarked.emit(text)

    def look_for_video(self) -> None:
        """Look at the video of the topmost layer of ours, if none is looked at yet."""
        if self.video is None and (found := ours(self.viewer.layers)):
            self._adopt_layer(found[-1])

    def switch(self, video: Video) -> None:
        """Look at another video that has a layer here."""
        if (layer := layer_of(self.viewer, video)) is not None:
            self.desk.show_only(layer)
            self._adopt_layer(layer)

    def _go_to_start(self) -> None:
        # napari shows the middle of what it opens; a video begins at its beginning.
        dims = self.viewer.dims
        with dims.events.current_step.blocker(self._on_step):  # not a step through the video that was there before
            dims.set_current_step(dims.ndim - 3, 0)

    def _adopt_layer(self, layer: Layer) -> None:
        self._adopt(layer, *self.desk.origin(layer))

    def _adopt(self, layer: Layer, entry: VideoEntry | None, sisters: Sequence[VideoEntry]) -> None:
        video = video_of(layer)
        assert video is not None  # only layers of frames come here
        saved = take_file_masks(self.viewer, video)
        if self.layers is not None:
            self._close_layers()
        layer.visible = True
        layer.data.on_damage = self._on_damage
        self.video, self.entry, self.sisters = video, entry, list(sisters)
        self.desk.put(video, entry, sisters)
        self.results = self.desk.results(video, self.parameters)
        self.results.use_weights(self.machine.weights)
        self.results.device = self.machine.device
        self.layers = LayerSet(self.viewer, layer, video, self.results)
        if saved is not None:
            self.results.put_saved(*saved)
            self._set_parameters(saved[0].parameters)
        self.probed, self._described = None, None
        self.frame = self._current_frame()
        self.results.frame = self.frame
        self._set_trouble(None)
        self.live.open(video, self.machine)
        # Panels that came since have changed the size of the canvas.
        QTimer.singleShot(0, self._fit_view)
        self.video_changed.emit()
        self.look()

    def _fit_view(self) -> None:
        if not self.is_shut and self.desk.has_viewer:
            self.viewer.reset_view()

    def _close_layers(self) -> None:
        self._maker.stop()
        if self.layers is not None:
            self.layers.close()
            self.layers = None

    # What is asked.

    def set_parameters(self, parameters: CutParameters) -> None:
        """Ask with other parameters from now on."""
        if parameters != self.parameters:
            self._set_parameters(parameters)
            self._set_trouble(None)
            self.look()

    def _set_parameters(self, parameters: CutParameters) -> None:
        self.parameters = self.results.parameters = parameters
        self.keeper.take(parameters, self.machine)
        self.parameters_changed.emit()

    def set_machine(self, machine: Machine) -> None:
        """Compute elsewhere, or with other weights, from now on."""
        if machine == self.machine:
            return
        self.machine = machine
        self.results.use_weights(machine.weights)
        self.results.device = machine.device
        self.keeper.take(self.parameters, machine)
        self._set_trouble(None)
        if self.video is not None:
            self.live.open(self.video, machine)
            self.look()

    def give_weights(self, name: str, path: Path) -> None:
        """Use a weights file for a model."""
        self.set_machine(replace(self.machine, weights={**self.machine.weights, name: path}))

    def set_live(self, is_live: bool) -> None:
        """Whether frames are computed as they are looked at."""
        self.is_live = is_live
        if is_live:
            self.look()
        else:
            self.live.stop()

    def set_curating(self, on: bool) -> None:
        """Whether masks are looked at that were saved, for which nothing is to be computed."""
        if on != self.is_curating:
            self.is_curating = on
            if not on:
                self.look()

    def look(self) -> None:
        """Ask for all about the frame that is looked at, and the frames around it."""
        if self.video is None or not self.is_live or self.is_shut or not self._panels or self.is_curating:
            return
        frame, parameters = self.frame, self.parameters
        has_flow = not parameters.uses_flow or self.results.flow_picture(frame) is not None
        is_known = self.results.is_complete(frame) and has_flow
        if is_known:
            # No answer will come that takes away what was said of another frame.
            self._set_trouble(None)
        self.live.look(frame, parameters, is_known=is_known, has_flow=has_flow)

    @property
    def work(self) -> str:
        """What the computing process does now; empty for nothing."""
        return self.live.work

    def probe(self, patch: tuple[int, int]) -> None:
        """Ask for the affinity of a patch of this frame."""
        self.live.probe(self.frame, patch, self.parameters)

    def retry(self) -> None:
        """Ask again after something went wrong, in a new process."""
        self.live.restart()
        if self.trouble is not None:
            self.trouble = replace(self.trouble, is_dead=False)
        self._set_trouble(None)
        if self.video is not None:
            self.live.open(self.video, self.machine)
        self.look()

    # What is answered.

    @property
    def answer(self) -> FrameAnswer | None:
        """What is known of the cuts of the frame that is looked at."""
        return self.results.answer(self.frame)

    def frame_pixels(self) -> np.ndarray | None:
        """Return the frame that is looked at, (H, W, 3) uint8: from its layer, which has just decoded it."""
        frames = self.layers["frames"] if self.layers is not None else None
        if frames is not None and isinstance(frames.data, LazyFrames):
            return frames.data.frame(self.frame)
        if self.video is None:
            return None
        with contextlib.suppress(FlowCutError):  # what is wrong with it is said by others
            return self.video[self.frame]
        return None

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the patches, once a frame was described."""
        return self._described.grid if self._described else None

    @property
    def partner(self) -> int | None:
        """The frame that the flow of the frame that is looked at leads to."""
        if self.video is None or not self.parameters.uses_flow:
            return None
        return partner_frame(self.frame, self.parameters.gap, len(self.video))

    def _on_answer(self, answer: Any) -> None:
        if self.layers is None:
            return
        is_here, is_current = answer.frame == self.frame, answer.parameters == self.parameters
        if isinstance(answer, Described):
            if description_key(answer.parameters) != description_key(self.parameters):
                return
            if answer.flow_picture is not None:
                self.results.put_flow(answer.frame, answer.parameters, answer.flow_picture)
            if is_here:
                self._described = answer
                self._want_layers(answer)
                if answer.flow_picture is not None:
                    self.layers.refresh(lambda role: role == "flow")
                    self.answered.emit("flow")
        elif not is_current and not (is_here and self.results.holds):
            return  # it was asked with a slider elsewhere; of this frame it is a step on the way that the slider goes
        elif isinstance(answer, CutsMade):
            self.results.put_cuts(answer.frame, answer.parameters, answer.result)
            self.milliseconds["cuts"] = answer.milliseconds
            if is_here:
                if is_current:
                    self._set_trouble(None)
                self.layers.refresh(lambda role: role.partition(" ")[0] in ("eigenvector", "cut", "masks", "seeds"))
                self.layers.show_frame(self.frame)
                self.answered.emit("cuts")
        elif isinstance(answer, Refined):
            self.results.put_masks(answer.frame, answer.parameters, answer.masks)
            self.milliseconds["refined"] = answer.milliseconds
            if is_here:
                self.layers.refresh(lambda role: role == "masks")
                self.layers.show_frame(self.frame)
                self.answered.emit("masks")
        elif isinstance(answer, Probed) and is_here:
            self.probed = answer
            self.answered.emit("probe")

    def take_saved(self, masks: VideoMasks | None, path: Path | None = None) -> None:
        """Take up masks of the whole video that were saved, and show them where nothing fresher is known."""
        self.results.put_saved(masks, path)
        self.show_again()
        self.saved_changed.emit()

    def show_again(self) -> None:
        """Draw the masks of this frame anew."""
        if self.layers is not None:
            self.layers.refresh(lambda role: role == "masks")
            self.layers.show_frame(self.frame)
        self.answered.emit("masks")

    def _set_trouble(self, trouble: Trouble | None) -> None:
        # A process that died too often is asked nothing until somebody says so: the button must stay.
        if trouble == self.trouble or (trouble is None and self.trouble is not None and self.trouble.is_dead):
            return
        self.trouble = trouble
        self.results.holds = trouble is None
        if trouble is not None and self.layers is not None:
            # What is shown was made in another way, and nothing will take its place.
            self.layers.refresh(lambda role: role != "flow")
            self.layers.show_frame(self.frame)
        self.trouble_changed.emit()

    # The layers and the time axis.

    def restore_layers(self) -> set[str]:
        """Bring back the layers that the user deleted; return their roles."""
        if self.layers is None or self.video is None:
            return set()
        deleted = self.layers.restore()
        if "frames" in deleted:
            with self.viewer.layers.events.inserted.blocker(self._on_inserted):
                layer = frames_layer(self.viewer, self.video)
            self.viewer.layers.move(self.viewer.layers.index(layer), 0)
            layer.data.on_damage = self._on_damage
            self.layers.put_frames(layer)
        if self._described is not None:
            self._want_layers(self._described)
        self.layers_changed.emit()
        return deleted

    def _on_damage(self, text: str) -> None:
        # Where frames are cut as they are looked at, the answer says it.
        if not self.is_live or not self._panels:
            self.remarked.emit(text)

    def _want_layers(self, described: Described) -> None:
        assert self.layers is not None and self.video is not None  # it is about their video
        self._maker.want(self.layers, self.video, self.parameters, described)

    def _on_layer_made(self, role: str) -> None:
        if self.layers is not None:
            self.layers.show_frame(self.frame)

    def _current_frame(self) -> int:
        assert self.video is not None
        return self.desk.frame_of(self.video, self.layers["frames"] if self.layers is not None else None)

    def _on_step(self) -> None:
        if self.video is None or self.is_shut:
            return
        frame = self._current_frame()
        if frame == self.frame:
            return
        self.frame = self.results.frame = frame
        self.probed = None
        if self.layers is not None:
            self.layers.show_frame(frame)
        self.frame_changed.emit()
        self.look()

    def _on_ndisplay(self) -> None:
        if self.video is not None and not self.is_shut and self.viewer.dims.ndisplay != 2:
            self.viewer.dims.ndisplay = 2
            self.remarked.emit("a video is looked at frame by frame; in 3D all of it would have to be read")

    def _on_inserted(self, event: Any) -> None:
        layer = event.value
        video = video_of(layer)
        if video is None or not self._panels or self.is_shut:
            return
        # A copy that the user makes of a layer is the user's own.
        if video is not self.video and not self.desk.is_copy(video):
            # After the reader has added all its layers.
            QTimer.singleShot(0, lambda: self._adopt_inserted(layer))

    def _adopt_inserted(self, layer: Layer) -> None:
        if self.is_shut or layer not in self.viewer.layers:
            return
        self.desk.show_only(layer)
        self._go_to_start()
        self._adopt_layer(layer)

    def _on_removed(self, event: Any) -> None:
        self.layers_changed.emit()

    # Panels, and the end.

    def end_with(self, window: QObject) -> None:
        """End all when this main window is gone; it may be named again."""
        if window is not self._window:
            self._window = window
            window.destroyed.connect(Quietly(self.shutdown))

    def attach_panel(self) -> None:
        """Count a panel that is open; the first one begins to look."""
        self._panels += 1
        self.look_for_video()
        self.look()

    def detach_panel(self) -> None:
        """Count a panel that was closed; without any, nothing is computed."""
        self._panels = max(0, self._panels - 1)
        if self.layers is not None and not self.is_shut and self.layers["affinity"] is not None:
            # Nobody is left to take the probe away.
            self.layers.remove("affinity")
            if (masks := self.layers["masks"]) is not None:
                masks.visible = True
        if not self._panels and not self.is_shut:
            self.live.stop()

    def shutdown(self) -> None:
        """End all processes. May be called again."""
        if self.is_shut:
            return
        self.is_shut = True
        self._maker.stop()
        # Processes first: whatever comes after may fail where a program is being torn down.
        self.live.shutdown()
        self.closing.emit()
        self.keeper.flush(wait=True)
        if self.desk.has_viewer:
            _of_viewer.pop(self.viewer, None)
        self.layers = None
        self.desk.clear()
        leave(self)
