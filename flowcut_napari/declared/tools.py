"""What is about no stage: ``demo``, ``bench``, ``backend``, ``gui`` and ``weights``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flowcut_napari.commands.options import Settings, with_settings
from flowcut_napari.declared.shared import Json, Out, Workers


def demo(
    out: Out = Path("flowcut-demo"),
    gui: Annotated[
        bool | None,
        typer.Option("--gui/--no-gui", help="open the result in a window; done where there is one, if not given"),
    ] = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Run all stages on the bundled clip, without any download: from masks to a trained model, with pictures."""
    from flowcut_napari.commands.demo import run_demo
    from flowcut_napari.commands.gui import check_window, run_gui, window_problem
    from flowcut_napari.core import sample
    from flowcut_napari.core.store import masks_path

    if gui:
        check_window()  # before minutes of work
    code = run_demo(out, workers=workers, as_json=as_json)
    if code == 0 and gui is not False and not as_json and window_problem() is None:
        run_gui(str(masks_path(out, sample.NAME)))
    raise typer.Exit(code)


@with_settings
def bench(
    settings: Settings,
    video: Annotated[
        str | None, typer.Argument(help="a video to measure on; the bundled clip if not given", show_default=False)
    ] = None,
    repeats: Annotated[int, typer.Option(min=3, help="runs of each stage, after a warm-up")] = 15,
    large: Annotated[bool, typer.Option("--large/--no-large", help="also cut 3600 patches (takes a minute)")] = True,
    as_json: Json = False,
) -> None:
    """Measure this machine, stage by stage, beside the reference numerics."""
    from flowcut_napari.commands.bench import run_bench

    raise typer.Exit(run_bench(settings, video, repeats=repeats, large=large, as_json=as_json))


def backend(as_json: Json = False) -> None:
    """Show what this Python can train with: devices and their free memory, versions, configurations."""
    from flowcut_napari.commands.backend import show_backend

    raise typer.Exit(show_backend(as_json=as_json))


def weights_list(as_json: Json = False) -> None:
    """Show which weights are there and where the others are looked for."""
    from flowcut_napari.commands.weights import list_weights

    raise typer.Exit(list_weights(as_json))


def weights_fetch(
    names: Annotated[
        list[str] | None, typer.Argument(help="dino, raft-large, raft-small or timm names; the first three if none")
    ] = None,
    as_json: Json = False,
) -> None:
    """Download weights into the cache folder."""
    from flowcut_napari.commands.weights import fetch

    raise typer.Exit(fetch(names or [], as_json))


def weights_verify(as_json: Json = False) -> None:
    """Compare the weights that are there with their hashes."""
    from flowcut_napari.commands.weights import verify

    raise typer.Exit(verify(as_json))


def gui(
    path: Annotated[
        str | None,
        typer.Argument(
            metavar="[PATH]",
            help="folder of images, video file, DAVIS root, YouTube-VIS json, ROOT::NAME, NAME.masks.json "
            "or a session NAME.flowcut.json",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Open the napari workbench: see the cuts of a video, and tune them live."""
    from flowcut_napari.commands.gui import run_gui

    raise typer.Exit(run_gui(path))
