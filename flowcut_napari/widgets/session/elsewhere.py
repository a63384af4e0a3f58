"""Another place for a masks file: another folder, since its name is that of its video and an export goes by it."""

from __future__ import annotations

import os
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from flowcut_napari.core.errors import printable
from flowcut_napari.core.masks_file import MasksFile
from flowcut_napari.widgets.workbench import Workbench


def ask_place(parent: QWidget | None, path: Path) -> Path | None:
    """Ask for a folder for a masks file, and whether what is there may be replaced.

    Returns
    -------
    Path or None
        Where the file will be, under its own name; None if the user chose nothing, or where it is now.
    """
    chosen = QFileDialog.getExistingDirectory(parent, printable(f"A folder for {path.name}"), str(path.parent))
    if not chosen:
        return None
    target = Path(chosen) / path.name
    if os.path.realpath(target) == os.path.realpath(path):
        return None
    return target if not os.path.lexists(target) or _may_replace(parent, target) else None


def save_elsewhere(bench: Workbench, file: MasksFile, target: Path) -> None:
    """Write a masks file to another place from now on; all of the window knows it there."""
    before = file.path
    file.save_elsewhere(target)
    for video in bench.desk.videos():
        known = bench.desk.known(video)
        if known is not None and known.saved_path == before:
            known.put_saved(known.saved, target)


def _may_replace(parent: QWidget | None, target: Path) -> bool:
    box = QMessageBox(parent)
    box.setObjectName("replace question")
    box.setIcon(QMessageBox.Icon.Warning)
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setText(printable(f"There is a {target.name} in this folder already."))
    box.setInformativeText(printable(f"Replace {target}?"))
    replace = box.addButton("Replace", QMessageBox.ButtonRole.DestructiveRole)
    cancel = box.addButton(QMessageBox.StandardButton.Cancel)
    box.setDefaultButton(cancel)
    box.setEscapeButton(cancel)
    box.exec()
    return bool(box.clickedButton() is replace)
