"""Datasets: the curated clips of many videos in one folder, with where all of it comes from.

A folder is made beside its place and moved there whole. What is in it depends on the masks and the parameters alone:
the same input gives the same bytes. Videos pass one by one, so memory does not grow with their number.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import flowcut_napari
from flowcut_napari.core.about import ABOUT, SCHEMA, SPLITS_SCHEMA, WRITTEN, About, compact, is_replaceable
from flowcut_napari.core.clips import CuratedVideo, Yield, curate_video, describe_idle_verdicts
from flowcut_napari.core.decisions import HandMask, decision_to_json, describe_stale
from flowcut_napari.core.errors import FlowCutError, InputError, OutputError
from flowcut_napari.core.files import made_whole
from flowcut_napari.core.formats.coco import CocoWriter
from flowcut_napari.core.formats.davis import DavisWriter
from flowcut_napari.core.formats.spool import Spool, write_document
from flowcut_napari.core.formats.ytvis import YtvisWriter
from flowcut_napari.core.frame_files import find_frames, spare
from flowcut_napari.core.images import natural_key
from flowcut_napari.core.parameters import CurationParameters, DatasetFormat, FrameFilesMode
from flowcut_napari.core.sources import name_of, split_by_video
from flowcut_napari.core.store import SUFFIX, VideoMasks, load_masks
from flowcut_napari.core.video import VideoEntry

# A video, how many of its frames are in their place, and how many there will be.
OnFrame: TypeAlias = Callable[[str, int, int], None]
# What to do where no clip is left, by the most common reason.
_ADVICE = {
    "no_mask": "make masks of more frames, or with other parameters",
    "no_match": "try a lower --iou or smaller --gaps",
    "rejected": "nothing is left of what was not rejected",
    "not_accepted": "accept something, or leave --only-accepted away",
}


class _Writer(Protocol):
    def frame_places(self, curated: CuratedVideo, names: Mapping[int, str]) -> Iterator[tuple[int, Path]]: ...
    def add(self, curated: CuratedVideo, names: Mapping[int, str]) -> None: ...
    def finish(self) -> tuple[int, int]: ...
    def close(self) -> None: ...


_WRITERS: dict[DatasetFormat, Callable[[Path], _Writer]] = {
    "ytvis": YtvisWriter,
    "coco": CocoWriter,
    "davis": DavisWriter,
}


@dataclass(frozen=True)
class ExportPlan:
    """How a dataset is made.

    Attributes
    ----------
    parameters : CurationParameters
    format : str
        ``ytvis``, ``coco`` or ``davis``.
    frame_files : str
        ``copy``; ``link``, hard links, which take no room on the same file system; ``reference``, symbolic links to
        where the frames are; ``none``, annotations alone.
    moved : mapping of str to VideoEntry
        Videos that are no longer where their masks say, by name.
    overwrite : bool
        Whether a dataset in the same place is replaced.
    """

    parameters: CurationParameters = field(default_factory=CurationParameters)
    format: DatasetFormat = "ytvis"
    frame_files: FrameFilesMode = "copy"
    moved: Mapping[str, VideoEntry] = field(default_factory=dict)
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.parameters.clip_length is None:
            # A sequence of DAVIS is a whole video.
            length = "all" if self.format == "davis" else 2
            chosen = self.parameters.model_copy(update={"clip_length": length})
            object.__setattr__(self, "parameters", chosen)


@dataclass
class ExportReport:
    """What became of the videos.

    Attributes
    ----------
    folder : Path
        The dataset.
    plan : ExportPlan
        How it was made.
    yields : dict of int to Yield
        Over all videos, by gap.
    videos : int
        Videos with a clip.
    empty : list of str
        Videos without one.
    failed : list of (str, str)
        Videos that could not be read, with the reason.
    notes : list of str
        What a user should know.
    """

    folder: Path
    plan: ExportPlan
    yields: dict[int, Yield] = field(default_factory=dict)
    videos: int = 0
    empty: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def total(self) -> Yield:
        """The sum over all gaps."""
        total = Yield()
        for figures in self.yields.values():
            total.add(figures)
        return total


def export_dataset(
    files: Sequence[Path],
    folder: Path,
    plan: ExportPlan,
    on_video: Callable[[str], None] | None = None,
    on_frame: OnFrame | None = None,
) -> ExportReport:
    """Make a dataset of the masks of videos.

    A video whose masks or frames cannot be read is left out and reported, the others are exported.

    Parameters
    ----------
    files : sequence of Path
        Masks files (see `find_masks`); their order does not matter.
    folder : Path
        Of the dataset.
    plan : ExportPlan
    on_video : callable, optional
        Called with the name of every video when it is done with.
    on_frame : callable, optional
        Called with the name of a video, how many frames of it are in their place, and how many there will be.

    Raises
    ------
    InputError
        If something else than a dataset is in its place, or a dataset and it must not be replaced, or there is no
        clip at all.
    OutputError
        If it cannot be written; nothing half-written is left.
    """
    return _export(files, folder, folder, folder, plan, on_video, on_frame)


def _export(
    files: Sequence[Path],
    folder: Path,
    final: Path,
    replaced: Path,
    plan: ExportPlan,
    on_video: Callable[[str], None] | None,
    on_frame: OnFrame | None,
) -> ExportReport:
    """Make a dataset in a folder that is or will be `final`, in or for the folder that is `replaced`."""
    report = ExportReport(final, plan)
    with made_whole(folder, is_replaceable, plan.overwrite) as part:
        about = _About(part, plan)
        writer = _WRITERS[plan.format](part)
        try:
            for file in sorted(files, key=lambda file: natural_key(name_of(file))):
                _export_video(file, writer, about, plan, report, replaced, on_frame)
                if on_video:
                    on_video(name_of(file))
            if not report.videos:
                raise InputError(_why_no_clip(report))
            about.finish(report, writer.finish())
        except OSError as error:
            if isinstance(error, FlowCutError):
                raise
            raise OutputError(f"{final}: cannot be written ({error.strerror or error})") from None
        finally:
            writer.close()
            about.close()
    return report


def export_splits(
    files: Sequence[Path],
    folder: Path,
    plan: ExportPlan,
    shares: Mapping[str, float],
    on_video: Callable[[str], None] | None = None,
    on_frame: OnFrame | None = None,
) -> dict[str, ExportReport]:
    """Make a dataset for each split, ``FOLDER/SPLIT``, all of them or none; see `export_dataset`, `split_by_video`."""
    by_name = {name_of(file): file for file in files}
    splits = split_by_video(by_name, shares)
    reports = {}
    with made_whole(folder, is_replaceable, plan.overwrite) as part:
        for split, names in splits.items():
            try:
                of_split = [by_name[name] for name in names]
                place = folder / split
                reports[split] = _export(of_split, part / split, place, folder, plan, on_video, on_frame)
            except InputError as error:
                raise InputError(f"split {split}: {error}") from None
        (part / ABOUT).write_text(compact({"schema": SPLITS_SCHEMA, "splits": splits}) + "\n", encoding="utf-8")
    return reports


def curate_file(file: Path, parameters: CurationParameters) -> CuratedVideo:
    """Make the clips of a masks file, as an export does.

    Raises
    ------
    InputError
        If it cannot be read, is called after another video, or holds decisions that contradict each other.
    """
    masks = load_masks(file)
    if masks.video.name != name_of(file):
        raise InputError(f"{file}: holds the masks of {masks.video.name}; call it {masks.video.name}{SUFFIX}")
    return curate_video(masks, parameters)


def _export_video(
    file: Path,
    writer: _Writer,
    about: _About,
    plan: ExportPlan,
    report: ExportReport,
    replaced: Path,
    on_frame: OnFrame | None,
) -> None:
    name = name_of(file)
    try:
        curated = curate_file(file, plan.parameters)
        masks = curated.masks
        spare([file, masks.video.path, *([plan.moved[name].place] if name in plan.moved else [])], replaced)
        if curated.clips:
            frames = find_frames(masks, plan.frame_files, plan.moved)
            spare(frames.sources(), replaced)
            places = list(writer.frame_places(curated, frames.names))
            _place_frames(frames.place, places, plan.frame_files, partial(on_frame, name) if on_frame else None)
            writer.add(curated, frames.names)
    except InputError as error:
        report.failed.append((name, str(error)))
        return
    if idle := describe_idle_verdicts(masks, plan.parameters):
        report.notes.append(f"{name}: {idle}")
    if masks.decisions.stale:
        report.notes.append(
            f"{name}: {describe_stale(masks.decisions.stale)} of an earlier run without effect, because the masks "
            "were made anew with other parameters"
        )
    for gap, figures in curated.yields.items():
        report.yields.setdefault(gap, Yield()).add(figures)
    if curated.clips:
        report.videos += 1
    else:
        report.empty.append(name)
    about.add(curated)


def _place_frames(
    place: Callable[[int, Path, FrameFilesMode], None],
    places: Sequence[tuple[int, Path]],
    mode: FrameFilesMode,
    tell: Callable[[int, int], None] | None,
) -> None:
    """Place the frames of a video, or none of them."""
    folders = sorted({target.parent for _, target in places})
    try:
        if mode != "none":
            for folder in folders:
                folder.mkdir(parents=True)
        for done, (index, target) in enumerate(places, 1):
            place(index, target, mode)
            if tell:
                tell(done, len(places))
    except (InputError, OSError) as error:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError) and getattr(error, "errno", None) == errno.ENAMETOOLONG:
            raise InputError(f"{places[0][1].parent.name}: a name in it is too long for the dataset's folder") from None
        raise


class _About:
    """Writes ``dataset.json``: where everything comes from, what became of it, and who decided what."""

    def __init__(self, folder: Path, plan: ExportPlan) -> None:
        self._path = folder / ABOUT
        self._plan = plan
        self._videos = Spool(folder / ".about")
        self._stage1: list[dict[str, Any]] = []

    def add(self, curated: CuratedVideo) -> None:
        masks = curated.masks
        made_with = {"parameters": masks.parameters.model_dump(), "provenance": _lasting(masks.provenance)}
        if made_with not in self._stage1:
            self._stage1.append(made_with)
        content = _hand_work(masks)
        self._videos.add(
            compact(
                {
                    "name": masks.video.name,
                    "fingerprint": masks.video.fingerprint,
                    "height": masks.video.height,
                    "width": masks.video.width,
                    "frames": [frame.index for frame in masks.frames],
                    "stage1": self._stage1.index(made_with),
                    "stage2": 0,
                    "clips": len(curated.clips),
                    "tracklets": [
                        {"identity": item.identity, "frames": len(item.members), "weakest_iou": item.weakest}
                        for item in curated.tracklets
                    ],
                    "yield": _yields(curated.yields),
                    **content,
                }
            )
        )

    def finish(self, report: ExportReport, written: tuple[int, int]) -> None:
        total = report.total
        counts = {
            "videos": report.videos,
            "videos_without_clip": len(report.empty),
            "videos_failed": len(report.failed),
            "clips": total.clips,
            "instances": total.instances,
            **dict(zip(WRITTEN[self._plan.format], written, strict=True)),
        }
        parameters = self._plan.parameters.model_dump(mode="json")
        about = About(
            schema=SCHEMA,
            format=self._plan.format,
            frame_files=self._plan.frame_files,
            provenance={"flowcut_napari": flowcut_napari.__version__},
            counts=counts,
            parameters=parameters,
            **{"yield": _yields(report.yields)},
            # A file name need not be Unicode; what stands in JSON is.
            failed=[name.encode(errors="backslashreplace").decode() for name, _ in report.failed],
            stage1=self._stage1,
            stage2=[parameters],
        )
        write_document(self._path, {**about.to_parts(), "videos": self._videos})

    def close(self) -> None:
        self._videos.close()


def _hand_work(masks: VideoMasks) -> dict[str, Any]:
    return {
        "decisions": [decision_to_json(decision) for decision in masks.decisions.made],
        "masks_by_hand": [_without_mask(mask) for mask in masks.hand_masks()],
        "stale": [
            _without_mask(item.what) if isinstance(item.what, HandMask) else decision_to_json(item.what)
            for item in masks.decisions.stale
        ],
    }


def _without_mask(made: HandMask) -> dict[str, Any]:
    return {"kind": "mask", "instance": [made.frame, made.instance.id], "origin": made.instance.origin}


def _yields(yields: Mapping[int, Yield]) -> dict[str, Any]:
    return {str(gap): figures.to_json() for gap, figures in sorted(yields.items())}


def _lasting(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return provenance without what differs between two runs of the same."""
    return {name: value for name, value in provenance.items() if name not in ("created", "seconds", "notes")}


def _why_no_clip(report: ExportReport) -> str:
    failed = f"; {len(report.failed)} failed, the first: {report.failed[0][1]}" if report.failed else ""
    if report.failed and not report.empty:
        return f"no dataset: none of the videos can be used{failed}"
    dropped = report.total.dropped_clips
    if not report.total.candidates:
        why = "no video has frames with masks that are a gap apart; make masks of more frames, or take smaller gaps"
        return f"no dataset: {why}{failed}"
    reasons = ", ".join(f"{reason} {count}" for reason, count in dropped.most_common())
    advice = _ADVICE[dropped.most_common(1)[0][0]]
    return f"no dataset: none of {report.total.candidates} clips is left ({reasons}); {advice}{failed}"
