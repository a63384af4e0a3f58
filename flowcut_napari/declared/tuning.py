"""Evidence for tuning: ``score`` and ``sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flowcut_napari.commands.options import Settings, with_settings
from flowcut_napari.declared.shared import Cache, Frames, Json, Out, Workers

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


@with_settings
def sweep(
    videos: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEO...",
            help="folders of images, video files, DAVIS roots, YouTube-VIS json; ROOT::NAME for one of many",
        ),
    ],
    out: Out,
    settings: Settings,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="a parameter and its values, such as alpha=0:1:0.25 or crf=true,false; may be repeated",
            metavar="NAME=VALUES",
            show_default="alpha and tau",
        ),
    ] = None,
    presets: Annotated[
        bool,
        typer.Option(
            "--presets",
            help="compare the presets of tokencut, maskcut, locate, flowcut and handmade; other options change all",
        ),
    ] = False,
    ground_truth: GroundTruth = None,
    annotated_only: OnlyAnnotated = False,
    measure: Annotated[
        str | None,
        typer.Option(
            help="what the best setting and the heat maps are about (docs/scoring.md)",
            show_default="J, without ground truth eigengap",
        ),
    ] = None,
    keep_masks: Annotated[
        bool, typer.Option("--keep-masks", help="also write the masks, OUT/masks/SETTING/NAME.masks.json")
    ] = False,
    frames: Frames = None,
    workers: Workers = None,
    cache: Cache = True,
    as_json: Json = False,
) -> None:
    """Measure masks under every setting of a grid: tables, heat maps, and the best setting as a command."""
    from flowcut_napari.commands.sweep import run_sweep

    code = run_sweep(
        videos,
        out,
        settings,
        vary=vary or [],
        presets=presets,
        frames=frames,
        ground_truth=ground_truth,
        only_annotated=annotated_only,
        measure=measure,
        keep_masks=keep_masks,
        workers=workers,
        use_cache=cache,
        as_json=as_json,
    )
    raise typer.Exit(code)
