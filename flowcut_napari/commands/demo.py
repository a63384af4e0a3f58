"""``flowcut demo``: everything on the bundled clip, without a download: masks, their score, a dataset, pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.table import Table

from flowcut_napari.commands import console
from flowcut_napari.commands.masks import run_masks
from flowcut_napari.commands.options import Settings
from flowcut_napari.core import sample
from flowcut_napari.core.dataset import ExportPlan, export_dataset
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.preview import dataset_sheet, save_picture
from flowcut_napari.core.scoring import best_overlaps, read_annotations, score_union
from flowcut_napari.core.store import load_masks, masks_path

_TOYS = {1: "fish, swims over the turtle", 2: "turtle, crawls below the fish", 3: "starfish, at rest"}


def run_demo(out: Path, *, workers: int | None = None, as_json: bool = False) -> int:
    """Make masks of the bundled clip, score them, make a dataset of them and draw pictures; return the exit code."""
    folder = sample.sample_folder()
    # One of the toys never moves: the picture must weigh more than where everything moves.
    parameters = CutParameters.preset("handmade").with_changes(alpha=0.8, max_instances=2)
    settings = Settings(parameters, {}, "cpu")
    code = run_masks(
        [f"{folder}::{sample.NAME}"], out, settings, preview=True, workers=workers, as_json=False, quiet=as_json
    )
    if code:
        return code
    masks = load_masks(masks_path(out, sample.NAME))
    annotations = read_annotations(folder / "Annotations" / sample.NAME)
    union = score_union(masks, annotations)
    toys = best_overlaps(masks, annotations)
    picture = out / f"{sample.NAME}.preview.png"
    dataset = out / "dataset"
    report = export_dataset([masks_path(out, sample.NAME)], dataset, ExportPlan(overwrite=True))
    save_picture(dataset_sheet(dataset, most=6), dataset / "preview.png")
    if as_json:
        found = {toy: _numbers(values) for toy, values in toys.items()}
        document = {
            "J_union": float(np.mean(list(union.values()))),
            "objects": found,
            "picture": str(picture),
            "dataset": str(dataset),
            "clips": report.total.clips,
            "instances": report.total.instances,
        }
        console.print_json(document)
        return 0
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for heading in ("object", "mean best IoU", "frames with IoU > 0.5"):
        table.add_column(heading, justify="left" if heading == "object" else "right")
    for toy, values in toys.items():
        numbers = _numbers(values)
        table.add_row(_TOYS[toy], f"{numbers['mean_best_iou']:.2f}", f"{numbers['recall_50']:.0%}")
    table.add_row("union of all masks (J)", f"{np.mean(list(union.values())):.2f}", "")
    console.stdout.print(table)
    total = report.total
    console.stdout.print()
    console.result(f"dataset: {dataset}, {total.clips} two-frame clips with {total.instances} instances")
    console.result(f"pictures: {picture}, {dataset / 'preview.png'}")
    return 0


def _numbers(values: list[float]) -> dict[str, float]:
    return {"mean_best_iou": float(np.mean(values)), "recall_50": float(np.mean(np.array(values) > 0.5))}
