"""Stand-ins for a Python that trains: scripts that limit the real one, or do what one does that is not fit for it."""

from __future__ import annotations

import sys
from pathlib import Path


def interpreter(folder: Path, *lines: str, name: str = "python") -> str:
    """Write a program for /bin/sh; ``$@`` are the arguments, ``PYTHON`` the real interpreter. Returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("\n".join(["#!/bin/sh", f"PYTHON={sys.executable}", *lines, ""]))
    path.chmod(0o755)
    return str(path)


def limited(folder: Path, limit: str) -> str:
    """Return an interpreter with a limit as ``ulimit`` has it, such as ``-f 2000``."""
    return interpreter(folder, f"ulimit {limit}", 'exec "$PYTHON" "$@"')


def without(folder: Path, module: str) -> str:
    """Return an interpreter in which a module cannot be imported."""
    site = folder / "site"
    site.mkdir(parents=True, exist_ok=True)
    (site / "sitecustomize.py").write_text(
        "import sys\n"
        "class Gone:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {module!r}:\n"
        f'            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)\n'
        "sys.meta_path.insert(0, Gone())\n"
    )
    return interpreter(folder, f'PYTHONPATH={site} exec "$PYTHON" "$@"')
