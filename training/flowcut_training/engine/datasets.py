"""The datasets of a run, opened once and told apart by what they say."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from flowcut_napari.core.weights import sha256_of
from flowcut_training.config import TrainingConfig
from flowcut_training.data import ClipSource, WholeClips, open_clips, open_stills, whole_clips
from flowcut_training.engine.ranks import Ranks
from flowcut_training.engine.run_folder import CLIPS_INDEX, EVALUATION_INDEX, STILLS_INDEX


@dataclass(frozen=True)
class Datasets:
    """What a model is trained on and, if anything, evaluated on.

    `identity` is a hash of what clips and stills say, wherever they lie.
    """

    clips: ClipSource
    stills: ClipSource | None
    evaluation: WholeClips | None
    identity: str


def open_datasets(dataset: Path, run: Path, config: TrainingConfig, ranks: Ranks) -> Datasets:
    """Open the datasets of a run in each process: the first reads them through, the others take its index.

    Raises
    ------
    InputError
        If one of them is missing or not as it should be.
    """
    if not ranks.is_first:
        ranks.wait()
    data, evaluate = config.data, config.run.evaluate
    clips = open_clips(dataset, run / CLIPS_INDEX)
    stills = None
    if data.stills is not None:
        images = Path(data.stills_images) if data.stills_images else None
        stills = open_stills(Path(data.stills), images, run / STILLS_INDEX)
    evaluation = None
    if evaluate is not None and ranks.is_first:
        evaluation = whole_clips(open_clips(Path(evaluate), run / EVALUATION_INDEX), config.run.evaluate_clips)
    if ranks.is_first:
        ranks.wait()
    identity = _identity(clips, stills) if ranks.is_first else ""
    # The others only need to know that there is an evaluation to wait for.
    return Datasets(clips, stills, *ranks.broadcast((evaluation, identity)))


def _identity(clips: ClipSource, stills: ClipSource | None) -> str:
    hashes = [sha256_of(source.path) for source in (clips, stills) if source is not None]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
