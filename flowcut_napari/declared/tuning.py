"""Evidence for tuning: ``score`` and ``sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flowcut_napari.declared.shared import Json

GroundTruth = Annotated[
    Path | None,
    typer.Option(
        "--ground-truth",
        help="a DAVIS root, a folder of sequences of indexed PNG, or a YouTube-VIS json",
        metavar="DIR",
        show_default=False,
    ),
]
OnlyAnnotated = Annotated[bool, typer.Option("--annotated-only", help="leave out frames that have no annotation")]


def score(
    masks: Annotated[list[str], typer.Argument(metavar="OUT...", help="folders of masks, or NAME.masks.json")],
    ground_truth: GroundTruth = None,
    annotated_only: OnlyAnnotated = False,
    worst: Annotated[int, typer.Option(min=0, help="rows of the worst frames")] = 5,
    table: Annotated[
        Path | None,
        typer.Option("--csv", help="also write every frame (without ground truth every video)", metavar="FILE"),
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="also draw the worst frames beside their ground truth", metavar="PNG")
    ] = None,
    videos: Annotated[
        list[str] | None,
        typer.Option(help="for --sheet, where videos are now that have moved; may be repeated", metavar="ROOT"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure pseudo-masks: J and F against ground truth, without it what they tell of themselves."""
    from flowcut_napari.commands.score import run_score

    code = run_score(
        masks,
        ground_truth=ground_truth,
        only_annotated=annotated_only,
        worst=worst,
        table=table,
        sheet=sheet,
        roots=videos or [],
        as_json=as_json,
    )
    raise typer.Exit(code)
