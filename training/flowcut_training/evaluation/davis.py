"""The unsupervised task of DAVIS-2017: region similarity J and boundary accuracy F of the best one-to-one proposals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from flowcut_napari.core.annotations import VOID
from flowcut_napari.core.boundaries import f_measure, find_contours, tolerance
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.measures import Measure, region_similarities
from flowcut_training.evaluation.processes import in_processes

MOST_PROPOSALS = 20
# Annotations and predictions of a sequence, (T, H, W) uint8 each.
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True)
class DavisObject:
    """How well an object was found.

    Attributes
    ----------
    sequence : str
    object : int
        Its number in the annotations.
    proposal : int or None
        Number of the proposal that it was given; None if that has no pixel, or there were too few.
    j, f : Measure
    j_frames, f_frames : (T,) float64
    worst_frame : int
        That with the lowest J, from 0; of equal ones that in which the object is largest, and of these the first.
    """

    sequence: str
    object: int
    proposal: int | None
    j: Measure
    f: Measure
    j_frames: np.ndarray
    f_frames: np.ndarray
    worst_frame: int

    @property
    def mean(self) -> float:
        """J&F of this object."""
        return (self.j.mean + self.f.mean) / 2


@dataclass(frozen=True, slots=True)
class DavisSequence:
    """How well the objects of a sequence were found.

    Attributes
    ----------
    name : str
    frames, objects : int
    proposals : int
        The largest number in the predictions; numbers that do not occur are proposals without a pixel.
    j, f : (P, G, T) float64
        Of every proposal with every object; proposals without a pixel are added until they are as many as objects.
    assignment : tuple of (int, int)
        (proposal, object), from 0, as places in `j` and `f`.
    areas : (G, T) int64
        Pixels of each object.
    numbers : tuple of int
        Those that occur in the predictions, outside of void.
    mean : float or None
        J&F over its objects; None if there are none, that is none in its first frame.
    """

    name: str
    frames: int
    objects: int
    proposals: int
    j: np.ndarray
    f: np.ndarray
    assignment: tuple[tuple[int, int], ...]
    areas: np.ndarray
    numbers: tuple[int, ...]
    mean: float | None


@dataclass(frozen=True)
class DavisResult:
    """The numbers of the benchmark, means over the objects of all sequences, and what they are made of.

    Attributes
    ----------
    stats : dict
        J&F-Mean, J-Mean, J-Recall, J-Decay, F-Mean, F-Recall, F-Decay.
    per_object : tuple of DavisObject
        The worst first.
    per_sequence : tuple of DavisSequence
        The worst first; those without objects last.
    """

    stats: dict[str, float]
    per_object: tuple[DavisObject, ...]
    per_sequence: tuple[DavisSequence, ...]


def evaluate_davis(
    sequences: Mapping[str, Pair | Callable[[], Pair]],
    *,
    workers: int = 1,
    on_sequence: Callable[[str], None] | None = None,
) -> DavisResult:
    """Evaluate proposals as the unsupervised task of DAVIS-2017 does (METHOD 9.2).

    Parameters
    ----------
    sequences : mapping of str to (gt, pred)
        Annotations and predictions, each (T, H, W) uint8 with the number of the object at each pixel; 255 in the
        annotations is void, which counts for nothing. Instead of a pair, a function without arguments that returns it:
        then no more sequences are in memory than are worked on. The objects are the numbers up to the largest of the
        first frame, the proposals those up to the largest anywhere.
    workers : int
        Processes; see `flowcut_training.evaluation.processes.in_processes`. What is in the mapping is sent to them.
    on_sequence : callable, optional
        Called with the name of every sequence that is done.

    Raises
    ------
    InputError
        For arrays of another form, more than 20 proposals, or if no sequence has an object.

    Notes
    -----
    Decay follows its definition for videos of any length; the reference program computes something else for more than
    256 frames, where its places overflow.

    Examples
    --------
    >>> import numpy as np
    >>> gt = np.zeros((4, 20, 30), dtype=np.uint8)
    >>> gt[:, 5:15, 5:15] = 1
    >>> evaluate_davis({"square": (gt, 3 * gt)}).stats["J&F-Mean"]
    1.0
    """
    done = []
    for sequence in in_processes(_score_sequence, _Items(sequences), workers):
        done.append(sequence)
        if on_sequence:
            on_sequence(sequence.name)
    objects = [item for sequence in done for item in _objects(sequence)]
    if not objects:
        raise InputError("no sequence has an object in its first annotation: there is nothing to evaluate")

    def mean(values: Iterator[float]) -> float:
        return float(np.mean(list(values)))

    j_mean, f_mean = mean(item.j.mean for item in objects), mean(item.f.mean for item in objects)
    stats = {
        "J&F-Mean": (j_mean + f_mean) / 2,
        "J-Mean": j_mean,
        "J-Recall": mean(item.j.recall for item in objects),
        "J-Decay": mean(item.j.decay for item in objects),
        "F-Mean": f_mean,
        "F-Recall": mean(item.f.recall for item in objects),
        "F-Decay": mean(item.f.decay for item in objects),
    }
    objects.sort(key=lambda item: (item.mean, item.sequence, item.object))
    done.sort(key=lambda item: (item.mean is None, item.mean or 0.0, item.name))
    return DavisResult(stats, tuple(objects), tuple(done))


class _Items:
    """The items of a mapping one by one: what is in it may be made when it is asked for."""

    def __init__(self, sequences: Mapping[str, Pair | Callable[[], Pair]]) -> None:
        self._sequences = sequences

    def __len__(self) -> int:
        return len(self._sequences)

    def __iter__(self) -> Iterator[tuple[str, Pair | Callable[[], Pair]]]:
        return ((name, self._sequences[name]) for name in self._sequences)


def _score_sequence(item: tuple[str, Pair | Callable[[], Pair]]) -> DavisSequence:
    name, pair = item
    truth, found = _check(name, pair() if callable(pair) else pair)
    void = truth == VOID
    # What is predicted on void counts for nothing, and has no boundary there.
    truth, found = np.where(void, np.uint8(0), truth), found.copy()
    proposals = int(found.max())
    if proposals > MOST_PROPOSALS:
        hint = " (255 is void, which predictions have none of)" if proposals == VOID else ""
        raise InputError(
            f"{name}: proposals are numbered up to {proposals}{hint}; the benchmark takes {MOST_PROPOSALS} at most"
        )
    found[void] = 0
    objects = int(truth[0].max())
    shape = (max(proposals, objects), objects, len(truth))
    j, f = np.zeros(shape), np.zeros(shape)
    areas = np.zeros(shape[1:], dtype=np.int64)
    margin = tolerance(*truth.shape[1:])
    for frame in range(len(truth) if objects else 0):
        j[:, :, frame] = region_similarities(truth[frame], found[frame], void[frame], shape[0], objects)
        areas[:, frame] = np.bincount(truth[frame][~void[frame]], minlength=objects + 1)[1 : objects + 1]
        contours = find_contours(truth[frame], objects, margin)
        for row, proposal in enumerate(find_contours(found[frame], shape[0], margin)):
            for column, contour in enumerate(contours):
                f[row, column, frame] = f_measure(proposal, contour)
    rows, columns = linear_sum_assignment(-(j.mean(axis=2) + f.mean(axis=2)) / 2)
    assignment = tuple(zip(rows.tolist(), columns.tolist(), strict=True))
    numbers = tuple(int(number) for number in np.unique(found) if number)
    mean = (j[rows, columns].mean() + f[rows, columns].mean()) / 2 if objects else None
    return DavisSequence(
        name, len(truth), objects, proposals, j, f, assignment, areas, numbers, None if mean is None else float(mean)
    )


def _objects(sequence: DavisSequence) -> Iterator[DavisObject]:
    for row, column in sequence.assignment:
        j, f = sequence.j[row, column], sequence.f[row, column]
        number = row + 1 if row + 1 in sequence.numbers else None
        worst = int(np.lexsort((-sequence.areas[column], j))[0])
        yield DavisObject(sequence.name, column + 1, number, Measure.of(j), Measure.of(f), j, f, worst)


def _check(name: str, pair: Any) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(pair, Sequence) or len(pair) != 2:
        raise InputError(f"{name}: is no pair of annotations and predictions")
    truth, found = (
        _indexed(array, f"{name}: the {what}") for array, what in zip(pair, ("annotations", "predictions"), strict=True)
    )
    if truth.shape != found.shape:
        raise InputError(f"{name}: the predictions have the shape {found.shape}, the annotations {truth.shape}")
    return truth, found


def _indexed(array: Any, what: str) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind not in "ui" or array.ndim != 3 or not array.size:
        raise InputError(
            f"{what} are {array.dtype} with the shape {array.shape}; whole numbers (frames, height, width) belong there"
        )
    if array.min() < 0 or array.max() > VOID:
        raise InputError(f"{what} have numbers from {array.min()} to {array.max()}; 0 to {VOID} can be")
    return array.astype(np.uint8, copy=False)
