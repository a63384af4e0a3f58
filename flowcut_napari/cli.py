"""The command ``flowcut``: one function a command, each a line or two, so that ``flowcut --help`` comes at once.

Errors are one line on stderr; ``--debug`` anywhere on the line shows the traceback. Exit codes: 0 done, 1 some of
the work failed, 2 bad usage or input, 130 interrupted.
"""

from __future__ import annotations

import io
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Annotated

import typer

from flowcut_napari import __version__
from flowcut_napari.commands import console
from flowcut_napari.commands.options import Settings, with_settings
from flowcut_napari.core.errors import FlowCutError, FlowCutWarning, InputError
from flowcut_napari.core.times import source_date_epoch

app = typer.Typer(
    name="flowcut",
    help="Pseudo-masks for unsupervised video instance segmentation (FlowCut).",
    epilog="Add --debug to any command to see the traceback of an error.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
weights_app = typer.Typer(help="List, fetch and verify pretrained weights.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")
evaluate_app = typer.Typer(help="Measure predictions as YouTube-VIS and DAVIS-2017 do.", no_args_is_help=True)
app.add_typer(evaluate_app, name="evaluate")

Json = Annotated[bool, typer.Option("--json", help="print one JSON document on stdout, nothing else")]
Frames = Annotated[
    str | None, typer.Option(help="frames that get masks, START:STOP:STEP, blanks allowed", show_default=False)
]
Cache = Annotated[bool, typer.Option("--cache/--no-cache", help="keep features and flow on disk")]
GiveUpHandWork = Annotated[
    bool, typer.Option("--overwrite", help="give up decisions and masks made by hand, replace damaged files")
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="processes; one a core if not given", show_default=False)
]


def _folder(text: str | Path) -> Path:
    # Path("") is the folder one stands in, and an unset variable of a shell is not meant to be that.
    if not str(text).strip():
        raise InputError("--out is empty; give a folder, or . for the one you are in")
    return Path(text)


Out = Annotated[Path, typer.Option("--out", "-o", parser=_folder, help="folder for the results", metavar="OUT")]


_INTERRUPTED = 130
# Panels of the help of `curate`.
_MATCHING, _DATASET, _OTHER = "Matching", "Dataset", "Instead of making a dataset of masks"


def _version(wanted: bool) -> None:
    if wanted:
        console.stdout.print(f"flowcut-napari {__version__}")
        raise typer.Exit


@app.callback()
def flowcut(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Pseudo-masks for unsupervised video instance segmentation (FlowCut)."""


@app.command()
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


@app.command()
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


@app.command()
def curate(
    context: typer.Context,
    masks: Annotated[
        list[str] | None,
        typer.Argument(metavar="OUT...", help="folders of masks, or NAME.masks.json; datasets with --merge"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", parser=_folder, help="folder for the dataset", metavar="DATASET"),
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


@app.command()
def demo(
    out: Out = Path("flowcut-demo"),
    gui: Annotated[
        bool, typer.Option("--gui/--no-gui", help="open the result in a window (this version opens none)")
    ] = False,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Run on the bundled clip, without any download: masks, their score, a dataset, pictures."""
    from flowcut_napari.commands.demo import run_demo

    if gui:
        console.note("this version has no window of its own yet; the result is in pictures")
    raise typer.Exit(run_demo(out, workers=workers, as_json=as_json))


@app.command()
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


@app.command()
def train(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="a dataset that `flowcut curate` made")],
    run: Annotated[Path, typer.Option("--out", "-o", parser=_folder, help="folder of the run", metavar="RUN")],
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
    as_json: Json = False,
) -> None:
    """Stage 3: train VideoMask2Former on a dataset.

    With several GPUs: torchrun --nproc-per-node N -m flowcut_napari train DATASET -o RUN
    """
    from flowcut_napari.commands.options import parse_weights
    from flowcut_napari.commands.train import train_model

    raise typer.Exit(
        train_model(
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
    )


@app.command()
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
    out: Annotated[Path, typer.Option("--out", "-o", parser=_folder, help="folder for the results", metavar="PRED")],
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
        typer.Option(help="long side at most", show_default="that of the training, else 1333"),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            help="see at most N frames at once; 0 = always the whole video",
            metavar="N",
            show_default="as memory allows",
        ),
    ] = None,
    precision: Annotated[str, typer.Option(help="auto, bf16 or float32")] = "auto",
    frames: Annotated[
        str | None,
        typer.Option(help="frames to predict on, START:STOP:STEP, blanks allowed", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an earlier prediction")] = False,
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
        as_json=as_json,
    )
    raise typer.Exit(code)


@app.command("convert-checkpoint")
def convert_checkpoint(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="a weights file of detectron2 (.pth, .pkl) or of this package")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", parser=_folder, metavar="DST", help=".safetensors for this package, .pth for detectron2"
        ),
    ],
    as_json: Json = False,
) -> None:
    """Convert weights between detectron2's Mask2Former and this package."""
    from flowcut_napari.commands.convert import convert_weights

    raise typer.Exit(convert_weights(source, out, as_json=as_json))


