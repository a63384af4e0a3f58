"""Stage 3: ``train``, ``predict`` and ``convert-checkpoint``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flowcut_napari.core.errors import InputError
from flowcut_napari.declared.shared import Json, folder


def train(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="a dataset that `flowcut curate` made")],
    run: Annotated[Path, typer.Option("--out", "-o", parser=folder, help="folder of the run", metavar="RUN")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="parameters that differ, such as optimizer.lr=1e-5 steps=2000"),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(help="paper, davis, tiny or a yaml file", metavar="NAME|FILE", show_default="paper"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in this folder")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps")] = "auto",
    weights: Annotated[
        list[str] | None,
        typer.Option(help="file of the weights that run.init names, such as cutler=PATH", metavar="NAME=PATH"),
    ] = None,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="pass over clips that cannot be read, and count them")
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="start nothing; say what is wrong, what is in the dataset, how long it takes, how much memory",
        ),
    ] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate/--no-estimate", help="with --check: try two steps for time and memory")
    ] = True,
    processes: Annotated[
        int, typer.Option(min=1, help="with --check: how many processes torchrun will start", metavar="N")
    ] = 1,
    as_json: Json = False,
) -> None:
    """Stage 3: train VideoMask2Former on a dataset.

    docs/training.md lists all parameters. Ctrl-C or a file RUN/stop ends it after a step; --resume goes on.

    With several GPUs: torchrun --nproc-per-node N -m flowcut_napari train DATASET -o RUN
    """
    from flowcut_napari.commands.options import parse_weights
    from flowcut_napari.commands.train import check_training, train_model

    if check:
        code = check_training(
            dataset,
            run,
            config=config,
            overrides=overrides or [],
            resume=resume,
            device=device,
            weights=parse_weights(weights or []),
            skip_broken=skip_broken,
            measures=estimate,
            processes=processes,
            as_json=as_json,
        )
        raise typer.Exit(code)
    if processes != 1:
        raise InputError("--processes goes with --check; start several by torchrun --nproc-per-node N")
    code = train_model(
        dataset,
        run,
        config=config,
        overrides=overrides or [],
        resume=resume,
        device=device,
        weights=parse_weights(weights or []),
        skip_broken=skip_broken,
        as_json=as_json,
    )
    # Not by typer, for which 130 is an interrupt that nobody has spoken of yet.
    sys.exit(code)


def predict(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="folder of a run, one of its checkpoints, or a weights file")
    ],
    videos: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEO...",
            help="videos or folders of them, DAVIS roots, datasets, YouTube-VIS json; ROOT::NAME for one of many",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", parser=folder, help="folder for the results", metavar="PRED")],
    checkpoint: Annotated[
        str, typer.Option(help="of a run: best, last, or the number of a step", metavar="best|last|STEP")
    ] = "best",
    form: Annotated[str, typer.Option("--format", help="ytvis or davis")] = "ytvis",
    top: Annotated[int, typer.Option(help="instances of a video at most")] = 10,
    threshold: Annotated[
        float | None,
        typer.Option(help="leave out instances below this score", show_default="0; of davis 0.3", metavar="S"),
    ] = None,
    short_side: Annotated[
        int | None,
        typer.Option(help="short side of a resized frame", show_default="that of the training, else 360"),
    ] = None,
    max_side: Annotated[
        int | None,
        typer.Option(help="long side at most", show_default="that of the training, else, and with --short-side, 1333"),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            help="see at most N frames at once; 0 = always the whole video",
            metavar="N",
            show_default="as memory allows",
        ),
    ] = None,
    precision: Annotated[str, typer.Option(help="float32, bf16 or auto (bf16 on a GPU that has it)")] = "float32",
    frames: Annotated[
        str | None,
        typer.Option(help="frames to predict on, START:STOP:STEP, blanks allowed", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an earlier prediction")] = False,
    events: Annotated[
        bool, typer.Option("--events", help="say on stdout what goes on, one JSON object a line, for programs")
    ] = False,
    as_json: Json = False,
) -> None:
    """Stage 3: find the instances in videos with a trained model."""
    from flowcut_napari.commands import predict as command

    code = command.predict(
        run,
        videos,
        out,
        checkpoint=checkpoint,
        form=form,
        top=top,
        threshold=threshold,
        short_side=short_side,
        max_side=max_side,
        window=window,
        precision=precision,
        frames=frames,
        device=device,
        overwrite=overwrite,
        events=events,
        as_json=as_json,
    )
    raise typer.Exit(code)


def convert_checkpoint(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="a weights file of detectron2 (.pth, .pkl) or of this package")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", parser=folder, metavar="DST", help=".safetensors for this package, .pth for detectron2"
        ),
    ],
    as_json: Json = False,
) -> None:
    """Convert weights between detectron2's Mask2Former and this package."""
    from flowcut_napari.commands.convert import convert_weights

    raise typer.Exit(convert_weights(source, out, as_json=as_json))
