"""The training of a model, from start to end; read it top to bottom.

Everything that is random at a step is a function of the seed, the step and the rank: samples, their augmentation,
dropout, the points of the loss. So a run that stops and goes on is the run that did not stop, bit for bit on a CPU.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torchvision
from torch.nn.parallel import DistributedDataParallel

from flowcut_napari import __version__
from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.core.weights import sha256_of
from flowcut_training.config import OptimizerParameters, TrainingConfig
from flowcut_training.data import Batch, ClipSource, WholeClips, open_clips, open_stills, training_batches, whole_clips
from flowcut_training.engine.average import WeightAverage
from flowcut_training.engine.checkpoints import (
    Checkpoint,
    State,
    best_checkpoint,
    list_checkpoints,
    restore_checkpoint,
    save_checkpoint,
)
from flowcut_training.engine.events import RunLog
from flowcut_training.engine.memory import out_of_memory_advice, peak_memory_gib
from flowcut_training.engine.optimizer import learning_rate, make_optimizer, set_learning_rate
from flowcut_training.engine.periodic import evaluate_model
from flowcut_training.engine.ranks import Ranks, join_ranks
from flowcut_training.engine.run_folder import CLIPS_INDEX, EVALUATION_INDEX, STILLS_INDEX, hold_run, keep_config
from flowcut_training.engine.start import start_model
from flowcut_training.engine.stopping import StopRequests
from flowcut_training.loss import Losses, SetCriterion, Share
from flowcut_training.loss.matcher import NotFiniteError
from flowcut_training.model import normalize
from flowcut_training.model.video_mask2former import trained_parameters
from flowcut_training.weight_files import About, build_model


@dataclass(frozen=True)
class TrainingPlan:
    """What to train and where.

    Attributes
    ----------
    dataset : Path
        A folder that `flowcut curate` made, or one of that form.
    run : Path
        The run's folder.
    config : TrainingConfig
    resume : bool
        Whether to go on with what is in the folder.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    weights : mapping of str to path
        Files for names that ``run.init`` may have.
    """

    dataset: Path
    run: Path
    config: TrainingConfig
    resume: bool = False
    device: str = "auto"
    weights: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    end : {"done", "stopped"}
    step : int
        Steps that are done.
    reason : str or None
        Of a stop: ``stop file`` or the name of a signal.
    signal : int or None
        Its number.
    checkpoint : Path
        The last one.
    best : Path or None
        The best one that was evaluated.
    loss : float or None
        Of the last step.
    score : float or None
        AP of the best one.
    broken_clips : int
        Clips that could not be read and were passed over, counted each time.
    """

    end: Literal["done", "stopped"]
    step: int
    reason: str | None
    signal: int | None
    checkpoint: Path
    best: Path | None
    loss: float | None
    score: float | None
    broken_clips: int


class TrainingError(FlowCutError):
    """Training cannot go on; the last checkpoint is whole."""


class _KnownToAll(FlowCutError):
    """An error that every process has been told of, so that the first alone need write it down."""


@dataclass
class _Progress:
    """Where a run is."""

    step: int
    broken_clips: int
    loss: float | None = None
    saved_at: int | None = None


def train(plan: TrainingPlan, listen: Callable[[dict[str, Any]], None] | None = None) -> Outcome:
    """Train a model; with torchrun, in each of its processes.

    Parameters
    ----------
    plan : TrainingPlan
    listen : callable, optional
        Gets every event, in the first process.

    Raises
    ------
    FlowCutError
        In one line, whatever keeps it from starting or going on; an ``error`` event says the same.
    """
    with join_ranks(plan.device) as ranks, ExitStack() as stack:
        # The folder is looked at by one process, before any other may write into it.
        checkpoint = stack.enter_context(hold_run(plan.run, plan.resume)) if ranks.is_first else None
        checkpoint = ranks.broadcast(checkpoint)
        log = RunLog(plan.run, listen if ranks.is_first else None)
        requests = stack.enter_context(StopRequests(plan.run))
        try:
            if plan.config.run.tensorboard and ranks.is_first:
                log.open_tensorboard()
            return _Run(plan, ranks, log, requests, checkpoint).go()
        except Exception as error:
            text = _in_one_line(error, plan.config)
            if ranks.is_first or not isinstance(error, _KnownToAll):
                log.event("error", reason=text, rank=ranks.rank)
            if isinstance(error, torch.OutOfMemoryError):
                raise TrainingError(text) from None
            raise


