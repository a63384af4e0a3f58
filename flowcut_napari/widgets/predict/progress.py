"""How far a prediction is, and how it ended, in words."""

from __future__ import annotations

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
        if self.state == "failed":
            return printable(f"failed: {self.text}")
        return printable(self.text)


def describe_prediction(prediction: Prediction) -> str:
    """Say in a line what was found.

    Examples
    --------
    >>> describe_prediction(Prediction(Path("out"), "toys", (4, 4), (0, 2), (), "m.safetensors", 200, 1, 0.5))
    'step 200 · no instance · 2 frames at 4.0/s, as one clip'
    """
    count, frames = len(prediction.tracks), len(prediction.frames)
    parts = [] if prediction.step is None else [f"step {prediction.step:,}"]
    parts.append(f"{count or 'no'} instance{'s' if count > 1 else ''}")
    speed = f" at {frames / prediction.seconds:.1f}/s" if prediction.seconds else ""
    seen = "as one clip" if prediction.windows == 1 else f"in {prediction.windows} windows"
    parts.append(f"{frames} frame{'s' if frames != 1 else ''}{speed}, {seen}")
    return " · ".join(parts)


def describe_overlap(iou: float | None, mean: float | None) -> str:
    """Say how the foreground agrees with what it is compared with.

    Examples
    --------
    >>> describe_overlap(0.8671, 0.71), describe_overlap(None, 0.71)
    ('IoU here 0.87, mean 0.71', 'IoU here none, mean 0.71')
    """
    if mean is None:
        return "IoU: no frame can be compared"
    here = "none" if iou is None else f"{iou:.2f}"
    return f"IoU here {here}, mean {mean:.2f}"


def describe_place(folder: Path) -> str:
    """Say in a line where predictions are: the end of their path, which holds run, video and step.

    Examples
    --------
    >>> describe_place(Path("/data/runs/dogs-1/predictions/toys-step-40"))
    '→ …/dogs-1/predictions/toys-step-40'
    >>> describe_place(Path("/data/toys"))
    '→ /data/toys'
    """
    last = folder.parts[-3:]
    return f"→ …/{'/'.join(last)}" if len(folder.parts) > len(last) + 1 else f"→ {folder}"


def number_in(event: dict[str, Any], name: str) -> int:
    """Return a whole number that an event says, at least 0; 0 where it says none.

    Examples
    --------
    >>> number_in({"done": 4}, "done"), number_in({"done": "x"}, "done")
    (4, 0)
    """
    value = event.get(name)
    return value if type(value) is int and value > 0 else 0
