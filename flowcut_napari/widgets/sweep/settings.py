"""What is set on the Sweep tab, and the sweep that it stands for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from flowcut_napari.core.cache import expand_home
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.grid import Axis, Grid
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.sweep_cells import SCORES, check_measure
from flowcut_napari.core.video import Video
from flowcut_napari.core.video_job import parse_frames
from flowcut_napari.core.workers import default_workers

# What can be swept here, and the values that are offered.
VALUES = {
    "alpha": "0.3:0.7:0.1",
    "tau": "0.35:0.55:0.05",
    "gap": "1, 2, 4, 8",
    "both_ways": "yes, no",
    "max_instances": "1, 2, 3",
    "min_area": "0.01, 0.02, 0.05",
    "max_overlap": "0.3, 0.5, 0.7",
    "max_eigenvalue": "0.03, 0.05, 0.1, 1",
    "crf": "yes, no",
    "crf_min_iou": "0.3, 0.5, 0.7",
}
ONLY_ANNOTATED = "annotated only"
# Names of measures on the tab.
TITLES = {
    "J": "J, region",
    "F": "F, boundary",
    "J&F": "J&F",
    "J_objects": "J of objects",
    "recall_50": "recall at 0.5",
    "consistency": "consistency",
    "yield_share": "share of clips",
    "matched_share": "share of matches",
    "crf_agreement": "CRF agreement",
    "eigengap": "eigengap",
}


@dataclass(frozen=True)
class SweepSettings:
    """What the controls of the tab say, as text; `down` is empty where one parameter is swept alone.

    `chosen` names the fields that the user said something about: the others follow the video that is looked at.
    `wanted` is the measure that the user chose, which is not always to be had.
    """

    across: str = "tau"
    across_values: str = VALUES["tau"]
    down: str = "alpha"
    down_values: str = VALUES["alpha"]
    frames: str = "0::4"
    ground_truth: str = ""
    only_annotated: bool = False
    measure: str = "eigengap"
    wanted: str = ""
    out: str = ""
    workers: int = field(default_factory=default_workers)
    chosen: frozenset[str] = frozenset()

    def grid(self, parameters: CutParameters) -> Grid:
        """Return the settings of the sweep: those parameters but for what is varied.

        Raises
        ------
        InputError
            If a value cannot be.
        """
        if self.down == self.across:
            raise InputError(f"{self.across} is chosen for both directions; choose another one down, or nothing")
        axes = [Axis.parse(f"{self.down}={self.down_values}")] if self.down else []
        return Grid.make(parameters, [*axes, Axis.parse(f"{self.across}={self.across_values}")])

    def check(self) -> tuple[slice, Path | None, Path]:
        """Return frames, ground truth and folder.

        Raises
        ------
        InputError
            If one of them cannot be, or the measure needs a ground truth that is not given.
        """
        truth = expand_home(self.ground_truth.strip()) if self.ground_truth.strip() else None
        try:
            check_measure(self.measure, has_truth=truth is not None)
        except InputError:
            raise InputError(
                f"{TITLES[self.measure]} needs a ground truth; choose its folder, or {TITLES['eigengap']}"
            ) from None
        if not self.out.strip():
            raise InputError("choose a folder to save to")
        return parse_frames(self.frames.strip() or None), truth, expand_home(self.out.strip())


def measures_for(*, has_truth: bool) -> list[str]:
    """Return the measures that can be shown."""
    return [name for name in TITLES if has_truth or name not in SCORES]


def truth_beside(video: Video) -> Path | None:
    """Return the DAVIS root that a sequence lies in, if it has annotations of it."""
    for parent in Path(os.path.abspath(video.path)).parents:
        if parent.name == "JPEGImages":
            root = parent.parent
            inner = ("Annotations_unsupervised/480p", "Annotations/480p", "Annotations")
            return root if any((root / place / video.name).is_dir() for place in inner) else None
    return None


def window_words(text: str) -> str:
    """Return what the command line would say in the words of the tab.

    Examples
    --------
    >>> window_words("--frames 9:x: give START:STOP:STEP")
    'frames 9:x: give START:STOP:STEP'
    """
    words = {"--annotated-only leaves": f"{ONLY_ANNOTATED!r} leaves", "fewer --workers": "fewer processes"}
    text = text.removeprefix("--")
    for there, here in words.items():
        text = text.replace(there, here)
    return text