class _Run:
    """A run in one process: what it works with, and its steps."""

    def __init__(
        self, plan: TrainingPlan, ranks: Ranks, log: RunLog, requests: StopRequests, checkpoint: Checkpoint | None
    ) -> None:
        self.plan, self.config, self.ranks, self.log, self.requests = plan, plan.config, ranks, log, requests
        self.clips_of_part = _clips_of_part(plan.config.optimizer, ranks.world)
        self.precision = _precision(plan.config.optimizer.precision, ranks.device)
        self.clips, self.stills, self.evaluation = self._open_data()
        self.dataset = self.ranks.broadcast(_identity(self.clips, self.stills) if ranks.is_first else "")

        if checkpoint is None:
            model, notes = start_model(self.config, plan.weights)
        else:
            model, notes = build_model(self.config.model), []
        self.model = model.to(ranks.device).train()
        self.optimizer = make_optimizer(self.model, self.config.optimizer)
        decay = self.config.optimizer.ema
        self.average = WeightAverage(self.model, decay) if decay else None
        self.progress = _Progress(0, 0)
        if checkpoint is not None:
            if checkpoint.state.dataset != self.dataset:
                raise FlowCutError(f"{plan.dataset}: is not the dataset that this run began with; give that one")
            restore_checkpoint(checkpoint, self.model, self.optimizer, self.average.weights if self.average else None)
            self.progress = _Progress(checkpoint.state.step, checkpoint.state.broken_clips, None, checkpoint.state.step)
        self.criterion = SetCriterion(self.config.loss)
        self.trained: torch.nn.Module = self.model
        if ranks.world > 1:
            devices = [ranks.device] if ranks.device.type == "cuda" else None
            # Statistics are frozen: there is nothing to send but gradients.
            self.trained = DistributedDataParallel(self.model, devices, broadcast_buffers=False)
        if ranks.is_first:
            keep_config(plan.run, self.config)
            self.log.rewind(self.progress.step)
            self._say_start(checkpoint, notes)

    def go(self) -> Outcome:
        """Train to the last step, or until somebody asks to stop."""
        optimizer, run = self.config.optimizer, self.config.run
        batches = training_batches(
            self.clips,
            self.stills,
            self.config.data,
            seed=run.seed,
            batch=self.clips_of_part,
            start=min(self.progress.step, optimizer.steps),
            steps=optimizer.steps,
            rank=self.ranks.rank,
            world=self.ranks.world,
            accumulation=optimizer.accumulation,
        )
        began = time.monotonic()
        with closing(batches):  # type: ignore[type-var]  # a generator
            while self.progress.step < optimizer.steps:
                before = time.monotonic()
                parts, problem = self._draw(batches)
                waited = time.monotonic() - before
                # One exchange tells every process whether to stop, whether all have clips, and what the batch holds.
                asked, failed, *shares = self.ranks.total(
                    float(self.requests.reason is not None), float(problem is not None), *self._sizes(parts)
                )
                if failed:
                    raise _KnownToAll(next(text for text in self.ranks.gather(problem) if text is not None))
                if asked:
                    return self._stop()
                figures = self._step(parts, shares)
                self.progress.step += 1
                seconds = time.monotonic() - before
                self._after_step(parts, {**figures, "seconds": seconds, "data_wait": waited / seconds})
        return self._end(time.monotonic() - began)

    def _draw(self, batches: Iterator[Batch]) -> tuple[list[Batch], str | None]:
        """Return the batches of a step; where a clip cannot be read, what to say of it."""
        try:
            return [next(batches) for _ in range(self.config.optimizer.accumulation)], None
        except FlowCutError as error:
            return [], str(error)

    def _sizes(self, parts: list[Batch]) -> tuple[float, float]:
        """Return the instances of batches, and the class weights of their queries."""
        counts = [len(masks) for part in parts for masks in part.masks]
        queries = self.config.model.num_queries
        return float(sum(counts)), sum(self.criterion.class_weight(count, queries) for count in counts)

    def _step(self, parts: list[Batch], sizes: list[float]) -> dict[str, float]:
        """Take one optimizer step on all parts; return its figures.

        Raises
        ------
        TrainingError
            If the loss or the gradient is not finite; the weights are then those of before the step.
        """
        step, optimizer = self.progress.step, self.config.optimizer
        torch.manual_seed(_seed_of(self.config.run.seed, step, self.ranks.rank))
        # Gradients are averaged over processes and parts: dividing by the mean over them makes that the whole batch's.
        pieces = self.ranks.world * len(parts)
        instances, class_weight = sizes
        share = Share(max(1.0, instances) / pieces, class_weight / pieces)
        self.optimizer.zero_grad(set_to_none=True)
        figures: dict[str, float] = {}
        for number, part in enumerate(parts):
            is_last = number == len(parts) - 1
            # Gradients are exchanged once, with those of the last part.
            wait = nullcontext() if is_last or self.ranks.world == 1 else self.trained.no_sync()  # type: ignore[operator]
            with wait:
                losses = self._forward(part, share)
                values = _values(losses)
                figures = {name: figures.get(name, 0.0) + value / pieces for name, value in values.items()}
                if is_last:
                    figures = self._agree(figures, parts)
                if losses is not None:
                    (losses.total / len(parts)).backward()
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), optimizer.clip_norm))
        if not np.isfinite(norm):
            raise self._not_finite("gradient", [part.names for part in parts])
        rate = learning_rate(step, optimizer)
        set_learning_rate(self.optimizer, rate)
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        self.progress.loss = figures["loss"]
        return {**figures, "gradient_norm": norm, "lr": rate}

    def _forward(self, part: Batch, share: Share) -> Losses | None:
        """Return the losses of a batch, None where predictions are not finite."""
        device = self.ranks.device
        frames = part.frames.to(device, non_blocking=True)
        masks = [of_clip.to(device, non_blocking=True) for of_clip in part.masks]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            predictions = self.trained(normalize(frames, part.sizes))
        try:
            return self.criterion(predictions, masks, share)
        except NotFiniteError:
            return None

    def _agree(self, figures: dict[str, float], parts: list[Batch]) -> dict[str, float]:
        """Return the figures over all processes; raise in all of them if one has no finite loss."""
        totals = dict(zip(figures, self.ranks.total(*figures.values()), strict=True))
        if not all(np.isfinite(value) for value in totals.values()):
            names = self.ranks.gather([] if np.isfinite(figures["loss"]) else [part.names for part in parts])
            raise self._not_finite("loss", [clip for of_rank in names for clip in of_rank])
        return totals

    def _not_finite(self, what: str, names: list[tuple[str, ...]]) -> FlowCutError:
        clips = ", ".join(name for part in names for name in part)
        last = f"the last good checkpoint is that of step {self.progress.saved_at}"
        kept = "there is no checkpoint yet" if self.progress.saved_at is None else last
        return _KnownToAll(
            f"the {what} is not finite at step {self.progress.step + 1} ({clips[:400]}); {kept}; "
            "lower optimizer.lr, or look at these clips"
        )

    def _after_step(self, parts: list[Batch], figures: dict[str, float]) -> None:
        """Log, evaluate and save where it is time to."""
        run, step = self.config.run, self.progress.step
        is_last = step == self.config.optimizer.steps
        broken = [
            text for of_rank in self.ranks.gather([text for part in parts for text in part.broken]) for text in of_rank
        ]
        self.progress.broken_clips += len(broken)
        if self.ranks.is_first:
            for text in broken:
                self.log.event("broken_clip", step=step, reason=text)
            if step % run.log_every == 0 or is_last or step == 1:
                self.log.figures(step, {**figures, "memory_gib": peak_memory_gib(self.ranks.device)})
        evaluates = self.evaluation is not None and (step % run.evaluate_every == 0 or is_last)
        if evaluates or is_last or step % run.checkpoint_every == 0:
            if self.ranks.is_first:
                self._save(self._evaluate() if evaluates else None)
            self.progress.saved_at = step
            self.ranks.wait()

    def _evaluate(self) -> float:
        """Evaluate the model, with its averaged weights if there are any; return its AP."""
        assert self.evaluation is not None
        began = time.monotonic()
        data = self.config.data
        with self.average.in_place() if self.average else nullcontext():
            stats = evaluate_model(self.model, self.evaluation, self.ranks.device, data.short_side, data.max_side)
        seconds = time.monotonic() - began
        self.log.event("evaluation", step=self.progress.step, clips=len(self.evaluation), seconds=seconds, stats=stats)
        self.log.scalars("evaluation", stats, self.progress.step)
        return stats["AP"]

    def _save(self, score: float | None) -> Checkpoint:
        """Write a checkpoint."""
        data, step = self.config.data, self.progress.step
        saved = save_checkpoint(
            self.plan.run,
            State(
                step=step,
                world=self.ranks.world,
                dataset=self.dataset,
                score=score,
                broken_clips=self.progress.broken_clips,
            ),
            self.model,
            self.optimizer,
            About(model=self.config.model, short_side=data.short_side, max_side=data.max_side),
            average=self.average.weights if self.average else None,
            keep=self.config.run.keep,
        )
        where = str(saved.folder.relative_to(self.plan.run))
        self.log.event("checkpoint", step=step, path=where, score=score)
        return saved

    def _stop(self) -> Outcome:
        """Save where the run is, and say who asked for the stop."""
        reasons = [reason for reason in self.ranks.gather(self.requests.reason) if reason is not None]
        signals = [number for number in self.ranks.gather(self.requests.signal) if number is not None]
        if self.ranks.is_first:
            if self.progress.saved_at != self.progress.step:
                self._save(None)
            self.log.event("stopped", step=self.progress.step, reason=reasons[0])
            self.requests.done()
        self.ranks.wait()
        return self._outcome("stopped", reasons[0], signals[0] if signals else None)

    def _end(self, seconds: float) -> Outcome:
        outcome = self._outcome("done", None, None)
        if self.ranks.is_first:
            best = None if outcome.best is None else str(outcome.best.relative_to(self.plan.run))
            self.log.event("done", step=self.progress.step, seconds=seconds, best=best, AP=outcome.score)
        return outcome

    def _outcome(self, end: Literal["done", "stopped"], reason: str | None, number: int | None) -> Outcome:
        checkpoints = list_checkpoints(self.plan.run)
        best = best_checkpoint(checkpoints)
        return Outcome(
            end,
            self.progress.step,
            reason,
            number,
            checkpoints[-1].folder,
            best.folder if best else None,
            self.progress.loss,
            best.state.score if best else None,
            self.progress.broken_clips,
        )

    def _open_data(self) -> tuple[ClipSource, ClipSource | None, WholeClips | None]:
        """Open the datasets: the first process reads them through, the others take its index."""
        data, run, folder = self.config.data, self.config.run, self.plan.run
        if not self.ranks.is_first:
            self.ranks.wait()
        clips = open_clips(self.plan.dataset, folder / CLIPS_INDEX)
        stills = None
        if data.stills is not None:
            images = Path(data.stills_images) if data.stills_images else None
            stills = open_stills(Path(data.stills), images, folder / STILLS_INDEX)
        evaluation = None
        if run.evaluate is not None and self.ranks.is_first:
            evaluation = whole_clips(open_clips(Path(run.evaluate), folder / EVALUATION_INDEX), run.evaluate_clips)
        if self.ranks.is_first:
            self.ranks.wait()
        # The others only need to know that there is an evaluation to wait for.
        return clips, stills, self.ranks.broadcast(evaluation)

    def _say_start(self, checkpoint: Checkpoint | None, notes: list[str]) -> None:
        versions = {"flowcut_napari": __version__, "torch": torch.__version__, "torchvision": torchvision.__version__}
        device = self.ranks.device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        self.log.event(
            "start",
            pid=os.getpid(),
            world=self.ranks.world,
            device=name,
            precision=self.precision,
            dataset=self.plan.dataset,
            clips=len(self.clips),
            stills=len(self.stills) if self.stills is not None else 0,
            trained_parameters=trained_parameters(self.model),
            resumed_from=checkpoint.state.step if checkpoint else None,
            steps=self.config.optimizer.steps,
            versions=versions,
            parameters=self.config.model_dump(mode="json"),
        )
        for text in notes:
            self.log.note(text)
        if checkpoint is not None:
            self.log.note(f"going on from {checkpoint.folder.name}, which {checkpoint.state.world} process(es) wrote")


