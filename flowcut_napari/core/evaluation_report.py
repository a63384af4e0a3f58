"""What ``flowcut evaluate --json`` found, read strictly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flowcut_napari.core.errors import InputError, printable

Kind = Literal["ytvis", "davis"]
# All numbers of an evaluation.
STATS: Mapping[Kind, tuple[str, ...]] = {
    "ytvis": ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"),
    "davis": ("J&F-Mean", *(f"{name}-{measure}" for name in "JF" for measure in ("Mean", "Recall", "Decay"))),
}


@dataclass(frozen=True)
class WorstFrame:
    """The frame at which an object is found worst: its place from 0, its file if that is known, and the IoU there."""

    place: int
    file: str
    iou: float

    @property
    def name(self) -> str:
        """What it is called: its file without folder and suffix, else its place."""
        return PurePosixPath(self.file).stem or str(self.place)


@dataclass(frozen=True)
class ObjectResult:
    """An object of the ground truth: what it is called, and best IoU (YouTube-VIS) or J&F (DAVIS), 0 to 1."""

    name: str
    score: float
    worst: WorstFrame | None


@dataclass(frozen=True)
class VideoResult:
    """How well the objects of a video were found.

    Attributes
    ----------
    name : str
    number : int
        Its id in YouTube-VIS json; 0 for a sequence of DAVIS.
    objects, found : int
        `found` are detections (YouTube-VIS) or proposals (DAVIS).
    score : float or None
        Mean of the best IoU, or of J&F, of its objects; None without objects.
    worst : WorstFrame or None
        That of the object that is found worst.
    address : str or None
        Where `open_video` finds it, as far as that is known.
    folder : Path or None
        Of its annotations (DAVIS).
    files : tuple of str
        Of its frames (YouTube-VIS) or annotations (DAVIS), in order; none where the ground truth names none.
    per_object : tuple of ObjectResult
        The worst first.
    """

    name: str
    number: int
    objects: int
    found: int
    score: float | None
    worst: WorstFrame | None
    address: str | None
    folder: Path | None
    files: tuple[str, ...]
    per_object: tuple[ObjectResult, ...]


@dataclass(frozen=True)
class Report:
    """An evaluation.

    Attributes
    ----------
    kind : str
        ``ytvis`` or ``davis``.
    ground_truth, predictions : Path
    stats : mapping of str to float
        By the names of the benchmark, 0 to 1; -1 for what is undefined.
    threshold : float or None
        A score, and
    stats_above : mapping or None
        the numbers without detections below it.
    videos : tuple of VideoResult
        The worst first; those without objects last.
    all_videos, all_objects, all_found : int
        Counts of all that was evaluated; the list may hold only the worst videos.
    notes : tuple of str
        What a user should know.
    """

    kind: Kind
    ground_truth: Path
    predictions: Path
    stats: Mapping[str, float]
    threshold: float | None
    stats_above: Mapping[str, float] | None
    videos: tuple[VideoResult, ...]
    all_videos: int
    all_objects: int
    all_found: int
    notes: tuple[str, ...]


# The document, as it is written.

_Share = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=0)]
_Stats = dict[str, Annotated[float, Field(ge=-1, le=1)]]


class _Strict(BaseModel):
    # A later version may say more.
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)


class _Worst(_Strict):
    worst_frame: _Count | None
    worst_file: str | None
    worst_iou: _Share | None

    def read(self) -> WorstFrame | None:
        if self.worst_frame is None or self.worst_iou is None:
            return None
        return WorstFrame(self.worst_frame, self.worst_file or "", self.worst_iou)


class _Video(_Worst):
    objects: _Count
    address: str | None
    file_names: list[str]


class _YtvisVideo(_Video):
    video: _Count
    name: str
    detections: _Count
    best_iou: _Share | None


class _YtvisObject(_Worst):
    annotation: _Count
    video: _Count
    best_iou: _Share


class _DavisVideo(_Video):
    sequence: str
    proposals: _Count
    mean: _Share | None = Field(alias="J&F-Mean")
    folder: str


class _DavisObject(_Worst):
    sequence: str
    object: _Count
    mean: _Share = Field(alias="J&F-Mean")


class _Document(_Strict):
    ground_truth: str
    predictions: str
    stats: _Stats
    objects: _Count


class _Ytvis(_Document):
    threshold: _Share | None = None
    stats_threshold: _Stats | None = None
    videos: _Count
    detections: _Count
    per_video: list[_YtvisVideo]
    per_object: list[_YtvisObject]


class _Davis(_Document):
    sequences: _Count
    proposals: _Count
    per_sequence: list[_DavisVideo]
    per_object: list[_DavisObject]
    notes: list[str]


def read_report(kind: Kind, document: Mapping[str, Any]) -> Report:
    """Read the document of ``flowcut evaluate ytvis`` or ``davis``.

    Raises
    ------
    InputError
        If it is not what this version of the package writes.
    """
    try:
        if kind == "ytvis":
            report = _read_ytvis(_Ytvis.model_validate(document))
        else:
            report = _read_davis(_Davis.model_validate(document))
    except ValidationError as error:
        first = error.errors()[0]
        raise _unreadable(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    for stats in (report.stats, report.stats_above):
        if stats is not None and (missing := [name for name in STATS[kind] if name not in stats]):
            raise _unreadable(f"it has no {missing[0]}")
    return report


def _unreadable(why: str) -> InputError:
    return InputError(
        f"the result of the evaluation cannot be read ({printable(why)[:160]}); "
        "does the Python for training have another version of this package?"
    )


def _read_ytvis(document: _Ytvis) -> Report:
    objects: dict[int, list[ObjectResult]] = {}
    for item in document.per_object:
        result = ObjectResult(f"annotation {item.annotation}", item.best_iou, item.read())
        objects.setdefault(item.video, []).append(result)
    videos = [
        VideoResult(
            name=video.name,
            number=video.video,
            objects=video.objects,
            found=video.detections,
            score=video.best_iou,
            worst=video.read(),
            address=video.address,
            folder=None,
            files=tuple(video.file_names),
            per_object=tuple(objects.get(video.video, ())),
        )
        for video in document.per_video
    ]
    counts = (document.videos, document.objects, document.detections)
    return _report("ytvis", document, videos, counts, (), document.threshold, document.stats_threshold)


def _read_davis(document: _Davis) -> Report:
    objects: dict[str, list[ObjectResult]] = {}
    for item in document.per_object:
        result = ObjectResult(f"object {item.object}", item.mean, item.read())
        objects.setdefault(item.sequence, []).append(result)
    videos = [
        VideoResult(
            name=video.sequence,
            number=0,
            objects=video.objects,
            found=video.proposals,
            score=video.mean,
            worst=video.read(),
            address=video.address,
            folder=Path(video.folder),
            files=tuple(video.file_names),
            per_object=tuple(objects.get(video.sequence, ())),
        )
        for video in document.per_sequence
    ]
    counts = (document.sequences, document.objects, document.proposals)
    return _report("davis", document, videos, counts, document.notes, None, None)


def _report(
    kind: Kind,
    document: _Document,
    videos: Sequence[VideoResult],
    counts: tuple[int, int, int],
    notes: Sequence[str],
    threshold: float | None,
    above: Mapping[str, float] | None,
) -> Report:
    places = Path(document.ground_truth), Path(document.predictions)
    return Report(kind, *places, document.stats, threshold, above, tuple(videos), *counts, tuple(notes))
