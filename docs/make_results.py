"""Measure what docs/results.md reports, and write it: ``make results``.

Needs FLOWCUT_TEST_DATA, a folder with ``data/davis16`` and ``weights/raft_small.pth``. Flow and features are kept in
the cache, so that a second run only cuts; the first takes about half an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from flowcut_napari.core import ArrayCache, CutParameters, Segmenter, Video, Yield, curate_video, open_videos
from flowcut_napari.core.bench import machine
from flowcut_napari.core.scoring import read_annotations, score_union
from flowcut_napari.core.workers import default_workers

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "benchmarks"))
sys.path.insert(0, str(HERE))
from large_store import measure_curation  # noqa: E402
from small_training import learning_section  # noqa: E402
from tuning_results import TUNED_ON, tuning_section  # noqa: E402


def main() -> None:
    """Run everything and write docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", type=int, default=1, help="use every STEP-th frame of each sequence")
    parser.add_argument("--quick", action="store_true", help="masks without CRF, but for one table")
    parser.add_argument(
        "--only",
        choices=("masks", "curation", "learning", "training", "speed"),
        help="measure one part, leave the others",
    )
    chosen = parser.parse_args()
    root = Path(os.environ.get("FLOWCUT_TEST_DATA", HERE.parent.parent / "shared"))
    videos = open_videos(root / "data" / "davis16")
    truth = root / "data" / "davis16" / "Annotations" / "480p"
    weights = {"raft-small": root / "weights" / "raft_small.pth"}
    parts: dict[str, Callable[[], Iterable[str]]] = {
        "masks": lambda: _masks(
            videos, root / "data" / "davis16", weights["raft-small"], chosen.step, quick=chosen.quick
        ),
        "curation": lambda: ["## Curation\n", *_curation(videos, truth, weights), *_scale()],
        "learning": lambda: ["## Learning\n", *_learning(root / "data" / "davis16", truth, weights["raft-small"])],
        "training": lambda: ["## Training\n", *_training()],
        "speed": lambda: ["## Speed\n", *_bench(weights["raft-small"])],
    }
    kept = _parts_of((HERE / "results.md").read_text()) if chosen.only else {}
    texts = [kept[name] if name in kept and name != chosen.only else "\n".join(make()) for name, make in parts.items()]
    (HERE / "results.md").write_text("\n".join(text.strip("\n") + "\n" for text in texts))


def _parts_of(text: str) -> dict[str, str]:
    """Return the parts of a results.md as it is."""
    masks, *others = re.split(r"^(?=## (?:Curation|Learning|Training|Speed)$)", text, flags=re.MULTILINE)
    return {"masks": masks} | {part.split()[1].lower(): part for part in others}


def _masks(videos: list[Video], root: Path, weights: Path, step: int, *, quick: bool) -> Iterator[str]:
    yield _opening(len(videos), sum(len(range(0, len(video), step)) for video in videos), step)
    yield from tuning_section(root, weights, step, quick=quick)


def _opening(sequences: int, frames: int, step: int) -> str:
    about = machine()
    base = CutParameters.preset("handmade")
    which = "every frame" if step == 1 else f"every {step}th frame of each"
    return f"""# Results

Made by `make results` on {about["processor"]}, {about["cores"]} cores, Python {about["python"]}, torch
{about["torch"]}.

Pseudo-masks against ground truth on {sequences} of the 20 validation sequences of DAVIS-2016, {which}
({frames} frames), at 854x480. The figure is J, the IoU of the union of all instances of a frame with the ground truth,
averaged over the frames of a sequence and then over sequences. Features are hand-made (no download), 22x40 patches,
tau {base.tau:g}, gap {base.gap}, the preset `handmade`; where nothing else is said only alpha, the flow and the CRF
change. The features and all values of the preset were chosen on {", ".join(TUNED_ON)};
on the others (*not tuned on*) nothing was chosen (docs/handmade.md). Tau was chosen with flow.

Alpha is the weight of the picture: at 1 motion plays no part, at 0 nothing else does.
"""


