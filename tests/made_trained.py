"""Runs with checkpoints of a tiny network with random weights, for tests that predict with them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def write_run(folder: Path, scores: dict[int, float | None]) -> Path:
    """Write a run with a checkpoint for each step and its score; in another process, so that this one has no torch."""
    code = {str(step): score for step, score in scores.items()}
    subprocess.run([sys.executable, __file__, str(folder), json.dumps(code)], check=True)
    return folder


def _write(folder: Path, scores: dict[int, float | None]) -> None:
    import torch

    from flowcut_training.config import load_config
    from flowcut_training.engine.checkpoints import State, save_checkpoint
    from flowcut_training.weight_files import About, build_model

    parameters = load_config("tiny").model
    torch.manual_seed(0)
    model = build_model(parameters).eval()
    optimizer = torch.optim.AdamW(model.parameters())
    for step, score in scores.items():
        evaluation = None if score is None else "e"
        state = State(step=step, world=1, dataset="x", score=score, evaluation=evaluation)
        save_checkpoint(folder, state, model, optimizer, About(model=parameters, short_side=64, max_side=128))


if __name__ == "__main__":
    _write(Path(sys.argv[1]), {int(step): score for step, score in json.loads(sys.argv[2]).items()})
