"""Stage 3 of the demo: a small model is trained on the clip's masks, and says what it sees in the clip."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowcut_napari.commands import console
from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.core.masks import Rle

STEPS = 200
# Enough of the picture for the smallest toy, few enough pixels for two cores.
_OVERRIDES = [f"steps={STEPS}", f"checkpoint_every={STEPS}", "log_every=1", "short_side=96", "max_side=176"]
# The paper's for YouTube-VIS, of what is drawn.
_CERTAIN = 0.8


@dataclass(frozen=True)
class Trained:
    """What became of stage 3.

    Attributes
    ----------
    run, prediction : Path
        Folders.
    steps : int
    losses : (float, float)
        Means of the first and of the last ten steps.
    stats : mapping of str to float
        AP, AP50, AR10 of YouTube-VIS and J&F of DAVIS, 0 to 1.
    tracks : list of dict
        What `results.json` says.
    """

    run: Path
    prediction: Path
    steps: int
    losses: tuple[float, float]
    stats: Mapping[str, float]
    tracks: list[dict[str, Any]]

    def masks_of(self, frame: int) -> list[Rle]:
        """Return the masks of the certain tracks in a frame, by rising score."""
        certain = sorted(
            (track for track in self.tracks if track["score"] >= _CERTAIN), key=lambda track: track["score"]
        )
        return [code for track in certain if (code := track["segmentations"][frame]) is not None]


def train_and_predict(dataset: Path, address: str, truth: Path, out: Path) -> Trained:
    """Train the `tiny` configuration on a dataset, predict on the video, evaluate against the ground truth.

    Parameters
    ----------
    dataset : Path
    address : str
        Of the video.
    truth : Path
        The folder of the bundled clip, with ``instances.json`` and ``Annotations``.
    out : Path
        Gets ``run/`` and ``prediction/``.

    Raises
    ------
    FlowCutError
        If the training was stopped.
    """
    from flowcut_training.config import load_config
    from flowcut_training.engine.loop import train
    from flowcut_training.engine.plan import TrainingPlan
    from flowcut_training.evaluation import evaluate_davis, evaluate_ytvis, find_sequences
    from flowcut_training.predict import PredictionParameters, find_videos_to_predict, predict_videos
    from flowcut_training.trained import load_trained

    run, prediction = out / "run", out / "prediction"
    losses: list[float] = []
    with console.progress_bar("steps/s") as progress:
        task = progress.add_task("train", total=STEPS)

        def listen(event: dict[str, Any]) -> None:
            if event["event"] == "step":
                losses.append(event["loss"])
                progress.update(task, completed=event["step"])

        outcome = train(TrainingPlan(dataset, run, load_config("tiny", _OVERRIDES), device="cpu"), listen)
    if outcome.signal is not None:
        # The run heard it and saved; it was meant for all of the demo.
        signal.raise_signal(outcome.signal)
    if outcome.end != "done":
        raise FlowCutError(f"{run}: was stopped after step {outcome.step} by {outcome.reason}; start the demo again")
    trained = load_trained(run)
    videos, _ = find_videos_to_predict(address)
    sides = (trained.about.short_side, trained.about.max_side)
    for form, threshold in (("ytvis", 0.0), ("davis", 0.3)):
        parameters = PredictionParameters.make(
            short_side=None,
            max_side=None,
            trained_sides=sides,
            top=10,
            threshold=threshold,
            window=None,
            precision="float32",
        )
        predict_videos(trained, videos, prediction / form, parameters, form=form)  # type: ignore[arg-type]
    tracks = json.loads((prediction / "ytvis" / "results.json").read_text())
    ytvis = evaluate_ytvis(json.loads((truth / "instances.json").read_text()), tracks).stats
    sequences, _ = find_sequences(truth / "Annotations", prediction / "davis")
    davis = evaluate_davis(sequences).stats
    stats = {name: ytvis[name] for name in ("AP", "AP50", "AR10")} | {"J&F": davis["J&F-Mean"]}
    ends = (sum(losses[:10]) / len(losses[:10]), sum(losses[-10:]) / len(losses[-10:]))
    return Trained(run, prediction, STEPS, ends, stats, tracks)