def _curation(videos: list[Video], truth: Path, weights: dict[str, Path]) -> Iterator[str]:
    yield "What is left of the masks of the same sequences, all frames, preset `handmade`, and whether that is better:"
    yield "J of masks that are in a clip of this gap beside J of masks that match nothing at it (Algorithm 1).\n"
    yield "| flow | gap | pairs of frames | clips | kept | masks in a clip | their J | other masks | their J |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for flow in ("raft-small", "dis"):
        parameters = CutParameters.preset("handmade").with_changes(flow=flow)
        used = weights if flow == "raft-small" else {}
        figures: dict[int, Yield] = {}
        matched: dict[int, list[float]] = {}
        others: dict[int, list[float]] = {}
        with Segmenter(parameters, weights=used, workers=default_workers(), cache=ArrayCache()) as segmenter:
            for video in videos:
                masks = segmenter.segment(video)
                scores = score_union(masks, read_annotations(truth / video.name))
                curated = curate_video(masks)
                with_mask = {frame.index for frame in masks.frames if frame.instances}
                for gap, found in curated.yields.items():
                    figures.setdefault(gap, Yield()).add(found)
                    inside = {index for clip in curated.clips if clip.gap == gap for index in clip.frames}
                    matched.setdefault(gap, []).extend(scores[index] for index in inside)
                    others.setdefault(gap, []).extend(scores[index] for index in with_mask - inside)
        for gap, found in sorted(figures.items()):
            kept = found.clips / found.candidates
            yield (
                f"| {flow} | {gap} | {found.candidates} | {found.clips} | {kept:.0%} | {len(matched[gap])} | "
                f"{np.mean(matched[gap]):.3f} | {len(others[gap])} | {np.mean(others[gap]):.3f} |"
            )
    yield ""


def _scale() -> Iterator[str]:
    yield "Time and memory of `flowcut curate --frame-files none` over a made-up store as large as YouTube-VIS 2021 (30"
    yield "frames of 1280x720 and up to three instances a video, as they move, change and vanish), all gaps; memory is"
    yield "the largest of the whole process, looked at every 20 ms.\n"
    yield "| videos | clips | instances | json | seconds | ms a video | peak memory |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for videos in (298, 995, 2985):
        with tempfile.TemporaryDirectory() as folder:
            found = measure_curation(Path(folder), videos)
        yield (
            f"| {videos} | {found.clips} | {found.instances} | {found.megabytes:.0f} MB | {found.seconds:.1f} | "
            f"{1e3 * found.seconds / videos:.1f} | {found.peak:.0f} MB |"
        )
    yield ""


def _learning(root: Path, truth: Path, weights: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield from learning_section(root, truth, weights, Path(folder))


def _training() -> Iterator[str]:
    folder = Path("tests", "benchmarks")
    files = [str(folder / f"test_{name}_speed.py") for name in ("training", "loader", "evaluation")]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "benchmark", *files],
        check=True,
        capture_output=True,
        text=True,
        cwd=HERE.parent,
    )
    yield "Steps, data and evaluation of stage 3, as `pytest -m benchmark` prints them. No GPU was at hand.\n"
    starts = ("`paper`", "pixel decoder", "index of", "loader", "ytvis", "davis")
    yield from (f"- {line}" for line in run.stdout.splitlines() if line.startswith(starts))
    yield ""


def _bench(weights: Path) -> Iterator[str]:
    command = ["bench", "--preset", "handmade", "--flow", "raft-small"]
    run = subprocess.run(
        [sys.executable, "-m", "flowcut_napari.cli", *command, "--weights", f"raft-small={weights}", "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    document = json.loads(run.stdout)
    yield f"`flowcut {' '.join(command)}` on the bundled clip (640x360), one process, one thread, device"
    yield f"{document['machine']['device']}. The reference is the dense generalised solver in float64 with the affinity"
    yield "computed anew for every cut, and Algorithm 1 on pixels; ratios are medians of the same run.\n"
    yield "| stage | median ms | p95 ms | reference / ours | |"
    yield "| --- | --- | --- | --- | --- |"
    for figure in document["figures"]:
        ratio = f"{figure['ratio']:.0f}x" if figure["ratio"] else ""
        cells = (figure["stage"], f"{figure['median_ms']:.1f}", f"{figure['p95_ms']:.1f}", ratio, figure["remark"])
        yield f"| {' | '.join(cells)} |"
    yield ""


if __name__ == "__main__":
    main()
