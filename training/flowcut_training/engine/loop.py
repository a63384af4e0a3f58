"""The training of a model, from start to end; read it top to bottom.

Samples, their augmentation, dropout and the points of the loss are functions of the seed, the step and the rank. So a
run that stops and goes on is the run that did not stop, bit for bit on a CPU.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Literal

import psutil
import torch
import torchvision

from flowcut_napari import __version__
from flowcut_napari.core.errors import FlowCutError, InputError, OutputError
from flowcut_training.data import Batch, training_batches, whole_clips
from flowcut_training.engine.average import WeightAverage
from flowcut_training.engine.checkpoints import (
    Checkpoint,
    State,
    best_checkpoint,
    list_checkpoints,
    remove_surplus,
    restore_checkpoint,
    save_checkpoint,
    set_score,
)
from flowcut_training.engine.datasets import open_datasets
from flowcut_training.engine.events import RunLog
from flowcut_training.engine.failures import in_one_line, shortage
from flowcut_training.engine.memory import peak_memory_gib
from flowcut_training.engine.optimizer import make_optimizer
from flowcut_training.engine.periodic import evaluate_model
from flowcut_training.engine.plan import KnownToAllError, Outcome, TrainingError, TrainingPlan
from flowcut_training.engine.previews import LABELS, Previews
from flowcut_training.engine.ranks import Ranks, join_ranks
from flowcut_training.engine.run_folder import hold_run, keep_config
from flowcut_training.engine.start import start_model
from flowcut_training.engine.stepping import Sizes, Stepper
from flowcut_training.engine.stopping import StopRequests
from flowcut_training.model.video_mask2former import all_finite, trained_parameters
from flowcut_training.predict import PredictionParameters
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
        hold = hold_run(plan.run, plan.resume, plan.asked_at)
        checkpoint = ranks.first_does(lambda: stack.enter_context(hold))
        log = RunLog(plan.run, listen if ranks.is_first else None)
        requests = stack.enter_context(StopRequests(plan.run))
        try:
            return _Run(plan, ranks, log, requests, checkpoint).go()
        except Exception as error:
            short = shortage(error, plan.config)
            text = short or in_one_line(error)
            if ranks.is_first or _is_own(error):
                # Where it cannot be written down, it is still raised.
                with suppress(OutputError):
                    log.event("error", reason=text, rank=ranks.rank)
            if short:
                raise TrainingError(short) from None
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
        self.datasets = open_datasets(plan.dataset, plan.run, config, ranks)
        if checkpoint is not None and checkpoint.state.dataset != self.datasets.identity:
            raise InputError(f"{plan.dataset}: is not the dataset that this run began with; give that one")

        self.progress = _Progress()
        if checkpoint is None:
            model, notes = start_model(config, plan.weights)
        else:
            state = checkpoint.state
            model = build_model(config.model)
            notes = []
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
            batch=config.optimizer.clips_of_part(ranks.world),
            start=min(self.progress.step, config.optimizer.steps),
            steps=config.optimizer.steps,
            rank=ranks.rank,
            world=ranks.world,
            accumulation=config.optimizer.accumulation,
            pin=ranks.device.type == "cuda",
        )
        self.stepper = Stepper(self.model, self.optimizer, self.average, config, ranks)
        # Its evaluation was cut short by a stop.
        self.unscored = checkpoint if checkpoint is not None and self._is_due(checkpoint.state) else None
        self.previews = self._make_previews() if ranks.is_first else None
        # Only now is it a run: whatever was wrong until here leaves the folder free for another try.
        ranks.first_does(lambda: self._begin(checkpoint, notes))

    def go(self) -> Outcome:
        """Train to the last step, or until somebody asks to stop."""
        began = time.monotonic()
        if self.unscored is not None:
            self._evaluate(self.unscored)
        if self.previews is not None and not (self.plan.run / LABELS).is_file():
            self._show(self.previews.draw_labels, labels=True)
        with closing(self.batches):
            while self.progress.step < self.config.optimizer.steps:
                before = time.monotonic()
                parts, problem = self._draw()
                waited = time.monotonic() - before
                # One exchange tells every process whether to stop, whether all have clips, and what the batch holds.
                own, reason = self.stepper.sizes(parts), self.requests.reason
                broken = [text for part in parts for text in part.broken]
                asked, failed, broken_clips, *whole = self.ranks.total(
                    float(reason is not None), float(problem is not None), len(broken), own.instances, own.class_weight
                )
                if failed:
                    if self.progress.step:
                        self._keep()
                    raise KnownToAllError(next(text for text in self.ranks.gather(problem) if text is not None))
                if asked:
                    return self._stop(reason)
                if broken_clips:
                    self._count_broken(broken)
                try:
                    figures = self.stepper.take(self.progress.step, parts, Sizes(*whole))
                except KnownToAllError as error:
                    raise KnownToAllError(f"{error}; {self._last_good()}") from None
                seconds = time.monotonic() - before
                self._after_step({**figures, "seconds": seconds, "data_wait": waited / seconds})
        return self._end(time.monotonic() - began)

    def _draw(self) -> tuple[list[Batch], str | None]:
        """Return the parts of a step's batch; where a clip cannot be read, what to say of it."""
        try:
            return [next(self.batches) for _ in range(self.config.optimizer.accumulation)], None
        except FlowCutError as error:
            return [], str(error)

    def _count_broken(self, own: list[str]) -> None:
        """Count clips that were passed over for the step that is about to be taken."""
        texts = [text for of_rank in self.ranks.gather(own) for text in of_rank]
        self.progress.broken_clips += len(texts)
        if self.ranks.is_first:
            for text in texts:
                self.log.event("broken_clip", step=self.progress.step + 1, reason=text)

    def _after_step(self, figures: dict[str, float]) -> None:
        """Log, save and evaluate where it is time to."""
        self.progress.step += 1
        self.progress.loss = figures["loss"]
        run, step = self.config.run, self.progress.step
        is_last = step == self.config.optimizer.steps
        if self.ranks.is_first and (step % run.log_every == 0 or is_last or step == 1):
            self.log.figures(step, {**figures, "memory_gib": peak_memory_gib(self.ranks.device)})
        if self.previews is not None and (step % run.preview_every == 0 or is_last):
            previews = self.previews
            with self._averaged_model():
                self._show(lambda: previews.draw(self.model, step))
        evaluates = self._evaluates_at(step)
        if evaluates or is_last or step % run.checkpoint_every == 0:
            checkpoint = self._keep()
            if evaluates:
                self._evaluate(checkpoint)
            if self.ranks.is_first:
                remove_surplus(self.plan.run, run.keep)

    def _evaluates_at(self, step: int) -> bool:
        is_time = step % self.config.run.evaluate_every == 0 or step == self.config.optimizer.steps
        return self.datasets.evaluation is not None and step > 0 and is_time

    def _is_due(self, state: State) -> bool:
        return state.score is None and self._evaluates_at(state.step)

    def _keep(self) -> Checkpoint | None:
        """Save where the run is, unless that is done; the first process does it, the others wait."""
        if self.progress.saved_at == self.progress.step:
            return None
        if not all_finite(self.model):
            raise KnownToAllError(f"the weights are not finite after step {self.progress.step}; {self._last_good()}")
        checkpoint = self.ranks.first_does(self._save)
        self.progress.saved_at = self.progress.step
        return checkpoint

    def _save(self) -> Checkpoint:
        """Write a checkpoint."""
        data, progress = self.config.data, self.progress
        state = State(
            step=progress.step,
            world=self.ranks.world,
            device=self.ranks.device.type,
            precision=self.stepper.precision,
            dataset=self.datasets.identity,
            broken_clips=progress.broken_clips,
        )
        about = About(model=self.config.model, short_side=data.short_side, max_side=data.max_side)
        saved = save_checkpoint(self.plan.run, state, self.model, self.optimizer, about, average=self._averaged)
        self.log.event("checkpoint", step=progress.step, path=str(saved.folder.relative_to(self.plan.run)))
        return saved

    def _evaluate(self, checkpoint: Checkpoint | None) -> None:
        """Evaluate the model, with its averaged weights if there are any, and add the score to its checkpoint.

        What cannot be evaluated does not end the training, which needs no evaluation.
        """
        evaluation, step = self.datasets.evaluation, self.progress.step
        assert evaluation is not None
        # Room for whole videos.
        self.optimizer.zero_grad(set_to_none=True)
        parameters = self._prediction_parameters()
        began = time.monotonic()
        try:
            with self._averaged_model():
                found = evaluate_model(
                    self.model, evaluation.clips, self.ranks, parameters, lambda: self.requests.reason is not None
                )
        except FlowCutError as error:
            if self.ranks.is_first:
                self.log.event("evaluation_failed", step=step, reason=str(error))
            return
        if found is None or checkpoint is None:
            return
        seconds, clips = time.monotonic() - began, len(evaluation.clips)
        self.log.event(
            "evaluation", step=step, clips=clips, windowed=found.windowed, seconds=seconds, stats=found.stats
        )
        self.log.scalars("evaluation", found.stats, step)
        set_score(checkpoint, found.stats["AP"], evaluation.identity)

    def _make_previews(self) -> Previews | None:
        """Choose what is drawn now and then: of the evaluation if there is one, which the model does not learn."""
        run, datasets = self.config.run, self.datasets
        if not run.preview_every:
            return None
        source = datasets.clips if datasets.evaluation is None else datasets.evaluation.clips.source
        clips = whole_clips(source, run.preview_clips)
        return Previews(self.plan.run, clips, self._prediction_parameters(), self.ranks.device)

    def _show(self, draw: Callable[[], str], *, labels: bool = False) -> None:
        """Draw a picture and say where it is; what cannot be drawn does not end the training, which needs none."""
        step = self.progress.step
        try:
            self.log.event("preview", step=step, path=draw(), labels=labels)
        except FlowCutError as error:
            self.log.event("preview_failed", step=step, reason=str(error))

    def _prediction_parameters(self) -> PredictionParameters:
        data = self.config.data
        return PredictionParameters(short_side=data.short_side, max_side=data.max_side)

    def _averaged_model(self) -> AbstractContextManager[None]:
        """Give the model its averaged weights for a while, if there are any."""
        return self.average.in_place() if self.average else nullcontext()

    def _stop(self, reason: str | None) -> Outcome:
        """Save where the run is, and say who asked for the stop."""
        reasons = [text for text in self.ranks.gather(reason) if text is not None]
        signals = [number for number in self.ranks.gather(self.requests.signal) if number is not None]
        self._keep()
        if self.ranks.is_first:
            self.log.event("stopped", step=self.progress.step, reason=reasons[0])
            self.requests.done()
        return self._outcome("stopped", reasons[0], signals[0] if signals else None)

    def _end(self, seconds: float) -> Outcome:
        outcome = self._outcome("done", None, None)
        if self.ranks.is_first:
            best = None if outcome.best is None else str(outcome.best.relative_to(self.plan.run))
            self.log.event("done", step=self.progress.step, seconds=seconds, best=best, AP=outcome.score)
        return outcome

    def _outcome(self, end: Literal["done", "stopped"], reason: str | None, number: int | None) -> Outcome:
        checkpoints = self.ranks.first_does(lambda: list_checkpoints(self.plan.run))
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

    def _begin(self, checkpoint: Checkpoint | None, notes: list[str]) -> None:
        """Make the folder a run's, and say what begins."""
        if self.config.run.tensorboard:
            self.log.open_tensorboard(self.progress.step)
        keep_config(self.plan.run, self.config)
        self.log.rewind(self.progress.step)
        device, stills = self.ranks.device, self.datasets.stills
        self.log.event(
            "start",
            # By these a window tells whether this process is still there.
            pid=os.getpid(),
            process_started=psutil.Process().create_time(),
            host=platform.node(),
            world=self.ranks.world,
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            precision=self.stepper.precision,
            # Whole: who goes on with this run may be in another folder.
            dataset=os.path.abspath(self.plan.dataset),
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
        if checkpoint is None:
            return
        before = checkpoint.state
        how = (before.world, before.device, before.precision)
        made = f"{before.world} process(es) on {before.device} in {before.precision}"
        self.log.note(f"going on from {checkpoint.folder.name}, made by {made}")
        if how != (self.ranks.world, device.type, self.stepper.precision):
            self.log.note("that is not how it is trained now: the run is no longer the same to the bit")


def _is_own(error: Exception) -> bool:
    """Whether another process than the first should write an error down: none that all know, and no lost partner."""
    return isinstance(error, (FlowCutError, torch.OutOfMemoryError)) and not isinstance(error, KnownToAllError)
