"""The clip that comes with the package: three felt toys on sand, with ground truth."""

from __future__ import annotations

from pathlib import Path

import flowcut_napari
from flowcut_napari.core.errors import InputError

NAME = "toys"


def sample_folder() -> Path:
    """Return the folder of the bundled clip; it is laid out as a DAVIS root, with a YouTube-VIS json beside.

    Raises
    ------
    InputError
        If it is not there (an incomplete installation).
    """
    package = Path(flowcut_napari.__file__).parent
    # In a checkout on a system without symbolic links it lies beside the package.
    for folder in (package / "sample_data", package.parent / "sample_data"):
        if (folder / "JPEGImages" / NAME).is_dir():
            return folder
    raise InputError(f"{package / 'sample_data'}: the bundled clip is missing; reinstall flowcut-napari")
