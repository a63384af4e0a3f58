"""What commands print: results on stdout, notes, errors and progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from flowcut_napari.core.errors import printable

stdout = Console(highlight=False, soft_wrap=True)
# Whether --debug was given: then errors come with their traceback.
debug = False
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Say something that a user should know, in one line on stderr."""
    stderr.print(Text.assemble(("note: ", "yellow"), printable(text)))


def failure(text: str) -> None:
    """Say what went wrong, in one line on stderr."""
    stderr.print(Text.assemble(("error: ", "bold red"), printable(text.strip())))


def result(text: str) -> None:
    """Print a line of results on stdout, names and paths as they are, without any markup."""
    # On one screen the progress bar must know of the line, or it writes over it; both streams end up there.
    target = stderr if stdout.is_terminal and stderr.is_terminal else stdout
    target.print(Text(printable(text)))


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=1, allow_nan=False) + "\n")


class _Speed(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Any) -> Text:
        # Frames come in bursts, one from each worker: only the mean since the start says anything.
        if not task.completed or not task.elapsed:
            return Text("")
        done = task.completed - task.fields.get("begun_at", 0)
        return Text(f"{done / task.elapsed:.2f} {self._unit}", style="cyan")


@contextmanager
def progress_bar(unit: str = "frames/s") -> Iterator[Progress]:
    """Show a progress bar on stderr if it is a terminal; `unit` is that of its speed."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(unit),
        TimeRemainingColumn(),
        console=stderr,
        transient=True,
        disable=not stderr.is_terminal,
    ) as progress:
        yield progress
