"""``flowcut demo``: everything on the bundled clip, without a download, from masks to a trained model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from flowcut_napari.commands import console
from flowcut_napari.commands.demo_model import Trained, train_and_predict
from flowcut_napari.commands.masks import run_masks
from flowcut_napari.commands.options import Settings
from flowcut_napari.core import sample
from flowcut_napari.core.dataset import ExportPlan, export_dataset
from flowcut_napari.core.errors import InputError, OutputError
from flowcut_napari.core.files import check_writable, write_atomically
from flowcut_napari.core.masks import decode_rle, mask_iou
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.preview import dataset_sheet, save_picture, stages_sheet
from flowcut_napari.core.scoring import best_overlaps, read_annotation, read_annotations, score_union
from flowcut_napari.core.store import VideoMasks, load_masks, masks_path
from flowcut_napari.core.video import open_video

_TOYS = {1: "fish", 2: "turtle, partly under the fish", 3: "starfish, at rest"}
_SHOWN = (0, 6, 12, 17, 23)
_SMOKE = (
    "a smoke run: a small network, {steps} steps, evaluated on the very clip that it was trained on; "
    "it shows that everything works, not how good the method is"
)
# Below this overlap a mask is of no toy: it gets a colour that none of them has.
_SAME, _OTHER = 0.1, 7
# In a folder in which the demo may replace what it made.
_MARK = ".flowcut-demo"


@dataclass(frozen=True)
class _MasksFigures:
    """How good the pseudo-masks are: J of their union, and of each toy the overlaps frame by frame."""

    union: float
    toys: Mapping[int, list[float]]


def run_demo(out: Path, *, workers: int | None = None, as_json: bool = False) -> int:
    """Run all stages on the bundled clip and measure them against its ground truth; return the exit code."""
    folder = sample.sample_folder()
    address = f"{folder}::{sample.NAME}"
    _clear(out)
    # The toys move slowly, and one of them never: a larger gap, and the picture weighs more.
    parameters = CutParameters.preset("handmade").with_changes(alpha=0.8, gap=4, max_instances=2, max_eigenvalue=1.0)
    settings = Settings(parameters, {}, "cpu")
    code = run_masks([address], out, settings, preview=True, workers=workers, as_json=False, quiet=as_json)
    if code:
        return code
    masks = load_masks(masks_path(out, sample.NAME))
    annotations = read_annotations(folder / "Annotations" / sample.NAME)
    figures = _MasksFigures(
        float(np.mean(list(score_union(masks, annotations).values()))), best_overlaps(masks, annotations)
    )
    dataset = out / "dataset"
    report = export_dataset([masks_path(out, sample.NAME)], dataset, ExportPlan(overwrite=True))
    save_picture(dataset_sheet(dataset, most=6), dataset / "preview.png")
    counts = f"{report.total.clips} two-frame clips with {report.total.instances} instances"
    if not as_json:
        _print_masks(figures)
        console.result(f"dataset: {dataset}, {counts}")
    trained = train_and_predict(dataset, address, folder, out)
    picture = out / "demo.png"
    _draw(picture, address, masks, annotations, trained)
    if as_json:
        console.print_json(
            {
                "J_union": figures.union,
                "objects": {toy: _numbers(values) for toy, values in figures.toys.items()},
                "dataset": str(dataset),
                "clips": report.total.clips,
                "instances": report.total.instances,
                "run": str(trained.run),
                "steps": trained.steps,
                "loss": trained.losses,
                "prediction": str(trained.prediction),
                "stats": dict(trained.stats),
                "remark": _SMOKE.format(steps=trained.steps),
                "picture": str(picture),
            }
        )
        return 0
    _print_model(trained)
    previews = ", ".join(str(path) for path in (out / f"{sample.NAME}.preview.png", dataset / "preview.png"))
    console.result(f"pictures: {picture}; {previews}")
    return 0


def _clear(out: Path) -> None:
    """Remove the run and the predictions of an earlier demo, and nothing else; its dataset is replaced later."""
    check_writable(out)
    for name in ("run", "prediction", "dataset"):
        folder = out / name
        is_free = not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir()))
        # Somebody's own run looks like one of the demo.
        if not is_free and not (out / _MARK).is_file():
            raise InputError(f"{folder}: is there already, and not from a demo; give another --out")
    write_atomically(out / _MARK, "flowcut demo made run/, prediction/ and dataset/, and may replace them.\n")
    for name in ("run", "prediction"):
        try:
            if (out / name).exists():
                shutil.rmtree(out / name)
        except OSError as error:
            raise OutputError(f"{out / name}: cannot be removed ({error.strerror or error})") from None


def _print_masks(figures: _MasksFigures) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for heading in ("pseudo-masks", "mean best IoU", "frames with IoU > 0.5"):
        table.add_column(heading, justify="left" if heading == "pseudo-masks" else "right")
    for toy, values in figures.toys.items():
        numbers = _numbers(values)
        table.add_row(_TOYS[toy], f"{numbers['mean_best_iou']:.2f}", f"{numbers['recall_50']:.0%}")
    table.add_row("union of all masks (J)", f"{figures.union:.2f}", "")
    console.stdout.print(table)
    console.stdout.print()


def _print_model(trained: Trained) -> None:
    first, last = trained.losses
    console.result(f"model: {trained.run}, {trained.steps} steps, loss {first:.1f} to {last:.1f}")
    console.stdout.print()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in trained.stats:
        table.add_column(name, justify="right")
    table.add_row(*(f"{100 * value:.1f}" for value in trained.stats.values()))
    console.stdout.print(table)
    console.result(_SMOKE.format(steps=trained.steps))
    console.stdout.print()


def _draw(picture: Path, address: str, masks: VideoMasks, annotations: Mapping[str, Path], trained: Trained) -> None:
    """Draw some frames: the toys, the pseudo-masks and what the model says, each toy in one colour."""
    video = open_video(address)
    of_frame = {frame.index: frame for frame in masks.frames}
    rows = []
    for index in _SHOWN:
        truth = read_annotation(annotations[f"{index:05d}"])
        toys = [(toy, truth == toy) for toy in _TOYS]
        pseudo = [_coloured(instance.mask, toys) for instance in of_frame[index].instances]
        # By rising score, so that the best is on top.
        found = [_coloured(decode_rle(code), toys) for code in trained.masks_of(index)]
        rows.append((f"frame {index}", video[index], [[], toys, pseudo, found]))
    stats = trained.stats
    words = (
        f"a smoke run of {trained.steps} steps on this very clip: AP {100 * stats['AP']:.1f}, "
        f"AP50 {100 * stats['AP50']:.1f}, J&F {100 * stats['J&F']:.1f}; a mask has the colour of the toy it fits best"
    )
    headings = ("frame", "ground truth", "pseudo-masks (stage 1)", "model (stage 3)")
    save_picture(stages_sheet("From a video to a trained model, without a label", words, headings, rows), picture)


def _coloured(mask: np.ndarray, toys: list[tuple[int, np.ndarray]]) -> tuple[int, np.ndarray]:
    overlap, toy = max((mask_iou(mask, of_toy), toy) for toy, of_toy in toys)
    return (toy if overlap > _SAME else _OTHER, mask)


def _numbers(values: list[float]) -> dict[str, Any]:
    return {"mean_best_iou": float(np.mean(values)), "recall_50": float(np.mean(np.array(values) > 0.5))}
