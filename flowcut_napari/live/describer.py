"""The process that holds the models: it describes the frame that is looked at first, then those around it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Hashable
from dataclasses import dataclass
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
    """The flow picture of a frame, (h, w, 3) uint8."""

    parameters: CutParameters
    frame: int
    picture: np.ndarray


@dataclass(frozen=True)
class NotDescribed:
    """Why a frame, or any frame, cannot be described."""

    parameters: CutParameters
    frame: int
    text: str
    missing: tuple[str, ...] = ()


class Describer:
    """Describes frames of one video with whatever models are asked for, and keeps those models."""

    def __init__(self, video: Video, machine: Machine) -> None:
        self._video = video
        self._machine = machine
        cache = ArrayCache(limit_gb=machine.cache_limit_gb)
        self.remark = cache.check()
        self._cache = None if self.remark else cache
        self._models: dict[Hashable, Any] = {}
        self._describers: dict[Hashable, FrameDescriber] = {}

    def describe(self, parameters: CutParameters, frame: int) -> FrameDescription:
        """Describe one frame.

        Raises
        ------
        FlowCutError
            If weights are missing or a frame cannot be read.
        """
        describer = self._describer(parameters)
        with one_thread():
            return next(describer.describe(self._video, [frame]))

    def blame(self, parameters: CutParameters, frame: int, text: str) -> str:
        """Return why a frame could not be described: said as it is, unless it is the frame's flow partner's fault."""
        if not parameters.uses_flow:
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


def serve(connection: Connection, video: Video, machine: Machine) -> None:
    """Answer `Wishes` until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    describer = Describer(video, machine)
    if describer.remark:
        connection.send(describer.remark)
    wishes = Wishes(CutParameters(), ())
    devices_said = False
    while True:
        while connection.poll(0 if wishes.frames else None):
            wishes = connection.recv()
        if not wishes.frames:
            continue
        parameters, frame = wishes.parameters, wishes.frames[0]
        wishes = Wishes(parameters, wishes.frames[1:])
        description = _answer(connection, describer, parameters, frame)
        if description is None:  # the others would most likely fail like it
            wishes = Wishes(parameters, ())
        elif description.flow is not None and not connection.poll(0):
            # Apart from the description: drawing needs torch, and to import it takes longer than to cut.
            picture = flow_picture(description.flow, min_magnitude=parameters.min_flow)
            connection.send(FlowDrawn(parameters, frame, picture))
            if not devices_said:  # torch is there now
                devices_said = True
                connection.send(Devices(find_gpus()))


def find_gpus() -> tuple[tuple[str, str], ...]:
    """Return the GPUs that torch finds: ``(("cuda:0", "NVIDIA H100, 80 GB"), ...)``."""
    import torch

    found = []
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        found.append((f"cuda:{number}", f"{properties.name}, {properties.total_memory / 1e9:.0f} GB"))
    if torch.backends.mps.is_available():
        found.append(("mps", "the GPU of this Mac"))
    return tuple(found)


def _answer(
    connection: Connection, describer: Describer, parameters: CutParameters, frame: int
) -> FrameDescription | None:
    try:
        description = describer.describe(parameters, frame)
    except MissingWeightsError as error:
        connection.send(NotDescribed(parameters, frame, str(error), error.names))
    except FlowCutError as error:
        connection.send(NotDescribed(parameters, frame, describer.blame(parameters, frame, str(error))))
    except Exception as error:  # noqa: BLE001  # a GPU without memory and the like: the last place to say so
        text = " ".join(str(error).split())[:300]
        connection.send(NotDescribed(parameters, frame, f"{type(error).__name__}: {text}"))
    else:
        connection.send(Description(parameters, description))
        return description
    return None
