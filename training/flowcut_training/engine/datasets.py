"""The datasets of a run, opened once and told apart by what they say."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.weights import sha256_of
from flowcut_training.config import TrainingConfig
from flowcut_training.data import ClipSource, WholeClips, open_clips, open_stills, whole_clips
from flowcut_training.engine.ranks import Ranks
from flowcut_training.engine.run_folder import CLIPS_INDEX, EVALUATION_INDEX, STILLS_INDEX
from flowcut_training.evaluation import evaluate_ytvis


@dataclass(frozen=True)
class Evaluation:
    """Clips that a model is evaluated on now and then; scores compare where `identity` is the same."""

    clips: WholeClips
    identity: str


@dataclass(frozen=True)
class Datasets:
    """What a model is trained on and, if anything, evaluated on.

    `identity` is a hash of what clips and stills say, wherever they lie.
    """

    clips: ClipSource
    stills: ClipSource | None
    evaluation: Evaluation | None
    identity: str


def open_datasets(dataset: Path, run: Path, config: TrainingConfig, ranks: Ranks) -> Datasets:
    """Open the datasets of a run in each process: the first reads them through, the others take its index.

    Raises
    ------
    InputError
        If one of them is missing or not as it should be.
    """
    # The first reads what is new through and leaves an index to the others.
    identity = ranks.first_does(lambda: identity_of(*_open(dataset, run, config)))
    clips, stills = _open(dataset, run, config)
    evaluation = ranks.first_does(lambda: _evaluation(run, config))
    return Datasets(clips, stills, evaluation, identity)


def _open(dataset: Path, run: Path, config: TrainingConfig) -> tuple[ClipSource, ClipSource | None]:
    data = config.data
    clips = open_clips(dataset, run / CLIPS_INDEX)
    if data.stills is None:
        return clips, None
    images = Path(data.stills_images) if data.stills_images else None
    return clips, open_stills(Path(data.stills), images, run / STILLS_INDEX)


def _evaluation(run: Path, config: TrainingConfig) -> Evaluation | None:
    """Open what is evaluated on, and see now that it can be: not when hours of work wait for their checkpoint."""
    if config.run.evaluate is None:
        return None
    source = open_clips(Path(config.run.evaluate), run / EVALUATION_INDEX)
    clips = whole_clips(source, config.run.evaluate_clips)
    truth = clips.ground_truth()
    perfect = [
        {"video_id": item["video_id"], "category_id": 1, "score": 1.0, "segmentations": item["segmentations"]}
        for item in truth["annotations"]
    ]
    if evaluate_ytvis(truth, perfect).stats["AP"] < 0:
        raise InputError(f"{source.path}: none of its {len(clips)} clips that are evaluated has an object")
    for number in clips.numbers:
        for file in source.clip_record(number).files:
            if not os.path.isfile(source.root / file):
                raise InputError(f"{source.describe(number)}: {source.root / file}: no such frame")
    numbers = ",".join(map(str, clips.numbers))
    return Evaluation(clips, hashlib.sha256(f"{sha256_of(source.path)}:{numbers}".encode()).hexdigest())


def identity_of(clips: ClipSource, stills: ClipSource | None) -> str:
    """Return what tells the datasets of a run from others: a hash of what they say, wherever they lie."""
    hashes = [sha256_of(source.path) for source in (clips, stills) if source is not None]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
