"""How far a prediction is, and how it ended, in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flowcut_napari.core.errors import printable
from flowcut_napari.core.predictions import Prediction
from flowcut_napari.widgets.run.controller import duration

State = Literal["idle", "starting", "running", "reading", "cancelling", "done", "failed", "cancelled"]
_STAGES = {
    "starting": "starting Python …",
    "loading": "loading the model …",
    "decoding": "finding instances …",
    "writing": "writing …",
}


@dataclass(frozen=True)
class PredictProgress:
    """How far a prediction is.

    Attributes
    ----------
    video : str
        Name of the video.
    stage : str
        What the model does, as its events say.
    done, total : int
        Frames that are encoded, and all of them.
    seconds : float
        Since the first frame began.
    text : str
        Why it failed, or what to say of its end.
    """

    state: State = "idle"
    video: str = ""
    stage: str = "starting"
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    out: Path | None = None
    text: str = ""

    @property
    def is_going_on(self) -> bool:
        """Whether another one has to wait."""
        return self.state in ("starting", "running", "reading", "cancelling")

    @property
    def can_be_cancelled(self) -> bool:
        """Whether there is something to cancel."""
        return self.state in ("starting", "running", "reading")

    @property
    def share(self) -> float | None:
        """How many of the frames are encoded, 0 to 1; None while nobody can tell how long it takes."""
        is_known = self.state == "running" and self.stage == "encoding" and self.total and self.done
        return self.done / self.total if is_known else None

    def describe(self) -> str:
        """Say it in one line.

        Examples
        --------
        >>> PredictProgress("running", "toys", "encoding", 6, 24, 3.0).describe()
        'toys: 6 of 24 frames, 2.0 frames/s, 9 s left'
        >>> PredictProgress("starting").describe()
        'starting Python …'
        """
        if self.state == "starting" or (self.state == "running" and self.stage in ("starting", "loading")):
            return _STAGES.get(self.stage, "starting …")
        if self.state == "running" and self.stage == "encoding":
            text = f"{self.video}: {self.done} of {self.total} frames"
            if self.done and self.seconds:
                speed = self.done / self.seconds
                text += f", {speed:.1f} frames/s, {duration((self.total - self.done) / speed)} left"
            return printable(text)
        if self.state == "running":
            return printable(f"{self.video}: {_STAGES.get(self.stage, 'working …')}")
        if self.state == "reading":
            return "reading the results …"
        if self.state == "cancelling":
            return "cancelling …"
        return printable(self.text)


def describe_prediction(prediction: Prediction) -> str:
    """Say in a line or two what was found.

    Examples
    --------
    >>> describe_prediction(Prediction(Path("out"), "toys", (4, 4), (0, 2), (), "m.safetensors", 200, 1, 0.5))
    'toys, step 200: no instance in 2 frames, 4.0 frames/s, whole video at once'
    """
    count, frames = len(prediction.tracks), len(prediction.frames)
    found = f"{count or 'no'} instance{'s' if count > 1 else ''} in {frames} frame{'s' if frames != 1 else ''}"
    parts = [found]
    if prediction.seconds:
        parts.append(f"{frames / prediction.seconds:.1f} frames/s")
    windows = prediction.windows
    parts.append("whole video at once" if windows == 1 else f"in {windows} windows for want of memory, or as asked")
    step = f", step {prediction.step:,}" if prediction.step is not None else ""
    return printable(f"{prediction.video}{step}: {', '.join(parts)}")


def describe_overlap(iou: float | None, mean: float | None, frames: int, kind: str) -> str:
    """Say how the foreground agrees with what it is compared with.

    Examples
    --------
    >>> describe_overlap(0.8671, 0.71, 24, "ground truth")
    'IoU with ground truth: 0.87 in this frame, 0.71 over 24 frames'
    >>> describe_overlap(None, 0.71, 2, "ground truth")
    'IoU with ground truth: none in this frame, 0.71 over 2 frames'
    """
    if mean is None or math.isnan(mean):
        return f"no frame has both predictions and {kind}"
    here = "none" if iou is None or math.isnan(iou) else f"{iou:.2f}"
    return f"IoU with {kind}: {here} in this frame, {mean:.2f} over {frames} frame{'s' if frames != 1 else ''}"


def number_in(event: dict[str, Any], name: str) -> int:
    """Return a whole number that an event says, at least 0; 0 where it says none.

    Examples
    --------
    >>> number_in({"done": 4}, "done"), number_in({"done": "x"}, "done")
    (4, 0)
    """
    value = event.get(name)
    return value if type(value) is int and value > 0 else 0
