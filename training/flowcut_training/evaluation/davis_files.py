"""Folders of indexed PNG, one a sequence: the annotations of DAVIS and predictions in the same form."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from flowcut_napari.core.annotations import VOID
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.images import natural_key

# In a DAVIS root; the annotations of the unsupervised task come first.
_ANNOTATIONS = ("Annotations_unsupervised/480p", "Annotations/480p")
# One without a resolution has these beside each other.
_PLAIN_ROOT = ("Annotations", "JPEGImages")
_YEARS = ("2017", "2019")
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class SequenceFiles:
    """The pictures of a sequence; calling it reads them.

    Attributes
    ----------
    name : str
    annotations, predictions : tuple of Path
        Frame by frame; no predictions at all stand for frames without any proposal.
    """

    name: str
    annotations: tuple[Path, ...]
    predictions: tuple[Path, ...]

    def __call__(self) -> tuple[np.ndarray, np.ndarray]:
        """Return annotations and predictions, (T, H, W) uint8 each.

        Raises
        ------
        InputError
            If a picture is damaged, no indexed PNG, or has another size than the first annotation.
        """
        first = read_indexed(self.annotations[0])
        truth = np.zeros((len(self.annotations), *first.shape), dtype=np.uint8)
        found = np.zeros_like(truth)
        for array, paths in ((truth, self.annotations), (found, self.predictions)):
            for frame, path in enumerate(paths):
                labels = read_indexed(path)
                if labels.shape != first.shape:
                    sizes = [f"{shape[1]}x{shape[0]}" for shape in (labels.shape, first.shape)]
                    raise InputError(f"{path}: is {sizes[0]}, the annotations of {self.name} are {sizes[1]}")
                array[frame] = labels
        return truth, found


def read_indexed(path: Path) -> np.ndarray:
    """Read a PNG as numbers of objects, (H, W) uint8.

    Raises
    ------
    InputError
        If it cannot be read, or is neither a palette picture nor 8-bit grey.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            mode = image.mode
            labels = np.asarray(image)
    except FileNotFoundError:
        raise InputError(f"{path}: no such picture") from None
    except _DAMAGE as error:
        text = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise InputError(f"{path}: cannot be read as a PNG ({text})") from None
    if mode not in ("P", "L"):
        raise InputError(
            f"{path}: is a PNG of mode {mode}; the number of the object at each pixel belongs there, "
            "as a palette picture or 8-bit grey"
        )
    if mode == "L" and labels.max() == VOID and not ((labels > 0) & (labels < VOID)).any():
        raise InputError(f"{path}: is black and white; the pixels of an object hold its number, and {VOID} is void")
    return labels


def find_sequences(
    annotations: Path,
    predictions: Path,
    *,
    subset: str | None = None,
    missing_as_empty: bool = False,
) -> tuple[dict[str, SequenceFiles], list[str]]:
    """Find the sequences of the ground truth and their predictions.

    Parameters
    ----------
    annotations : Path
        A folder of sequences, or a DAVIS root (``Annotations_unsupervised/480p`` or ``Annotations/480p`` in it).
    predictions : Path
        A folder of sequences; a frame has the name of its annotation. Further frames are passed over, as by the
        reference program.
    subset : str, optional
        Only the sequences that a DAVIS root lists in ``ImageSets/2017/SUBSET.txt`` (or 2019).
    missing_as_empty : bool
        Whether a sequence without predictions counts as one in which nothing was found; otherwise it is an error.

    Returns
    -------
    dict of str to SequenceFiles
        In the order of the annotations.
    list of str
        What a user should know.

    Raises
    ------
    InputError
        If there are no sequences, or predictions are missing.
    """
    folder = next((annotations / part for part in _ANNOTATIONS if (annotations / part).is_dir()), annotations)
    if folder == annotations and all((annotations / part).is_dir() for part in _PLAIN_ROOT):
        folder = annotations / _PLAIN_ROOT[0]
    names = _folders(folder, "annotations")
    if subset is not None:
        names = _listed(annotations, subset, names)
    found = set(_folders(predictions, "predictions"))
    if missing := [name for name in names if name not in found]:
        if any((predictions / part).is_dir() for part in _ANNOTATIONS):
            raise InputError(
                f"{predictions}: is a DAVIS root; the annotations come first, the folder of predicted sequences second"
            )
        if not missing_as_empty or len(missing) == len(names):
            hint = "; --missing-as-empty counts them as missed" if len(missing) < len(names) else ""
            raise InputError(
                f"{predictions}: has no predictions of {_some(missing)}: {len(missing)} of {len(names)} sequences{hint}"
            )
    notes = [f"counted as nothing found, for want of predictions: {_some(missing)}"] if missing else []
    if others := sorted(found - set(names), key=natural_key):
        notes.append(f"left out, for want of annotations: {_some(others)}")
    sequences = {}
    for name in names:
        frames = _pictures(folder / name)
        if not frames:
            raise InputError(f"{folder / name}: no annotations (PNG) in this folder")
        sequences[name] = SequenceFiles(
            name, tuple(frames.values()), () if name in missing else _predicted(predictions / name, list(frames))
        )
    return sequences, notes


def _predicted(folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    frames = _pictures(folder)
    missing = [f"{name}.png" for name in names if name not in frames]
    if missing:
        raise InputError(f"{folder}: has no prediction of {_some(missing)}: {len(missing)} of {len(names)} frames")
    return tuple(frames[name] for name in names)


def _folders(folder: Path, what: str) -> list[str]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of {what}")
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    names = sorted((entry.name for entry in entries if entry.is_dir()), key=natural_key)
    if not names and any(entry.suffix.lower() == ".png" for entry in entries):
        raise InputError(f"{folder}: holds pictures, no folders of sequences; give the folder above it")
    if not names:
        raise InputError(f"{folder}: has no folders of sequences with {what}")
    return names


def _pictures(folder: Path) -> dict[str, Path]:
    """Return the PNG files of a folder by the name of their frame, in natural order."""
    files = [entry for entry in folder.iterdir() if entry.suffix.lower() == ".png" and not entry.name.startswith(".")]
    return {file.stem: file for file in sorted(files, key=lambda file: natural_key(file.stem))}


def _listed(root: Path, subset: str, names: Sequence[str]) -> list[str]:
    paths = [root / "ImageSets" / year / f"{subset}.txt" for year in _YEARS]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise InputError(f"{root}: has no list of sequences {paths[0].relative_to(root)}; --subset needs a DAVIS root")
    try:
        listed = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the list of sequences cannot be read ({error})") from None
    if not listed:
        raise InputError(f"{path}: lists no sequence")
    known = set(names)
    if missing := [name for name in listed if name not in known]:
        raise InputError(f"{path}: lists {_some(missing)}, without annotations in {root}")
    return list(dict.fromkeys(listed))


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
