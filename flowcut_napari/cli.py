"""The command ``flowcut``: which commands there are, how it starts and how it ends.

Errors are one line on stderr; ``--debug`` anywhere on the line shows the traceback. Exit codes: 0 done, 1 some of
the work failed, 2 bad usage or input, 130 interrupted.
"""

from __future__ import annotations

import io
import signal
import sys
import threading
import warnings
from typing import Annotated

import typer

from flowcut_napari import __version__
from flowcut_napari.commands import console
from flowcut_napari.core.errors import FlowCutError, FlowCutWarning
from flowcut_napari.declared import dataset, evaluation, masks, model, tools, tuning

app = typer.Typer(
    name="flowcut",
    help="Unsupervised video instance segmentation (FlowCut): pseudo-masks, datasets, training, evaluation.",
    epilog="Add --debug to any command to see the traceback of an error.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

weights_app = typer.Typer(help="List, fetch and verify pretrained weights.", no_args_is_help=True)
weights_app.command("list")(tools.weights_list)
weights_app.command("fetch")(tools.weights_fetch)
weights_app.command("verify")(tools.weights_verify)
evaluate_app = typer.Typer(help="Measure predictions as YouTube-VIS and DAVIS-2017 do.", no_args_is_help=True)
evaluate_app.command("ytvis")(evaluation.evaluate_ytvis)
evaluate_app.command("davis")(evaluation.evaluate_davis)
_INTERRUPTED = 130


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
    """Unsupervised video instance segmentation (FlowCut): pseudo-masks, datasets, training, evaluation."""


for _command in (masks.masks, masks.batch, dataset.curate, tuning.score, tuning.sweep, model.train, model.predict):
    app.command()(_command)
app.add_typer(evaluate_app, name="evaluate")
app.command("convert-checkpoint")(model.convert_checkpoint)
app.add_typer(weights_app, name="weights")
for _command in (tools.demo, tools.bench, tools.backend, tools.gui):
    app.command()(_command)


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
    if sys.stdout is not None:  # closed before this began
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