@weights_app.command("list")
def weights_list(as_json: Json = False) -> None:
    """Show which weights are there and where the others are looked for."""
    from flowcut_napari.commands.weights import list_weights

    raise typer.Exit(list_weights(as_json))


@weights_app.command("fetch")
def weights_fetch(
    names: Annotated[
        list[str] | None, typer.Argument(help="dino, raft-large, raft-small or timm names; the first three if none")
    ] = None,
    as_json: Json = False,
) -> None:
    """Download weights into the cache folder."""
    from flowcut_napari.commands.weights import fetch

    raise typer.Exit(fetch(names or [], as_json))


@weights_app.command("verify")
def weights_verify(as_json: Json = False) -> None:
    """Compare the weights that are there with their hashes."""
    from flowcut_napari.commands.weights import verify

    raise typer.Exit(verify(as_json))


Worst = Annotated[int, typer.Option(min=0, help="rows of the worst videos and objects")]
ObjectTable = Annotated[
    Path | None,
    typer.Option("--csv", help="also write every object, the worst first", metavar="FILE", show_default=False),
]


@evaluate_app.command("ytvis")
def evaluate_ytvis(
    ground_truth: Annotated[
        Path, typer.Argument(metavar="GT", help="YouTube-VIS json, or the folder of an exported dataset")
    ],
    predictions: Annotated[Path, typer.Argument(metavar="PRED", help="json list of results")],
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
    )
    raise typer.Exit(code)


@evaluate_app.command("davis")
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
    )
    raise typer.Exit(code)


class _Ended(BaseException):
    """The process was asked to end by a signal; not an Exception, so that nothing on the way takes it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    console.debug = "--debug" in words
    if console.debug:
        words.remove("--debug")
    # A file name may hold what the terminal's encoding does not.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _watch_warnings_and_signals()
    try:
        code = app(words, standalone_mode=False) or 0
        if code == _INTERRUPTED:  # newer versions of typer turn Ctrl-C into this code themselves
            raise KeyboardInterrupt
    except (KeyboardInterrupt, typer.Abort):
        console.failure("interrupted; what was finished is kept")
        code = _INTERRUPTED
    except _Ended as ended:
        console.failure(f"ended by {signal.Signals(ended.number).name}; what was finished is kept")
        code = 128 + ended.number
    except Exception as error:  # the last place where an error can become one line
        if console.debug:
            raise
        code = _report(error)
    sys.stdout.flush()
    sys.exit(code)


def _watch_warnings_and_signals() -> None:
    def show(message: Warning | str, category: type[Warning], *_: object) -> None:
        # What libraries warn of is for developers; what this package warns of is for the user.
        if issubclass(category, FlowCutWarning) or console.debug:
            console.note(str(message))

    def end(number: int, _: object) -> None:
        # Once is enough: what is being put in order must not be broken off.
        for other in names:
            signal.signal(getattr(signal, other), signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise _Ended(number)

    warnings.showwarning = show  # type: ignore[assignment]
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    for name in names:
        number = getattr(signal, name)
        # What is ignored when this starts, as under nohup, stays so.
        if threading.current_thread() is threading.main_thread() and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)


def _report(error: Exception) -> int:
    # Usage errors of typer: their class has moved between modules, what they can do has not.
    if hasattr(error, "format_message"):
        if message := error.format_message():
            console.failure(f"{message} (see --help)")
        return 2
    if isinstance(error, FlowCutError):
        console.failure(str(error))
        return 2
    if isinstance(error, MemoryError):
        console.failure(f"out of memory ({error}); try a smaller --size or fewer --workers")
        return 2
    console.failure(f"unexpected {type(error).__name__}: {error}; run again with --debug for the traceback")
    return 1


if __name__ == "__main__":
    main()
