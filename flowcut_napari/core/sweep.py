"""A map instead of a guess: the masks of videos under every setting of a grid, measured.

What frames are described by (features and flow) is computed once and kept in the cache; a grid over alpha and tau costs
its cuts. Every measured cell, a video under a setting, is a line of ``cells.jsonl`` at once: a sweep that was ended
goes on where it was, and a wider grid computes only what is new.
"""

from __future__ import annotations

import multiprocessing
import pickle
import tempfile
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flowcut_napari.core.cache import ArrayCache
from flowcut_napari.core.description import FrameDescriber, description_key
from flowcut_napari.core.errors import FlowCutError, InputError, OutputError
from flowcut_napari.core.files import check_writable, lock_folder
from flowcut_napari.core.grid import Grid, Setting
from flowcut_napari.core.ground_truth import GroundTruth, VideoTruth
from flowcut_napari.core.models import GPU_BATCH, ModelPlan
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.refine import CRF_INSTALL_HINT, crf_is_available
from flowcut_napari.core.rerun import carry_over
from flowcut_napari.core.store import VideoMasks, VideoRecord, load_masks, masks_basis, masks_path, update_masks
from flowcut_napari.core.sweep_cells import Cell, measure_cell
from flowcut_napari.core.sweep_journal import JOURNAL, append_cell, cell_key, read_journal, truth_fingerprint
from flowcut_napari.core.sweep_work import Result, Share, sweep_description, sweep_frames
from flowcut_napari.core.video import Video, VideoEntry
from flowcut_napari.core.video_job import choose_frames
from flowcut_napari.core.workers import interrupts_held, one_thread, start_worker

_CHUNK = 4
# Settings that are cut together: their results wait in memory for all frames of a video.
_TOGETHER = 64


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

    on_video: Callable[[str, int], None] = lambda name, steps: None
    on_steps: Callable[[int], None] = lambda steps: None
    on_cell: Callable[[Cell], None] = lambda cell: None
    on_note: Callable[[str], None] = lambda text: None


