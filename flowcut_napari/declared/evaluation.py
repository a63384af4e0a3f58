"""Stage 3: ``evaluate ytvis`` and ``evaluate davis``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flowcut_napari.declared.shared import Json, ObjectTable, Workers, Worst

Events = Annotated[
    bool, typer.Option("--events", help="print lines, a JSON object each: progress, and at last the document of --json")
]
Most = Annotated[
    int | None,
    typer.Option("--most", min=0, help="only the worst videos of the document, and their objects", show_default=False),
]


def evaluate_ytvis(
    ground_truth: Annotated[
        Path, typer.Argument(metavar="GT", help="YouTube-VIS json, or the folder of an exported dataset")
    ],
    predictions: Annotated[
        Path, typer.Argument(metavar="PRED", help="json list of results, or a folder that `flowcut predict` wrote")
    ],
    threshold: Annotated[
        float | None,
        typer.Option(help="also give the numbers without detections below this score (the paper: 0.8)", metavar="S"),
    ] = None,
    use_categories: Annotated[
        bool, typer.Option("--use-categories", help="objects must also have the right category; the paper ignores it")
    ] = False,
    workers: Workers = None,
    worst: Worst = 5,
    table: ObjectTable = None,
    as_json: Json = False,
    as_events: Events = False,
    most: Most = None,
) -> None:
    """Average precision and recall of tubes, class-agnostic as in the paper."""
    from flowcut_napari.commands import evaluate as command

    code = command.evaluate_ytvis(
        ground_truth,
        predictions,
        threshold=threshold,
        use_categories=use_categories,
        workers=workers,
        worst=worst,
        table=table,
        as_json=as_json,
        as_events=as_events,
        most=most,
    )
    raise typer.Exit(code)


def evaluate_davis(
    ground_truth: Annotated[
        Path, typer.Argument(metavar="GT_DIR", help="a DAVIS root, or a folder of sequences of indexed PNG")
    ],
    predictions: Annotated[Path, typer.Argument(metavar="PRED_DIR", help="a folder of sequences of indexed PNG")],
    subset: Annotated[
        str | None, typer.Option(help="only the sequences that the DAVIS root lists, such as val", metavar="NAME")
    ] = None,
    missing_as_empty: Annotated[
        bool, typer.Option("--missing-as-empty", help="without predictions of a sequence, count its objects as missed")
    ] = False,
    workers: Workers = None,
    worst: Worst = 5,
    table: ObjectTable = None,
    as_json: Json = False,
    as_events: Events = False,
    most: Most = None,
) -> None:
    """J and F of the best one-to-one proposals (DAVIS-2017, unsupervised)."""
    from flowcut_napari.commands import evaluate as command

    code = command.evaluate_davis(
        ground_truth,
        predictions,
        subset=subset,
        missing_as_empty=missing_as_empty,
        workers=workers,
        worst=worst,
        table=table,
        as_json=as_json,
        as_events=as_events,
        most=most,
    )
    raise typer.Exit(code)
