"""A store of pseudo-masks as large as YouTube-VIS 2021: made-up shapes that move, change and sometimes vanish."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from flowcut_napari.core import CutParameters
from flowcut_napari.core.pseudo_masks import Instance

HEIGHT, WIDTH = 720, 1280
FRAMES, INSTANCES = 30, 3
# Videos drawn; the others have the masks of one of these.
_DRAWN = 40
# How often a mask is missing or jumps to where it matches nothing.
_MISSING, _JUMPS = 0.1, 0.05


def peak_of_tree(command: list[str], output: Path) -> float:
    """Run a command; return the largest memory (MB) that it and its workers held at one time, looked at often.

    What the kernel keeps as the peak of a process would not do: it includes the memory of the process that started it.
    """
    peak = 0
    with output.open("w") as stream, subprocess.Popen(command, stdout=stream) as process:
        tree = psutil.Process(process.pid)
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):  # ended between two looks
                members = [tree, *tree.children(recursive=True)]
                peak = max(peak, sum(member.memory_info().rss for member in members))
            time.sleep(0.02)
    assert process.returncode == 0
    return peak / 1e6


@dataclass(frozen=True)
class Curation:
    """What `measure_curation` found; `peak` and `megabytes` (of the json) are in 1e6 bytes."""

    clips: int
    instances: int
    candidates: int
    dropped: int
    megabytes: float
    seconds: float
    peak: float


def measure_curation(folder: Path, videos: int) -> Curation:
    """Measure the command over a store of so many videos, which is made and removed again."""
    store, dataset = write_store(folder / "store", videos), folder / "dataset"
    command = [sys.executable, "-m", "flowcut_napari.cli", "curate", str(store), "-o", str(dataset)]
    started = time.perf_counter()
    peak = peak_of_tree([*command, "--frame-files", "none", "--json"], folder / "stdout")
    seconds = time.perf_counter() - started
    result = json.loads((folder / "stdout").read_text())
    size = (dataset / "annotations.json").stat().st_size
    for made in (store, dataset):
        shutil.rmtree(made)
    figures = result["yield"].values()
    return Curation(
        clips=result["clips"],
        instances=result["instances"],
        candidates=sum(item["candidates"] for item in figures),
        dropped=sum(sum(item["dropped_clips"].values()) for item in figures),
        megabytes=size / 1e6,
        seconds=seconds,
        peak=peak,
    )


def write_store(folder: Path, videos: int) -> Path:
    """Write the masks of so many videos (30 frames of 1280x720, up to 3 instances each) and return the folder."""
    folder.mkdir(parents=True)
    drawn = [_frames(np.random.default_rng(seed)) for seed in range(min(videos, _DRAWN))]
    bodies = [json.dumps(frames, separators=(",", ":")) for frames in drawn]
    parameters = json.dumps(CutParameters().model_dump())
    for number in range(videos):
        name = f"video{number:05d}"
        video = {"name": name, "path": f"/nowhere/{name}", "frames": FRAMES, "height": HEIGHT, "width": WIDTH}
        head = json.dumps({**video, "fingerprint": f"{number:032x}"})
        text = (
            f'{{"schema":"flowcut.masks/1","video":{head},"parameters":{parameters},"provenance":{{}},'
            f'"frames":{bodies[number % len(bodies)]},"decisions":{{}}}}\n'
        )
        (folder / f"{name}.masks.json").write_text(text)
    return folder


def _frames(random: np.random.Generator) -> list[dict[str, Any]]:
    objects = [_Object(random, place) for place in range(INSTANCES)]
    frames = []
    for index in range(FRAMES):
        taken = np.zeros((HEIGHT, WIDTH), dtype=bool)
        instances = []
        for number, thing in enumerate(objects, start=1):
            mask = thing.mask(random, index) & ~taken
            taken |= mask
            if mask.any() and random.random() > _MISSING:
                cut = asdict(Instance.of_mask(number, mask, "cut"))
                instances.append({**cut, "iteration": number, "eigenvalue": 0.5, "eigengap": 0.1, "seed": [3, 4]})
        frames.append(
            {
                "index": index,
                "file": f"{5 * index:05d}.jpg",
                "partner": None,
                "stop": "max_instances",
                "instances": instances,
                "rejected": [],
            }
        )
    return frames


class _Object:
    """A blob with a wavy outline, as a dense CRF leaves it."""

    def __init__(self, random: np.random.Generator, place: int) -> None:
        self.centre = np.array([WIDTH * (place + 1) / 4, HEIGHT * random.uniform(0.3, 0.7)])
        self.motion = random.uniform(-6, 6, 2)
        self.radii = random.uniform(60, 190, 2)
        self.waves = random.uniform(0, 0.12, 12)
        self.phases = random.uniform(0, 2 * np.pi, 12)

    def mask(self, random: np.random.Generator, index: int) -> np.ndarray:
        centre = self.centre + index * self.motion
        if random.random() < _JUMPS:
            centre = random.uniform((0, 0), (WIDTH, HEIGHT))
        angles = np.linspace(0, 2 * np.pi, 160, endpoint=False)
        order = np.arange(1, 13)[:, None]
        radius = 1 + (self.waves[:, None] * np.sin(order * angles + self.phases[:, None] + 0.1 * index)).sum(0)
        radius += random.normal(0, 0.01, angles.size)
        outline = centre + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, None] * self.radii
        picture = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        cv2.fillPoly(picture, [outline.round().astype(np.int32)], 1)
        return picture.astype(bool)