class Sweeper:
    """Runs a sweep into a folder with one set of processes; use it in a ``with`` statement.

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
        If the models of any setting cannot be built, before anything is computed.
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
        self.workers = max(1, workers)
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
        self._models: dict[Hashable, Any] = {}
        for model_plan, _ in self._groups:
            model_plan.build(self._models)  # wrong weights are to be found out here, once
        self._pool: ProcessPoolExecutor | None = None
        self._others: list[Any] = []

    def __enter__(self) -> Sweeper:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._close_pool(at_once=kind is not None)

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
        check_writable(self.folder)
        truths = {entry.name: self.plan.truth.video(entry.name) for entry in entries} if self.plan.truth else {}
        with lock_folder(self.folder, "sweep.lock", f"{self.folder}: another sweep is writing here"):
            known, damaged = read_journal(self.folder / JOURNAL)
            if damaged:
                watch.on_note(f"{self.folder / JOURNAL}: damaged in {damaged} lines, whose cells are measured again")
            cells = []
            for entry in entries:
                cells += self._video(entry, truths.get(entry.name), known, watch)
        return cells

    def _video(
        self, entry: VideoEntry, truth: VideoTruth | None, known: dict[str, dict[str, Any]], watch: Watch
    ) -> list[Cell]:
        video = entry.open()
        record = VideoRecord.of(video)
        indices = choose_frames(self.plan.frames, video)
        files = {index: file for index in indices if (file := video.frame_file(index)) is not None}
        places: dict[int, int] = {}
        if truth is not None:
            places = truth.places(record, files, indices, only_annotated=self.plan.only_annotated)
        about = truth_fingerprint(truth, indices, places)
        settings = self.plan.grid.settings
        found: dict[int, Cell] = {}
        todo: list[tuple[ModelPlan, dict[str, Any], list[tuple[int, str]]]] = []
        for model_plan, group in self._groups:
            provenance = model_plan.provenance()
            missing = []
            for place in group:
                made_with = _provenance(provenance, settings[place])
                basis = masks_basis(record.fingerprint, settings[place].parameters, made_with)
                key = cell_key(basis, about)
                is_kept = self._has_masks(settings[place], record.name, basis, indices)
                if key in known and (is_kept or not self.plan.keep_masks):
                    found[place] = Cell(record.name, settings[place], len(indices), known[key])
                else:
                    missing.append((place, key))
            todo += [
                (model_plan, provenance, missing[start : start + _TOGETHER])
                for start in range(0, len(missing), _TOGETHER)
            ]
        watch.on_video(record.name, len(indices) * len(settings))
        watch.on_steps(len(indices) * len(found))
        for place in sorted(found):
            watch.on_cell(found[place])
        for model_plan, provenance, missing in todo:
            chosen = tuple(settings[place].parameters for place, _ in missing)
            columns: list[list[Result]] = [[] for _ in missing]
            for results in self._cut(Share(video, model_plan, chosen, truth, places), indices):
                for column, result in zip(columns, results, strict=True):
                    column.append(result)
                watch.on_steps(len(results))
            for (place, key), column in zip(missing, columns, strict=True):
                setting = settings[place]
                frames = tuple(frame for frame, _ in column)
                masks = VideoMasks(record, setting.parameters, _provenance(provenance, setting), frames, files)
                if self.plan.keep_masks:
                    self._save(masks, setting)
                measures = measure_cell(masks, [score for _, score in column])
                append_cell(self.folder / JOURNAL, key, measures)
                found[place] = Cell(record.name, setting, len(indices), measures)
                known[key] = dict(measures)
                watch.on_cell(found[place])
        return [found[place] for place in sorted(found)]

    def _masks_file(self, setting: Setting, video: str) -> Path:
        folder = self.folder / "masks" / setting.text().replace(", ", "_").replace(" ", "-").replace("/", "-")
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

    def _cut(self, share: Share, indices: list[int]) -> Iterator[list[Result]]:
        """Yield for every frame, in order, its results under the settings of a share."""
        describes = share.plan.device == "cpu"
        if self.workers == 1:
            describer = share.plan.build(self._models)
            for chunk in _chunks(indices, GPU_BATCH):
                for description in _described(describer, share.video, chunk):
                    with one_thread():
                        results = share.results(description)
                    yield results
            return
        with tempfile.TemporaryDirectory(prefix="flowcut-") as folder:
            packed = Path(folder) / "share.pickle"
            packed.write_bytes(pickle.dumps(share))
            pending: deque[Future[list[list[Result]]]] = deque()
            try:
                for task in self._tasks(share, packed, indices, describes):
                    pending.append(self._submit(share.plan, *task))
                    if len(pending) > 2 * self.workers:
                        yield from pending.popleft().result()
                while pending:
                    yield from pending.popleft().result()
            except BrokenProcessPool:
                self._close_pool(at_once=True)
                raise FlowCutError(
                    f"{share.video.name}: a worker process was ended from outside, most likely for want of memory; "
                    "try fewer --workers"
                ) from None
            finally:
                for future in pending:
                    future.cancel()

    def _tasks(self, share: Share, packed: Path, indices: list[int], describes: bool) -> Iterator[tuple[Any, ...]]:
        if describes:
            for chunk in _chunks(indices, max(1, min(_CHUNK, len(indices) // (2 * self.workers)))):
                yield sweep_frames, packed, list(chunk)
            return
        describer = share.plan.build(self._models)
        for chunk in _chunks(indices, GPU_BATCH):
            for description in describer.describe(share.video, chunk):
                # The flow field is not cut, its features are: two megabytes less to send.
                yield sweep_description, packed, replace(description, flow=None)

    def _submit(self, plan: ModelPlan, *task: Any) -> Future[list[list[Result]]]:
        if self._pool is None:
            self._others = multiprocessing.active_children()
            self._pool = ProcessPoolExecutor(
                self.workers,
                # A forked child of a process that has used threads or CUDA can hang.
                mp_context=multiprocessing.get_context("spawn"),
                initializer=start_worker,
                initargs=(plan, False),
            )
        # A pool starts its processes one by one, as tasks come.
        with interrupts_held():
            return self._pool.submit(*task)

    def _close_pool(self, *, at_once: bool) -> None:
        if self._pool is None:
            return
        children = [child for child in multiprocessing.active_children() if child not in self._others]
        self._pool.shutdown(wait=not at_once, cancel_futures=True)
        if at_once:
            for child in children:
                child.terminate()
        self._pool = None


def _takers(parameters: CutParameters) -> tuple[str, ...]:
    return parameters.features, parameters.flow


def _provenance(of_plan: dict[str, Any], setting: Setting) -> dict[str, Any]:
    """Return provenance as a run with this setting alone would have it: settings of one plan may differ in the CRF."""
    crf = "pydensecrf" if setting.parameters.crf and crf_is_available() else None
    return {**of_plan, "crf": crf, "notes": [], "created": None, "seconds": None}


def _described(describer: FrameDescriber, video: Video, chunk: Sequence[int]) -> Iterator[Any]:
    described = describer.describe(video, chunk)
    while True:
        # Not around a yield: what the caller does between two frames keeps its threads.
        with one_thread():
            description = next(described, None)
        if description is None:
            return
        yield description


def _chunks(indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (indices[start : start + size] for start in range(0, len(indices), size))
