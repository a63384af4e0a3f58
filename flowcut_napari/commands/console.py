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

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Say something that a user should know, on stderr."""
    stderr.print(Text.assemble(("note: ", "yellow"), text))


def failure(text: str) -> None:
    """Say what went wrong, in one line on stderr."""
    stderr.print(Text.assemble(("error: ", "bold red"), " ".join(text.split())))


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=1, allow_nan=False) + "\n")


class _Speed(ProgressColumn):
    def render(self, task: Any) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.2f} frames/s" if speed else "", style="cyan")


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Show a progress bar on stderr if it is a terminal."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TimeRemainingColumn(),
        console=stderr,
        transient=True,
        disable=not stderr.is_terminal,
    ) as progress:
        yield progress
