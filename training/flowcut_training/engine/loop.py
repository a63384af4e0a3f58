"""The training of a model, from start to end; read it top to bottom.

Samples, their augmentation, dropout and the points of the loss are functions of the seed, the step and the rank. So a
run that stops and goes on is the run that did not stop, bit for bit on a CPU.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torchvision

from flowcut_napari import __version__
from flowcut_napari.core.errors import FlowCutError, InputError, OutputError
from flowcut_training.config import OptimizerParameters, TrainingConfig
from flowcut_training.data import Batch, training_batches
from flowcut_training.engine.average import WeightAverage
from flowcut_training.engine.checkpoints import (
    Checkpoint,
    State,
    best_checkpoint,
    list_checkpoints,
    restore_checkpoint,
    save_checkpoint,
)
from flowcut_training.engine.datasets import open_datasets
from flowcut_training.engine.events import RunLog
from flowcut_training.engine.memory import out_of_memory_advice, peak_memory_gib
from flowcut_training.engine.optimizer import make_optimizer
from flowcut_training.engine.periodic import evaluate_model
from flowcut_training.engine.plan import KnownToAllError, Outcome, TrainingError, TrainingPlan
from flowcut_training.engine.ranks import Ranks, join_ranks
from flowcut_training.engine.run_folder import hold_run, keep_config
from flowcut_training.engine.start import start_model
from flowcut_training.engine.stepping import Sizes, Stepper
from flowcut_training.engine.stopping import StopRequests
from flowcut_training.model.video_mask2former import trained_parameters
from flowcut_training.predict.memory import is_out_of_memory
from flowcut_training.weight_files import About, build_model


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
            return _Run(plan, ranks, log, requests, checkpoint).go()
        except Exception as error:
            text = _in_one_line(error, plan.config)
            # The first process cannot speak for another that is about to end.
            if ranks.is_first or not isinstance(error, KnownToAllError):
                # Where it cannot be written down, it is still raised.
                with suppress(OutputError):
                    log.event("error", reason=text, rank=ranks.rank)
            if is_out_of_memory(error):
                raise TrainingError(text) from None
            raise


@dataclass
class _Progress:
    """Where a run is: steps done, and what is known of them."""

    step: int = 0
    broken_clips: int = 0
    loss: float | None = None
    saved_at: int | None = None


class _Run:
    """A run in one process: what it works with, and its steps."""

    def __init__(
        self, plan: TrainingPlan, ranks: Ranks, log: RunLog, requests: StopRequests, checkpoint: Checkpoint | None
    ) -> None:
        config = plan.config
        self.plan, self.config, self.ranks, self.log, self.requests = plan, config, ranks, log, requests
        if config.run.tensorboard and ranks.is_first:
            log.open_tensorboard()
        self.datasets = open_datasets(plan.dataset, plan.run, config, ranks)
        if checkpoint is not None and checkpoint.state.dataset != self.datasets.identity:
            raise InputError(f"{plan.dataset}: is not the dataset that this run began with; give that one")

        self.progress = _Progress()
        if checkpoint is None:
            model, notes = start_model(config, plan.weights)
        else:
            state = checkpoint.state
            model = build_model(config.model)
            notes = [f"going on from {checkpoint.folder.name}, which {state.world} process(es) wrote"]
            self.progress = _Progress(state.step, state.broken_clips, saved_at=state.step)
        self.model = model.to(ranks.device).train()
        self.optimizer = make_optimizer(self.model, config.optimizer)
        self.average = WeightAverage(self.model, config.optimizer.ema) if config.optimizer.ema else None
        if checkpoint is not None:
            restore_checkpoint(checkpoint, self.model, self.optimizer, self._averaged)
        self.batches = training_batches(
            self.datasets.clips,
            self.datasets.stills,
            config.data,
            seed=config.run.seed,
            batch=_clips_of_part(config.optimizer, ranks.world),
            start=min(self.progress.step, config.optimizer.steps),
            steps=config.optimizer.steps,
            rank=ranks.rank,
            world=ranks.world,
            accumulation=config.optimizer.accumulation,
            pin=ranks.device.type == "cuda",
        )
        self.stepper = Stepper(self.model, self.optimizer, self.average, config, ranks)
        # Only now is it a run: whatever was wrong until here leaves the folder free for another try.
        if ranks.is_first:
            keep_config(plan.run, config)
            log.rewind(self.progress.step)
            self._say_start(checkpoint, notes)

    def go(self) -> Outcome:
        """Train to the last step, or until somebody asks to stop."""
        began = time.monotonic()
        with closing(self.batches):
            while self.progress.step < self.config.optimizer.steps:
                before = time.monotonic()
                parts, problem = self._draw()
                waited = time.monotonic() - before
                # One exchange tells every process whether to stop, whether all have clips, and what the batch holds.
                own = self.stepper.sizes(parts)
                asked, failed, *whole = self.ranks.total(
                    float(self.requests.reason is not None), float(problem is not None), own.instances, own.class_weight
                )
                if failed:
                    self._keep()
                    raise KnownToAllError(next(text for text in self.ranks.gather(problem) if text is not None))
                if asked:
                    return self._stop()
                try:
                    figures = self.stepper.take(self.progress.step, parts, Sizes(*whole))
                except KnownToAllError as error:
                    raise KnownToAllError(f"{error}; {self._last_good()}") from None
                seconds = time.monotonic() - before
                self._after_step(parts, {**figures, "seconds": seconds, "data_wait": waited / seconds})
        return self._end(time.monotonic() - began)

    def _draw(self) -> tuple[list[Batch], str | None]:
        """Return the parts of a step's batch; where a clip cannot be read, what to say of it."""
        try:
            return [next(self.batches) for _ in range(self.config.optimizer.accumulation)], None
        except FlowCutError as error:
            return [], str(error)

    def _after_step(self, parts: list[Batch], figures: dict[str, float]) -> None:
        """Log, evaluate and save where it is time to."""
        self.progress.step += 1
        self.progress.loss = figures["loss"]
        run, step = self.config.run, self.progress.step
        is_last = step == self.config.optimizer.steps
        broken = [text for part in parts for text in part.broken]
        broken = [text for of_rank in self.ranks.gather(broken) for text in of_rank]
        self.progress.broken_clips += len(broken)
        if self.ranks.is_first:
            for text in broken:
                self.log.event("broken_clip", step=step, reason=text)
            if step % run.log_every == 0 or is_last or step == 1:
                self.log.figures(step, {**figures, "memory_gib": peak_memory_gib(self.ranks.device)})
        evaluates = self.datasets.evaluation is not None and (step % run.evaluate_every == 0 or is_last)
        if evaluates or is_last or step % run.checkpoint_every == 0:
            self._keep(evaluates)

    def _keep(self, evaluates: bool = False) -> None:
        """Save where the run is, unless that is done; the first process does it, the others wait."""
        if self.progress.saved_at == self.progress.step:
            return
        if not all(bool(weight.isfinite().all()) for weight in self.model.parameters()):
            raise KnownToAllError(f"the weights are not finite after step {self.progress.step}; {self._last_good()}")
        if self.ranks.is_first:
            try:
                score = self._evaluate() if evaluates else None
            except Exception:
                self._save(None)
                raise
            self._save(score)
        self.progress.saved_at = self.progress.step
        self.ranks.wait()

    def _evaluate(self) -> float:
        """Evaluate the model, with its averaged weights if there are any; return its AP."""
        clips, data, step = self.datasets.evaluation, self.config.data, self.progress.step
        assert clips is not None
        began = time.monotonic()
        with self.average.in_place() if self.average else nullcontext():
            stats = evaluate_model(self.model, clips, self.ranks.device, data.short_side, data.max_side)
        self.log.event("evaluation", step=step, clips=len(clips), seconds=time.monotonic() - began, stats=stats)
        self.log.scalars("evaluation", stats, step)
        return stats["AP"]

    def _save(self, score: float | None) -> None:
        """Write a checkpoint."""
        data, progress = self.config.data, self.progress
        state = State(
            step=progress.step,
            world=self.ranks.world,
            dataset=self.datasets.identity,
            score=score,
            broken_clips=progress.broken_clips,
        )
        about = About(model=self.config.model, short_side=data.short_side, max_side=data.max_side)
        keep = self.config.run.keep
        saved = save_checkpoint(
            self.plan.run, state, self.model, self.optimizer, about, average=self._averaged, keep=keep
        )
        where = str(saved.folder.relative_to(self.plan.run))
        self.log.event("checkpoint", step=progress.step, path=where, score=score)

    def _stop(self) -> Outcome:
        """Save where the run is, and say who asked for the stop."""
        reasons = [reason for reason in self.ranks.gather(self.requests.reason) if reason is not None]
        signals = [number for number in self.ranks.gather(self.requests.signal) if number is not None]
        self._keep()
        if self.ranks.is_first:
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

    @property
    def _averaged(self) -> dict[str, torch.Tensor] | None:
        return self.average.weights if self.average else None

    def _last_good(self) -> str:
        saved = self.progress.saved_at
        kept = "there is no checkpoint yet" if saved is None else f"the last good checkpoint is that of step {saved}"
        return f"{kept}; lower optimizer.lr, or look at these clips"

    def _say_start(self, checkpoint: Checkpoint | None, notes: list[str]) -> None:
        device, stills = self.ranks.device, self.datasets.stills
        self.log.event(
            "start",
            pid=os.getpid(),
            world=self.ranks.world,
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            precision=self.stepper.precision,
            dataset=self.plan.dataset,
            clips=len(self.datasets.clips),
            stills=len(stills) if stills is not None else 0,
            trained_parameters=trained_parameters(self.model),
            resumed_from=checkpoint.state.step if checkpoint else None,
            steps=self.config.optimizer.steps,
            versions={
                "flowcut_napari": __version__,
                "torch": torch.__version__,
                "torchvision": torchvision.__version__,
            },
            parameters=self.config.model_dump(mode="json"),
        )
        for text in notes:
            self.log.note(text)


def _clips_of_part(optimizer: OptimizerParameters, world: int) -> int:
    pieces = world * optimizer.accumulation
    if optimizer.batch % pieces:
        raise InputError(
            f"optimizer.batch is {optimizer.batch}: it cannot be shared out among {world} process(es) "
            f"with optimizer.accumulation {optimizer.accumulation}; give a multiple of {pieces}"
        )
    return optimizer.batch // pieces


def _in_one_line(error: Exception, config: TrainingConfig) -> str:
    if is_out_of_memory(error):
        return out_of_memory_advice(config)
    if isinstance(error, FlowCutError):
        return str(error)
    return f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:400]}"
