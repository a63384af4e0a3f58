"""Stage 2: ``curate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flowcut_napari.core.errors import InputError
from flowcut_napari.declared.shared import Json, folder

# Panels of its help.
_MATCHING, _DATASET, _OTHER = "Matching", "Dataset", "Instead of making a dataset of masks"


def curate(
    context: typer.Context,
    masks: Annotated[
        list[str] | None,
        typer.Argument(metavar="OUT...", help="folders of masks, or NAME.masks.json; datasets with --merge"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", parser=folder, help="folder for the dataset", metavar="DATASET"),
    ] = None,
    gaps: Annotated[
        str, typer.Option(help="frames from one frame of a clip to the next", rich_help_panel=_MATCHING)
    ] = "1,2,3,4",
    iou: Annotated[
        float, typer.Option(help="instances match above this IoU of their masks", rich_help_panel=_MATCHING)
    ] = 0.5,
    method: Annotated[
        str, typer.Option(help="argmax (Algorithm 1) or hungarian", rich_help_panel=_MATCHING)
    ] = "argmax",
    clip_length: Annotated[
        str | None,
        typer.Option(
            help="frames of a clip, or all: 2 are matched pairs, more come of tracklets; of davis all if not given",
            rich_help_panel=_MATCHING,
            show_default="2",
        ),
    ] = None,
    only_accepted: Annotated[
        bool,
        typer.Option(
            "--only-accepted",
            help="leave out what nobody accepted, not only what was rejected",
            rich_help_panel=_MATCHING,
        ),
    ] = False,
    form: Annotated[str, typer.Option("--format", help="ytvis, coco or davis", rich_help_panel=_DATASET)] = "ytvis",
    frame_files: Annotated[
        str,
        typer.Option(
            help="copy, link (hard links), reference (symbolic links) or none (annotations alone)",
            rich_help_panel=_DATASET,
        ),
    ] = "copy",
    videos: Annotated[
        list[str] | None,
        typer.Option(
            help="where videos are now that are not where their masks say; may be repeated",
            metavar="ROOT",
            rich_help_panel=_DATASET,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="a dataset each for shares of the videos, such as train=0.9,val=0.1", rich_help_panel=_DATASET
        ),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="also draw some clips, DATASET/preview.png", rich_help_panel=_DATASET)
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace a dataset that is there", rich_help_panel=_DATASET)
    ] = False,
    merge: Annotated[bool, typer.Option("--merge", help="make one dataset of several", rich_help_panel=_OTHER)] = False,
    check: Annotated[
        Path | None,
        typer.Option(help="check a dataset, strictly", metavar="DATASET", show_default=False, rich_help_panel=_OTHER),
    ] = None,
    as_json: Json = False,
) -> None:
    """Stage 2: match masks over time and export the clips as a dataset."""
    from flowcut_napari.commands import curate as command

    # By name: the class that they are of has moved between versions of typer.
    given = {name for name in context.params if context.get_parameter_source(name).name == "COMMANDLINE"}  # type: ignore[union-attr]
    if check is not None:
        if given - {"check", "as_json"}:
            raise InputError("--check DATASET looks at one dataset and makes none; give nothing else but --json")
        raise typer.Exit(command.check(check, as_json=as_json))
    if not masks or out is None:
        raise InputError("give folders of masks and -o DATASET (see --help)")
    if merge and (others := given - {"masks", "out", "merge", "frame_files", "overwrite", "as_json"}):
        flags = ", ".join(sorted(f"--{name.replace('form', 'format').replace('_', '-')}" for name in others))
        raise InputError(f"--merge puts datasets together as they are; leave {flags} away")
    if merge:
        code = command.merge(masks, out, frame_files=frame_files, overwrite=overwrite, as_json=as_json)
        raise typer.Exit(code)
    plan = command.make_plan(
        gaps=gaps,
        iou=iou,
        method=method,
        form=form,
        clip_length=clip_length,
        only_accepted=only_accepted,
        frame_files=frame_files,
        videos=videos or [],
        overwrite=overwrite,
    )
    raise typer.Exit(command.curate_videos(masks, out, plan, split=split, preview=preview, as_json=as_json))
