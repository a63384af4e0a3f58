"""Stage 1: ``masks`` and ``batch``."""

from __future__ import annotations

from typing import Annotated

import typer

from flowcut_napari.commands.options import Settings, with_settings
from flowcut_napari.core.times import source_date_epoch
from flowcut_napari.declared.shared import Cache, Frames, GiveUpHandWork, Json, Out, Workers


@with_settings
def masks(
    videos: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEO...",
            help="folders of images, video files, DAVIS roots, YouTube-VIS json; ROOT::NAME for one of many",
        ),
    ],
    out: Out,
    settings: Settings,
    frames: Frames = None,
    preview: Annotated[bool, typer.Option("--preview", help="also write overlays as PNG and a contact sheet")] = False,
    workers: Workers = None,
    cache: Cache = True,
    overwrite: GiveUpHandWork = False,
    as_json: Json = False,
) -> None:
    """Stage 1: make pseudo-masks; writes OUT/NAME.masks.json for every video."""
    from flowcut_napari.commands.masks import run_masks

    raise typer.Exit(
        run_masks(
            videos,
            out,
            settings,
            frames=frames,
            preview=preview,
            workers=workers,
            use_cache=cache,
            overwrite=overwrite,
            as_json=as_json,
        )
    )


@with_settings
def batch(
    roots: Annotated[
        list[str],
        typer.Argument(
            metavar="ROOT...", help="a folder of videos or of folders of images, a DAVIS root, a YouTube-VIS json"
        ),
    ],
    out: Out,
    settings: Settings,
    frames: Frames = None,
    workers: Workers = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="address or scheduler file of a Dask cluster to use instead of --workers", metavar="ADDRESS"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="leave files that are whole and were made with these parameters")
    ] = False,
    cache: Cache = True,
    overwrite: GiveUpHandWork = False,
    as_json: Json = False,
) -> None:
    """Stage 1 for a whole dataset: one task a video, on this machine's cores or a Dask cluster."""
    # Some module that Dask brings along reads it too, and fails.
    source_date_epoch()
    from flowcut_napari.commands.batch import batch_videos

    raise typer.Exit(
        batch_videos(
            roots,
            out,
            settings,
            frames=frames,
            workers=workers,
            scheduler=scheduler,
            resume=resume,
            overwrite=overwrite,
            use_cache=cache,
            as_json=as_json,
        )
    )
