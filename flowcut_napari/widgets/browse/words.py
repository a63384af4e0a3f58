"""What the Browse tab says of a dataset and of a clip, in pure functions."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from flowcut_napari.core.clip_view import ClipView
from flowcut_napari.core.dataset_view import Dataset
from flowcut_napari.core.errors import printable

_FORMATS = {"ytvis": "YouTube-VIS", "coco": "COCO", "davis": "DAVIS"}


def origin_of(dataset: Dataset) -> str:
    """Say in which format a dataset is, and how it was made if it says so itself."""
    parts = [_FORMATS[dataset.format]]
    about = dataset.about
    if about is None:
        return parts[0]
    parts.append(f"made by flowcut-napari {about.provenance.get('flowcut_napari', '')}".rstrip())
    for stage in about.stage1[:1]:
        made = stage.get("parameters", {})
        if isinstance(made, dict) and "features" in made:
            parts.append(f"{made['features']} features, {made.get('flow')} flow, alpha {made.get('alpha')}")
    if len(about.stage1) > 1:
        parts.append(f"and masks of {len(about.stage1) - 1} other settings")
    if about.parameters is not None:
        parts.append(_curation(about.parameters))
    return printable(" · ".join(parts))


def _curation(parameters: dict[str, Any]) -> str:
    gaps = parameters.get("gaps")
    words = []
    if isinstance(gaps, list) and gaps:
        words.append(f"{'gap' if len(gaps) == 1 else 'gaps'} {', '.join(str(gap) for gap in gaps)}")
    words.append(f"IoU {parameters.get('iou')} ({parameters.get('method')})")
    if parameters.get("only_accepted"):
        words.append("only what was accepted")
    return ", ".join(words)


def clip_title(view: ClipView) -> str:
    """Say which clip it is.

    Examples
    --------
    >>> clip_title(ClipView(3, "4", "boat", ("boat/00002.jpg", "boat/00005.jpg"), (0, 1), (), (), (), ()))
    'boat · id 4 · frames 00002, 00005'
    """
    parts = [view.video]
    if view.id:
        parts.append(f"id {view.id}")
    stems = [PurePosixPath(view.files[place]).stem for place in view.places]
    if stems:
        of_all = "" if len(stems) == len(view.files) else f" of {len(view.files)}"
        parts.append(f"{'frame' if len(stems) == 1 else 'frames'} {', '.join(stems)}{of_all}")
    return " · ".join(parts)


def clip_files(view: ClipView, most: int = 12) -> str:
    """Return the files of the frames that are seen, a line each."""
    files = [view.files[place] for place in view.places]
    more = [f"and {len(files) - most} more"] if len(files) > most else []
    return "\n".join([*files[:most], *more])
