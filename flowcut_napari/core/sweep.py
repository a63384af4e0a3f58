"""A map instead of a guess: the masks of videos under every setting of a grid, measured.

What frames are described by (features and flow) is computed once and kept in the cache; a grid over alpha and tau costs
its cuts. Every measured cell, a video under a setting, is a line of ``cells.jsonl`` at once, and the frames of those
that are not whole wait in ``partial``: a sweep that was ended goes on where it was, and a wider grid computes only what
is new.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowcut_napari.core.cache import ArrayCache
from flowcut_napari.core.description import description_key
from flowcut_napari.core.errors import InputError, OutputError
from flowcut_napari.core.files import check_writable, lock_folder
from flowcut_napari.core.grid import Grid, Setting, short
from flowcut_napari.core.ground_truth import GroundTruth, VideoTruth
from flowcut_napari.core.models import ModelPlan
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.refine import CRF_INSTALL_HINT, crf_is_available
from flowcut_napari.core.rerun import carry_over
from flowcut_napari.core.scoring import FrameScore
from flowcut_napari.core.store import VideoMasks, VideoRecord, load_masks, masks_basis, masks_path, update_masks
from flowcut_napari.core.sweep_cells import Cell, measure_cell
from flowcut_napari.core.sweep_journal import JOURNAL, append_cell, cell_key, read_journal, truth_fingerprint
from flowcut_napari.core.sweep_partial import PartialFrames
from flowcut_napari.core.sweep_pool import SweepPool
from flowcut_napari.core.sweep_work import Result, Share
from flowcut_napari.core.video import Video, VideoEntry
from flowcut_napari.core.video_job import choose_frames

# Settings that are cut together: their results wait in memory for all frames of a video.
_TOGETHER = 64
# Frames after which a cell is told of for the first time.
_FIRST_TOLD = 4


@dataclass(frozen=True)
class SweepPlan:
    """What is to be swept.

    Attributes
    ----------
    grid : Grid
    frames : slice
        Of the frames of each video.
    truth : GroundTruth or None
    only_annotated : bool
        See `VideoTruth.places`.
    weights : dict of str to Path
    device : str
    keep_masks : bool
        Whether the masks of every cell are written, into a folder for each setting.
    """

    grid: Grid
    frames: slice = field(default_factory=lambda: slice(None))
    truth: GroundTruth | None = None
    only_annotated: bool = False
    weights: Mapping[str, Path] = field(default_factory=dict)
    device: str = "auto"
    keep_masks: bool = False


@dataclass
class Watch:
    """Who wants to know how a sweep goes on: what there is to do, what is done, and what is to be said."""

    # The name of a video, its cuts (all settings of all frames), and how many of them are known from before.
    on_video: Callable[[str, int, int], None] = lambda name, cuts, known: None
    on_steps: Callable[[int], None] = lambda cuts: None
    on_cell: Callable[[Cell], None] = lambda cell: None
    # A cell as it looks after its first frames; costs a little, so only where somebody listens.
    on_part: Callable[[Cell], None] | None = None
    on_note: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class _Looked:
    """A video, the frames of it that are cut, and what they are measured by."""

    video: Video
    record: VideoRecord
    indices: list[int]
    files: dict[int, str]
    truth: VideoTruth | None
    places: dict[int, int]


@dataclass(frozen=True)
class _Missing:
    """A cell that is not known: its place in the grid, its key, and where its masks come from."""

    place: int
    key: str
    setting: Setting
    provenance: dict[str, Any]


@dataclass(frozen=True)
class _Todo:
    """Cells of a video whose frames are described alike and cut together."""

    plan: ModelPlan
    missing: list[_Missing]


class Sweeper:
    """Runs a sweep into a folder with one set of processes; use it in a ``with`` statement, which holds the folder.

    Parameters
    ----------
    plan : SweepPlan
    folder : Path
    workers : int
        Processes; 1 works in this one. With more, a script needs the usual ``if __name__ == "__main__":``.
    cache : ArrayCache, optional
        Where features and flow are kept.
    fetch : bool
        Whether the network may be asked for weights that are nowhere to be found.

    Raises
    ------
    InputError, WeightsError
        If weights are missing or not used; on entering, if another process sweeps into the folder or a model cannot
        be built.
    OutputError
        On entering, if the folder cannot be written.
    """

    def __init__(
        self,
        plan: SweepPlan,
        folder: Path,
        *,
        workers: int = 1,
        cache: ArrayCache | None = None,
        fetch: bool = True,
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.notices: list[str] = []
        if cache is not None and (trouble := cache.check()):
            self.notices.append(trouble)
            cache = None
        if any(setting.parameters.crf for setting in plan.grid.settings) and not crf_is_available():
            self.notices.append(f"pydensecrf is not installed, masks stay unrefined; to mend it: {CRF_INSTALL_HINT}")
        # Settings, by their place in the grid, whose frames are described alike.
        self._groups: list[tuple[ModelPlan, list[int]]] = []
        by_key: dict[Hashable, list[int]] = {}
        for place, setting in enumerate(plan.grid.settings):
            by_key.setdefault(description_key(setting.parameters), []).append(place)
        for places in by_key.values():
            parameters = plan.grid.settings[places[0]].parameters
            named = {name: path for name, path in plan.weights.items() if name in _takers(parameters)}
            self._groups.append((ModelPlan.make(parameters, named, plan.device, cache, fetch=fetch), places))
        used = {name for setting in plan.grid.settings for name in _takers(setting.parameters)}
        if unused := sorted(set(plan.weights) - used):
            raise InputError(f"weights given for {unused[0]}, which no setting of this sweep uses")
        self._pool = SweepPool(max(1, workers))
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Sweeper:
        check_writable(self.folder)
        self._held.enter_context(
            lock_folder(self.folder, "sweep.lock", f"{self.folder}: another sweep is writing here")
        )
        with contextlib.ExitStack() as stack:
            stack.push(self._held)
            for model_plan, _ in self._groups:
                self._pool.build(model_plan)  # wrong weights are to be found out here, once
            stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.close(at_once=kind is not None)
        self._held.close()

    def stop(self) -> None:
        """End the processes at once; the folder stays held."""
        self._pool.close(at_once=True)

    def run(self, entries: Sequence[VideoEntry], watch: Watch | None = None) -> list[Cell]:
        """Measure all cells that the folder does not hold yet; return all, in the order of videos and settings.

        Raises
        ------
        InputError
            If a video cannot be read, or its ground truth is missing or does not fit.
        OutputError
            If the folder cannot be written.
        """
        watch = watch or Watch()
        for text in self.notices:
            watch.on_note(text)
        known, damaged = read_journal(self.folder / JOURNAL)
        if damaged:
            lines = "1 line, whose cell is" if damaged == 1 else f"{damaged} lines, whose cells are"
            watch.on_note(f"{self.folder / JOURNAL}: damaged in {lines} measured again")
        if len(entries) > 1:
            for entry in entries:  # what does not fit is not to be found out after hours
                self._look_at(entry)
        cells = []
        for entry in entries:
            cells += self._video(self._look_at(entry), known, watch)
        return cells

    def _look_at(self, entry: VideoEntry) -> _Looked:
        video = entry.open()
        record = VideoRecord.of(video)
        indices = choose_frames(self.plan.frames, video)
        files = {index: file for index in indices if (file := video.frame_file(index)) is not None}
        truth = self.plan.truth.video(entry.name) if self.plan.truth else None
        places: dict[int, int] = {}
        if truth is not None:
            places = truth.places(record, files, indices, only_annotated=self.plan.only_annotated)
            truth.frame(next(iter(places.values())), (video.height, video.width))  # one of another size is said now
        return _Looked(video, record, indices, files, truth, places)

    def _video(self, looked: _Looked, known: dict[str, dict[str, Any]], watch: Watch) -> list[Cell]:
        record, frames = looked.record, len(looked.indices)
        about = truth_fingerprint(looked.truth, looked.indices, looked.places)
        settings = self.plan.grid.settings
        found: dict[int, Cell] = {}
        todo: list[_Todo] = []
        kept = PartialFrames(self.folder, cell_key(record.fingerprint, about), record, looked.indices, looked.places)
        there = kept.read()
        for model_plan, group in self._groups:
            of_plan, missing = model_plan.provenance(), []
            for place in group:
                provenance = _provenance(of_plan, settings[place])
                basis = masks_basis(record.fingerprint, settings[place].parameters, provenance)
                key = cell_key(basis, about)
                is_kept = self._has_masks(settings[place], record.name, basis, looked.indices)
                if key in known and (is_kept or not self.plan.keep_masks):
                    found[place] = Cell(record.name, settings[place], frames, known[key])
                else:
                    missing.append(_Missing(place, key, settings[place], provenance))
            for alike in _by_known_frames(missing, there):
                todo += [
                    _Todo(model_plan, alike[start : start + _TOGETHER]) for start in range(0, len(alike), _TOGETHER)
                ]
        waiting = [len(there.get(item.key, ())) for task in todo for item in task.missing]
        watch.on_video(record.name, frames * len(settings), frames * len(found) + sum(waiting))
        for place in sorted(found):
            watch.on_cell(found[place])
        for task in todo:
            for item, measures in self._measure(task, looked, kept, there, watch):
                append_cell(self.folder / JOURNAL, item.key, measures)
                found[item.place] = Cell(record.name, item.setting, frames, measures)
                known[item.key] = dict(measures)
                watch.on_cell(found[item.place])
            kept.remove_if_whole(known)
        return [found[place] for place in sorted(found)]

    def _measure(
        self,
        task: _Todo,
        looked: _Looked,
        kept: PartialFrames,
        there: Mapping[str, Mapping[int, Result]],
        watch: Watch,
    ) -> Iterator[tuple[_Missing, dict[str, float | None]]]:
        """Cut the frames that are not there yet under the settings of a task; yield the measures of each."""
        chosen = tuple(item.setting.parameters for item in task.missing)
        share = Share(looked.video, task.plan, chosen, looked.truth, looked.places)
        keys = [item.key for item in task.missing]
        # Of all of them the same frames are there.
        results = {index: [there[key][index] for key in keys] for index in there.get(keys[0], ())}
        left = [index for index in looked.indices if index not in results]
        told = _FIRST_TOLD
        for index, of_frame in zip(left, self._pool.cut(share, left), strict=True):
            results[index] = of_frame
            kept.append(dict(zip(keys, of_frame, strict=True)))
            watch.on_steps(len(of_frame))
            if watch.on_part is not None and told <= len(results) < len(looked.indices):
                # At each doubling: all of them together take no longer than the whole.
                told = 2 * len(results)
                for item, (masks, scores) in zip(task.missing, _columns(task.missing, looked, results), strict=True):
                    measures = measure_cell(masks, scores)
                    watch.on_part(Cell(looked.record.name, item.setting, len(results), measures))
        for item, (masks, scores) in zip(task.missing, _columns(task.missing, looked, results), strict=True):
            if self.plan.keep_masks:
                self._save(masks, item.setting)
            yield item, measure_cell(masks, scores)

    def _masks_file(self, setting: Setting, video: str) -> Path:
        words = (f"{name}-{_exact(value)}" for name, value in setting.values)
        folder = self.folder / "masks" / ("_".join(words).replace("/", "-") or "as-given")
        return masks_path(folder, video)

    def _has_masks(self, setting: Setting, video: str, basis: str, indices: list[int]) -> bool:
        """Return whether these masks are kept; the name tells only what was varied, and others may lie there."""
        path = self._masks_file(setting, video)
        if not self.plan.keep_masks or not path.exists():
            return False
        there = load_masks(path)
        return there.basis == basis and [frame.index for frame in there.frames] == indices

    def _save(self, masks: VideoMasks, setting: Setting) -> None:
        path = self._masks_file(setting, masks.video.name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path.parent}: cannot be made ({error.strerror or error})") from None
        # What a person drew on or decided about the masks that are there is kept, as with any other run.
        update_masks(path, lambda there: carry_over(there, masks) if there is not None else masks)


def _takers(parameters: CutParameters) -> tuple[str, ...]:
    return parameters.features, parameters.flow


def _by_known_frames(
    missing: Sequence[_Missing], there: Mapping[str, Mapping[int, Result]]
) -> Iterable[list[_Missing]]:
    """Put those cells together of which the same frames are there: they need the same ones cut."""
    groups: dict[frozenset[int], list[_Missing]] = {}
    for item in missing:
        groups.setdefault(frozenset(there.get(item.key, ())), []).append(item)
    return groups.values()


def _columns(
    missing: Sequence[_Missing], looked: _Looked, results: Mapping[int, list[Result]]
) -> Iterator[tuple[VideoMasks, list[FrameScore | None]]]:
    """Yield for every setting the masks of all frames that there are, and their scores."""
    indices = sorted(results)
    for column, item in enumerate(missing):
        of_setting = [results[index][column] for index in indices]
        frames = tuple(frame for frame, _ in of_setting)
        files = {index: looked.files[index] for index in indices if index in looked.files}
        masks = VideoMasks(looked.record, item.setting.parameters, item.provenance, frames, files)
        yield masks, [score for _, score in of_setting]


def _exact(value: Any) -> str:
    """Return a value as `short` does, but where that rounds: values that differ have folders that do."""
    text = short(value)
    return repr(value) if isinstance(value, float) and float(text) != value else text


def _provenance(of_plan: dict[str, Any], setting: Setting) -> dict[str, Any]:
    """Return provenance as a run with this setting alone would have it: settings of one plan may differ in the CRF."""
    crf = "pydensecrf" if setting.parameters.crf and crf_is_available() else None
    return {**of_plan, "crf": crf, "notes": [], "created": None, "seconds": None}
