"""What the Evaluate tab is set to, and the command that it stands for."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace

from flowcut_napari.core.cache import expand_home
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.evaluation_report import Kind

# Videos in the list, the worst first: more than anybody looks through.
MOST_VIDEOS = 500
# Of the paper, for YouTube-VIS.
PAPER_SCORE = 0.8


@dataclass(frozen=True)
class Places:
    """Where the ground truth and the predictions are; empty for what is not chosen yet."""

    ground_truth: str = ""
    predictions: str = ""


@dataclass(frozen=True)
class EvaluateSettings:
    """All that is set.

    Attributes
    ----------
    kind : str
        ``ytvis`` or ``davis``.
    ytvis, davis : Places
        Each kind has its own.
    threshold : float
        The score for the second row of numbers.
    with_threshold : bool
        Whether there is one.
    subset : str
        The list of sequences of a DAVIS root; all sequences if it is empty.
    missing_as_empty : bool
        Whether a sequence without predictions counts as one in which nothing was found.
    """

    kind: Kind = "ytvis"
    ytvis: Places = Places()
    davis: Places = Places()
    threshold: float = PAPER_SCORE
    with_threshold: bool = True
    subset: str = ""
    missing_as_empty: bool = False

    @property
    def places(self) -> Places:
        """Those of this kind."""
        return self.ytvis if self.kind == "ytvis" else self.davis

    def with_place(self, name: str, path: str) -> EvaluateSettings:
        """Return these with another `ground_truth` or other `predictions`."""
        places = replace(self.places, **{name: path})
        return replace(self, ytvis=places) if self.kind == "ytvis" else replace(self, davis=places)

    def arguments(self) -> list[str]:
        """Return the arguments of ``flowcut`` that say the same.

        Raises
        ------
        InputError
            If something is not chosen.

        Examples
        --------
        >>> EvaluateSettings("davis", davis=Places("/DAVIS", "/pred"), subset="val").arguments()
        ['evaluate', 'davis', '/DAVIS', '/pred', '--subset', 'val']
        """
        if not self.places.ground_truth:
            what = "its json, or the folder of a dataset" if self.kind == "ytvis" else "a DAVIS root"
            raise InputError(f"choose the ground truth: {what}")
        if not self.places.predictions:
            what = "results.json, or the folder that it is in" if self.kind == "ytvis" else "a folder of sequences"
            raise InputError(f"choose the predictions: {what}")
        options = []
        if self.kind == "ytvis":
            options += ["--threshold", f"{self.threshold:g}"] if self.with_threshold else []
        else:
            options += ["--subset", self.subset] if self.subset else []
            options += ["--missing-as-empty"] if self.missing_as_empty else []
        # Absolute, so that none begins with a dash.
        paths = [os.path.abspath(expand_home(path)) for path in (self.places.ground_truth, self.places.predictions)]
        return ["evaluate", self.kind, *paths, *options]

    def followed(self) -> list[str]:
        """Return the same arguments, for a program that follows what is said; errors as `arguments`."""
        return [*self.arguments(), "--events", "--most", str(MOST_VIDEOS)]

    def command(self) -> str:
        """Return the command line for a terminal; errors as `arguments`."""
        return shlex.join(["flowcut", *self.arguments()])
