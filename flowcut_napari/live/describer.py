"""The process that holds the models: it describes the frame that is looked at first, then those around it."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
from collections.abc import Hashable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from flowcut_napari.core.cache import ArrayCache
from flowcut_napari.core.description import FrameDescriber, FrameDescription, description_key
from flowcut_napari.core.errors import FlowCutError, MissingWeightsError
from flowcut_napari.core.flow import flow_picture, partner_frame
from flowcut_napari.core.models import ModelPlan
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.video import Video
from flowcut_napari.core.workers import end_with_parent, one_thread
from flowcut_napari.live.messages import Devices, Machine

# Below the process that answers to a moved slider, which is waited for.
_NICENESS = 5


@dataclass(frozen=True)
class Wishes:
    """The frames that are wanted, the most wanted first; they take the place of earlier ones."""

    parameters: CutParameters
    frames: tuple[int, ...]


@dataclass(frozen=True)
class Description:
    """A frame that was described, and where it was asked for with what."""

    parameters: CutParameters
    frame: FrameDescription


@dataclass(frozen=True)
class FlowDrawn:
    """The flow picture of a frame, (h, w, 3) uint8; None if it cannot be drawn."""

    parameters: CutParameters
    frame: int
    picture: np.ndarray | None


@dataclass(frozen=True)
class NotDescribed:
    """Why a frame, or any frame, cannot be described."""

    parameters: CutParameters
    frame: int
    text: str
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class ShowVideo:
    """The video that later wishes are about; `opening` rises with each."""

    opening: int
    video: Video


@dataclass(frozen=True)
class FromHelper:
    """What the process says, and of which opening."""

    opening: int
    content: Any


class Describer:
    """Describes frames of one video at a time with whatever models are asked for, and keeps those models."""

    def __init__(self, machine: Machine) -> None:
        self._video: Video | None = None
        self._machine = machine
        self._cache: ArrayCache | None = None
        try:
            cache = ArrayCache(limit_gb=machine.cache_limit_gb)
            self.remark = cache.check()
            self._cache = None if self.remark else cache
        except FlowCutError as error:  # such as a folder of somebody who is not there
            self.remark = f"{error}; going on without a cache"
        self._models: dict[Hashable, Any] = {}
        self._describers: dict[Hashable, FrameDescriber] = {}

    def show(self, video: Video) -> None:
        """Describe frames of this video from now on."""
        self._video = video

    def describe(self, parameters: CutParameters, frame: int) -> FrameDescription:
        """Describe one frame.

        Raises
        ------
        FlowCutError
            If weights are missing or a frame cannot be read.
        """
        describer = self._describer(parameters)
        assert self._video is not None  # shown before anything is wished for
        with one_thread():
            return next(describer.describe(self._video, [frame]))

    def blame(self, parameters: CutParameters, frame: int, text: str) -> str:
        """Return why a frame could not be described: said as it is, unless it is the frame's flow partner's fault."""
        if not parameters.uses_flow or self._video is None:
            return text
        try:
            self._video[frame]
        except FlowCutError:
            return text
        partner = partner_frame(frame, parameters.gap, len(self._video))
        try:
            if partner is not None:
                self._video[partner]
        except FlowCutError:
            return f"frame {frame} has no flow, because its partner, frame {partner}, cannot be read: {text}"
        return text

    def _describer(self, parameters: CutParameters) -> FrameDescriber:
        key = description_key(parameters)
        if key not in self._describers:
            machine = self._machine
            names = {parameters.features, parameters.flow}
            given = {name: path for name, path in machine.weights.items() if name in names}
            plan = ModelPlan.make(parameters, given, machine.device, self._cache, fetch=False)
            self._describers[key] = plan.build(self._models)
        return self._describers[key]


def serve(connection: Connection, machine: Machine) -> None:
    """Answer `Wishes` about the video of the last `ShowVideo`, until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    inbox: queue.SimpleQueue[ShowVideo | Wishes] = queue.SimpleQueue()

    def read() -> None:
        # On a thread of its own: the other end must never wait until a model is done.
        with contextlib.suppress(EOFError, OSError):
            while True:
                inbox.put(connection.recv())
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    _Service(connection, Describer(machine), inbox).run()