def _clips_of_part(optimizer: OptimizerParameters, world: int) -> int:
    pieces = world * optimizer.accumulation
    if optimizer.batch % pieces:
        raise FlowCutError(
            f"optimizer.batch is {optimizer.batch}: it cannot be shared out among {world} process(es) "
            f"with optimizer.accumulation {optimizer.accumulation}; give a multiple of {pieces}"
        )
    return optimizer.batch // pieces


def _precision(wanted: str, device: torch.device) -> str:
    if wanted != "auto":
        return wanted
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def _identity(clips: ClipSource, stills: ClipSource | None) -> str:
    """Return what tells datasets apart: a hash of what they say, wherever they lie."""
    hashes = [sha256_of(source.path) for source in (clips, stills) if source is not None]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _seed_of(seed: int, step: int, rank: int) -> int:
    """Mix seed, step and rank into one number of 63 bits."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


def _values(losses: Losses | None) -> dict[str, float]:
    if losses is None:
        return dict.fromkeys(("loss", "classification", "mask", "dice"), float("nan"))
    values = torch.stack((losses.total, losses.classification, losses.mask, losses.dice)).tolist()
    return dict(zip(("loss", "classification", "mask", "dice"), values, strict=True))


def _in_one_line(error: Exception, config: TrainingConfig) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return out_of_memory_advice(config)
    if isinstance(error, FlowCutError):
        return str(error)
    return f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:400]}"
