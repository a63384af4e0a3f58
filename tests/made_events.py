"""Folders of runs with made-up events, as the engine writes them; needs no torch."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from flowcut_napari.core.times import utc

# A process that cannot be: numbers of processes end far below.
NO_PID = 2**30


def start(**fields: Any) -> dict[str, Any]:
    """Return a start whose process is gone; with ``pid`` and ``process_started`` of this one it is alive."""
    parameters = {"optimizer": {"lr": 1e-06, "batch": 4, "steps": fields.get("steps", 5000)}, "run": {"seed": 0}}
    return {
        "event": "start",
        "time": utc(time.time() - 60),
        "pid": NO_PID,
        "host": platform.node(),
        "process_started": 1.0,
        "world": 1,
        "device": "NVIDIA H100",
        "precision": "bf16",
        "dataset": "/data/clips",
        "clips": 1204,
        "stills": 0,
        "trained_parameters": 43_950_000,
        "resumed_from": None,
        "steps": 5000,
        "versions": {"torch": "2.6"},
        "parameters": parameters,
        **fields,
    }


def alive() -> dict[str, Any]:
    """Return the fields of a start that name this very process."""
    process = psutil.Process()
    return {"pid": process.pid, "process_started": process.create_time()}


def step(number: int, **fields: Any) -> dict[str, Any]:
    """Return a step of a training that goes well."""
    random = np.random.default_rng(number)
    level = 2 + 8 * math.exp(-number / 1500)
    noise = 1 + 0.12 * random.standard_normal(4)
    return {
        "event": "step",
        "time": utc(time.time()),
        "step": number,
        "loss": float(9 * level * noise[0]),
        "classification": float(0.2 * level * noise[1]),
        "mask": float(0.3 * level * noise[2]),
        "dice": float(0.25 * level * noise[3]),
        "gradient_norm": float(5 * level * noise[1]),
        "lr": 1e-6 * (0.1 if number > 4000 else 1.0),
        "seconds": float(0.48 * noise[2]),
        "data_wait": float(abs(0.06 * noise[3])),
        "memory_gib": 17.2 + (0.9 if number > 600 else 0.0),
        **fields,
    }


def evaluation(number: int, score: float, **fields: Any) -> dict[str, Any]:
    """Return an evaluation with this AP."""
    shares = {"AP": 1.0, "AP50": 1.9, "AP75": 0.9, "APs": -1.0, "APm": 0.8, "APl": 1.2}
    shares |= {"AR1": 0.9, "AR10": 1.4, "AR100": 1.6, "ARs": -1.0, "ARm": 1.1, "ARl": 1.5}
    stats = {name: share if share < 0 else min(1.0, share * score) for name, share in shares.items()}
    return {"event": "evaluation", "time": utc(time.time()), "step": number, "clips": 50, "stats": stats, **fields}


def checkpoint(number: int) -> dict[str, Any]:
    return {"event": "checkpoint", "step": number, "path": f"checkpoints/step-{number:08d}"}


def done(number: int) -> dict[str, Any]:
    return {"event": "done", "time": utc(time.time()), "step": number, "seconds": 2400.0, "best": None, "AP": 0.4}


def lines(*events: dict[str, Any]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def write_run(folder: Path, events: Iterable[dict[str, Any]]) -> Path:
    """Write a run of these events; return its folder."""
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text("model: {}\n")
    events = list(events)
    (folder / "events.jsonl").write_text(lines(*events))
    words = [f"{event.get('time', '')} {event['event']} step={event.get('step')}" for event in events]
    (folder / "log.txt").write_text("".join(f"{line}\n" for line in words))
    return folder


def add(run: Path, *events: dict[str, Any]) -> None:
    """Let a run go on by some events."""
    with (run / "events.jsonl").open("a") as stream:
        stream.write(lines(*events))


def training(steps: int, every: int = 20, evaluate_every: int = 500) -> list[dict[str, Any]]:
    """Return the events of a training that went so far, from its first step."""
    found = [step(number) for number in (1, *range(every, steps + 1, every))]
    for number in range(evaluate_every, steps + 1, evaluate_every):
        place = next(place for place, event in enumerate(found) if event["step"] == number) + 1
        score = 0.42 * (1 - math.exp(-number / 1800)) + 0.01 * math.sin(number)
        found[place:place] = [checkpoint(number), evaluation(number, score)]
    return found


def write_preview(run: Path, number: int, *, labels: bool = False, frames: int = 6) -> dict[str, Any]:
    """Write a picture of moving squares in a row of frames; return its event."""
    name = "previews/labels.jpg" if labels else f"previews/step-{number:08d}.jpg"
    (run / "previews").mkdir(exist_ok=True)
    picture = np.full((90, 160 * frames, 3), 60, np.uint8)
    for frame in range(frames):
        tile = picture[:, 160 * frame : 160 * frame + 156]
        tile[:] = (48 + 6 * frame, 70, 84)
        size = 34 if labels else 8 + min(26, number // 60)
        left = 20 + 14 * frame
        tile[28 : 28 + size, left : left + size] = (235, 120, 60)
        tile[60 - size // 3 : 80, 100:130] = (80, 190, 120)
    Image.fromarray(picture).save(run / name, quality=85)
    event = {"event": "preview", "step": number, "path": name}
    return {**event, "labels": True} if labels else event


def preview(number: int) -> dict[str, Any]:
    """Return the event of a picture that is not there."""
    return {"event": "preview", "step": number, "path": f"previews/step-{number:08d}.jpg"}
