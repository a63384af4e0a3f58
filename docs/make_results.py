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
from collections.abc import Callable, Iterator
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

ALPHAS = (1.0, 0.7, 0.5, 0.3, 0.0)
TUNED_ON = ("camel", "libby", "bmx-trees", "soapbox")
Table = dict[tuple[bool, float], dict[str, float]]


def main() -> None:
    """Run everything and write docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", type=int, default=1, help="use every STEP-th frame of each sequence")
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
    parts: dict[str, Callable[[], list[str]]] = {
        "masks": lambda: _masks(videos, truth, weights, chosen.step),
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


def _masks(videos: list[Video], truth: Path, weights: dict[str, Path], step: int) -> list[str]:
    frames = sum(len(range(0, len(video), step)) for video in videos)
    parts = [_opening(len(videos), frames, step)]
    for flow, title in (("raft-small", "RAFT-small flow"), ("dis", "DIS flow (nothing to download)")):
        table = measure(videos, truth, flow, weights if flow == "raft-small" else {}, step)
        parts += [f"## Hand-made features, {title}\n", *_alpha_table(table), *_sequence_table(table)]
    return parts


def measure(videos: list[Video], truth: Path, flow: str, weights: dict[str, Path], step: int) -> Table:
    """Return the mean J of the union of instances by (CRF, alpha) and sequence."""
    table: Table = {}
    cache = ArrayCache()
    for crf in (False, True):
        for alpha in ALPHAS:
            parameters = CutParameters.preset("handmade").with_changes(flow=flow, alpha=alpha, crf=crf)
            with Segmenter(parameters, weights=weights, workers=default_workers(), cache=cache) as segmenter:
                for video in videos:
                    masks = segmenter.segment(video, range(0, len(video), step))
                    scores = score_union(masks, read_annotations(truth / video.name))
                    table.setdefault((crf, alpha), {})[video.name] = float(np.mean(list(scores.values())))
            mean = np.mean(list(table[crf, alpha].values()))
            print(f"{flow} alpha {alpha:g} {'CRF' if crf else 'no CRF'}: {mean:.3f}", file=sys.stderr, flush=True)
    return table


def _opening(sequences: int, frames: int, step: int) -> str:
    about = machine()
    base = CutParameters.preset("handmade")
    which = "every frame" if step == 1 else f"every {step}th frame"
    return f"""# Results

Made by `make results` on {about["processor"]}, {about["cores"]} cores, Python {about["python"]}, torch
{about["torch"]}.

Pseudo-masks against ground truth on {sequences} of the 20 validation sequences of DAVIS-2016, {which}
({frames} frames), at 854x480. The figure is J, the IoU of the union of all instances of a frame with the ground truth,
averaged over the frames of a sequence and then over sequences. Features are hand-made (no download), 22x40 patches,
tau {base.tau:g}, gap {base.gap}, at most {base.max_instances} instance(s) a frame, the preset `handmade`; only alpha,
the flow and the CRF change. The features, alpha and tau of the preset were chosen on {", ".join(TUNED_ON)};
on the others nothing was chosen, and they were scored at the beginning and the end (docs/handmade.md). Tau was chosen
with flow.

Alpha is the weight of the picture: at 1 motion plays no part, at 0 nothing else does.
"""


def _alpha_table(table: Table) -> Iterator[str]:
    yield "| alpha | all, no CRF | all, CRF | not tuned on, no CRF | not tuned on, CRF |"
    yield "| --- | --- | --- | --- | --- |"
    for alpha in ALPHAS:
        cells = [_mean(table[crf, alpha], held_out=held_out) for held_out in (False, True) for crf in (False, True)]
        yield f"| {alpha:g} | " + " | ".join(f"{value:.3f}" for value in cells) + " |"
    yield ""


def _mean(scores: dict[str, float], *, held_out: bool) -> float:
    return float(np.mean([value for name, value in scores.items() if not (held_out and name in TUNED_ON)]))


def _sequence_table(table: Table) -> Iterator[str]:
    best = max(table, key=lambda key: _mean(table[key], held_out=False))
    crf, alpha = best
    with_crf = "with" if crf else "without"
    yield f"By sequence at the best setting, alpha {alpha:g} {with_crf} CRF, and there without flow (alpha 1):\n"
    yield "| sequence | J | J without flow |"
    yield "| --- | --- | --- |"
    for name, value in table[best].items():
        tuned = " (tuned on)" if name in TUNED_ON else ""
        yield f"| {name}{tuned} | {value:.3f} | {table[crf, 1.0][name]:.3f} |"
    yield ""


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
