"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flowcut_napari.core.errors import InputError

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


def folder(text: str | Path) -> Path:
    """Read the folder that a command writes into.

    Raises
    ------
    InputError
        If it is empty.
    """
    # Path("") is the folder one stands in, and an unset variable of a shell is not meant to be that.
    if not str(text).strip():
        raise InputError("--out is empty; give a folder, or . for the one you are in")
    return Path(text)


Out = Annotated[Path, typer.Option("--out", "-o", parser=folder, help="folder for the results", metavar="OUT")]
Worst = Annotated[int, typer.Option(min=0, help="rows of the worst videos and objects")]
ObjectTable = Annotated[
    Path | None,
    typer.Option("--csv", help="also write every object, the worst first", metavar="FILE", show_default=False),
]