class _Service:
    """Works down the newest wishes; every answer says of which opening it is."""

    def __init__(
        self, connection: Connection, describer: Describer, inbox: queue.SimpleQueue[ShowVideo | Wishes]
    ) -> None:
        self._connection = connection
        self._describer = describer
        self._inbox = inbox
        self._opening = 0
        self._wishes = Wishes(CutParameters(), ())
        self._devices_said = False
        self._trouble_said = ""

    def run(self) -> None:
        if self._describer.remark:
            self._send(self._describer.remark)
        while True:
            if not self._wishes.frames:
                self._take(self._inbox.get())
            self._take_all()
            if self._wishes.frames:
                self._serve_next()

    def _serve_next(self) -> None:
        parameters, frame = self._wishes.parameters, self._wishes.frames[0]
        self._wishes = Wishes(parameters, self._wishes.frames[1:])
        description = self._describe(parameters, frame)
        if description is None:  # the others would most likely fail like it
            self._wishes = Wishes(parameters, ())
        elif description.flow is not None and self._inbox.empty():
            # Apart from the description: drawing needs torch, and to import it takes longer than to cut.
            self._draw(parameters, description)

    def _describe(self, parameters: CutParameters, frame: int) -> FrameDescription | None:
        try:
            description = self._describer.describe(parameters, frame)
        except MissingWeightsError as error:
            self._send(NotDescribed(parameters, frame, str(error), error.names))
        except FlowCutError as error:
            self._send(NotDescribed(parameters, frame, self._describer.blame(parameters, frame, str(error))))
        except Exception as error:  # noqa: BLE001  # a GPU without memory and the like: the last place to say so
            self._send(NotDescribed(parameters, frame, _brief(error)))
        else:
            # Cuts need the features of the flow, not the field itself.
            self._send(Description(parameters, replace(description, flow=None)))
            return description
        return None

    def _draw(self, parameters: CutParameters, description: FrameDescription) -> None:
        picture = None
        try:
            assert description.flow is not None  # asked by `_serve_next`
            picture = flow_picture(description.flow, min_magnitude=parameters.min_flow)
        except Exception as error:  # noqa: BLE001  # such as a torch that cannot be imported: cuts go on without it
            text = f"no flow picture: {_brief(error)}"
            if text != self._trouble_said:
                self._trouble_said = text
                self._send(text)
        self._send(FlowDrawn(parameters, description.index, picture))
        if not self._devices_said and picture is not None:  # torch is there now
            self._devices_said = True
            self._send(self._gpus())

    def _gpus(self) -> Devices | str:
        try:
            return Devices(find_gpus())
        except (RuntimeError, AssertionError, OSError) as error:  # a driver that is out of order fails in many ways
            return f"GPUs cannot be listed: {_brief(error)}"

    def _take_all(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._take(self._inbox.get_nowait())

    def _take(self, message: ShowVideo | Wishes) -> None:
        if isinstance(message, ShowVideo):
            self._opening = message.opening
            self._describer.show(message.video)
            self._wishes = Wishes(self._wishes.parameters, ())
        else:
            self._wishes = message

    def _send(self, content: Any) -> None:
        self._connection.send(FromHelper(self._opening, content))


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def find_gpus() -> tuple[tuple[str, str], ...]:
    """Return the GPUs that torch finds: ``(("cuda:0", "NVIDIA H100, 80 GB"), ...)``."""
    import torch

    found = []
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for number in range(count):
        properties = torch.cuda.get_device_properties(number)
        found.append((f"cuda:{number}", f"{properties.name}, {properties.total_memory / 1e9:.0f} GB"))
    if torch.backends.mps.is_available():
        found.append(("mps", "the GPU of this Mac"))
    return tuple(found)
