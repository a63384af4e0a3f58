"""``flowcut weights``: list, fetch and verify pretrained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from flowcut_napari.commands import console
from flowcut_napari.core.errors import WeightsError, printable
from flowcut_napari.core.weights import (
    PUBLISHED_FILES,
    fetch_weights,
    fetched_folder,
    file_names,
    find_weights,
    verify_weights,
    weights_folder,
)


def list_weights(as_json: bool) -> int:
    """Print which weights are there, and where the others are looked for."""
    rows = [_row(name) for name in _names()]
    if as_json:
        console.print_json({"weights": rows, "folder": _text(weights_folder()), "cache": str(fetched_folder())})
        return 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "file", "sha256"):
        table.add_column(heading)
    for row in rows:
        missing = Text.assemble(("missing", "yellow"), f" ({row['file']})")
        where = Text(printable(row["path"])) if row["path"] else missing
        table.add_row(Text(row["name"]), where, (row["sha256"] or "")[:16])
    console.stdout.print(table)
    console.result("")
    console.result(f"looked in FLOWCUT_WEIGHTS ({weights_folder() or 'not set'}) and {fetched_folder()}")
    console.result("fetch with: flowcut weights fetch NAME; any timm vision transformer can be named")
    return 0


def fetch(names: list[str], as_json: bool) -> int:
    """Fetch weights by name."""
    rows = []
    for name in names or list(PUBLISHED_FILES):
        path = fetch_weights(name)
        rows.append(_row(name) | {"path": str(path)})
        if not as_json:
            console.result(f"{name} -> {path}")
    if as_json:
        console.print_json({"weights": rows})
    return 0


def verify(as_json: bool) -> int:
    """Compare every weights file that is there with its hash; exit code 1 if one changed."""
    rows = []
    for row in (_row(name) for name in _names()):
        if row["path"] is None:
            continue
        ok, remark = verify_weights(Path(row["path"]))
        rows.append(row | {"ok": ok, "remark": remark})
        if not as_json:
            console.result(f"{row['name']}: {'ok' if ok else 'BAD'} ({remark})  {row['path']}")
    if as_json:
        console.print_json({"weights": rows})
    elif not rows:
        console.result("there are no weights to verify")
    return 0 if all(row["ok"] for row in rows) else 1


def _names() -> list[str]:
    """Return the names that presets use and those of other models that were fetched."""
    fetched = [path.stem for path in sorted(fetched_folder().glob("*.safetensors"))]
    published = {Path(file).stem for files in PUBLISHED_FILES.values() for file in files}
    return [*PUBLISHED_FILES, *(name for name in fetched if name not in published)]


def _row(name: str) -> dict[str, Any]:
    try:
        found = find_weights([name], fetch=False)[name]
    except WeightsError:
        return {"name": name, "file": file_names(name)[0], "path": None, "sha256": None}
    return {"name": name, "file": found.path.name, "path": str(found.path), "sha256": found.sha256}


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
