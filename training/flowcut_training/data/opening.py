"""Finding a dataset, its json and its frames, and opening it by an index that is made once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flowcut_napari.core.about import ABOUT, read_about
from flowcut_napari.core.dataset_state import is_folder
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.files import folder_held
from flowcut_napari.core.formats.ytvis import ANNOTATIONS
from flowcut_napari.core.parameters import DatasetFormat
from flowcut_napari.core.video import frames_folder
from flowcut_training.data.index import ClipIndex, load_index, scan, stamp_of
from flowcut_training.data.records import Kind
from flowcut_training.data.source import ClipSource

# What the json of a dataset is called: ours, and those of YouTube-VIS 2019 and 2021.
_JSON_NAMES = (ANNOTATIONS, "train.json", "instances.json")
_FORMATS: dict[Kind, DatasetFormat] = {"clips": "ytvis", "stills": "coco"}
# Clips that are tried to find out where the frames are: the first one's may be missing.
_TRIED = 8


def open_clips(folder: Path, index: Path | None = None) -> ClipSource:
    """Open a dataset of clips.

    Safe for all ranks of a machine at once: one reads the json through, the others wait and read the index.

    Parameters
    ----------
    folder : Path
        A dataset that `flowcut curate` made, or one of the same form: ``annotations.json`` and ``frames/``, or
        ``train.json`` with ``JPEGImages/`` as YouTube-VIS has them. Or such a json itself.
    index : Path, optional
        An ``.npz`` file that is read where it is valid for the json, and else made anew. Reading 2 GB of json through
        takes a minute.

    Raises
    ------
    InputError
        If there is no such dataset, or what its json says is not as it should be, naming the first such item.
    OutputError
        If the index cannot be written.
    """
    path = _find_json(folder, "clips")
    return _open(path, "clips", None, index)


def open_stills(path: Path, images: Path | None = None, index: Path | None = None) -> ClipSource:
    """Open still images with masks.

    Parameters
    ----------
    path : Path
        A dataset that ``flowcut curate --format coco`` made, or a COCO json (run-length codes or polygons).
    images : Path, optional
        The folder that its file names start from, where that is not beside the json.
    index : Path, optional
        As of `open_clips`, and so are the errors.
    """
    if images is not None and not is_folder(images):
        raise InputError(f"{str(images)[:200]}: no such folder of images")
    return _open(_find_json(path, "stills"), "stills", images, index)


def _find_json(path: Path, kind: Kind) -> Path:
    try:
        if path.is_file():
            return path
    except (OSError, ValueError):
        pass  # what can be no path is no folder either
    if not is_folder(path):
        raise InputError(f"{str(path)[:200]}: no such file or folder")
    for name in _JSON_NAMES:
        if (path / name).is_file():
            return path / name
    about = read_about(path)
    if (about is not None and about.format == "davis") or (path / "JPEGImages" / "480p").is_dir():
        raise InputError(f"{path}: has the DAVIS format; give a dataset made with --format {_FORMATS[kind]}")
    raise InputError(f"{path}: no dataset (it has no {' or '.join(_JSON_NAMES)})")


def _open(path: Path, kind: Kind, root: Path | None, index: Path | None) -> ClipSource:
    if index is None:
        found = _scan(path, kind)
    else:
        with folder_held(index.parent):
            kept = load_index(index, stamp_of(path, kind))
            found = _scan(path, kind) if kept is None else kept
            if kept is None:
                found.save(index)
    if root is None:
        root = _find_root(path, kind, found)
    return ClipSource(path, root, kind, found)


def _scan(path: Path, kind: Kind) -> ClipIndex:
    about = read_about(path.parent) if path.name == ANNOTATIONS else None
    if about is not None and about.format != _FORMATS[kind]:
        hint = "give it as stills" if about.format == "coco" else f"give one made with --format {_FORMATS[kind]}"
        raise InputError(f"{path.parent}: has the format {about.format}; {hint}")
    if about is not None and about.frame_files == "none":
        raise InputError(f"{path.parent}: was exported without its frames; export it with --frame-files copy or link")
    return scan(path, kind)


def _find_root(path: Path, kind: Kind, index: ClipIndex) -> Path:
    """Find where the frames lie; of one of ours that is known."""
    if path.name == ANNOTATIONS and (path.parent / ABOUT).is_file():
        return path.parent / "frames"
    source = ClipSource(path, path.parent, kind, index)
    problem: InputError | None = None
    for number in np.unique(np.linspace(0, len(index) - 1, _TRIED).astype(int)) if len(index) else ():
        try:
            return frames_folder(path, source.clip_record(int(number)).files[0])
        except InputError as error:
            problem = problem or error
    if problem is not None:
        raise problem
    return path.parent
