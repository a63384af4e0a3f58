"""Whether a window may close while it trains: its runs are left to go on, or stopped and saved; else it stays."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QMainWindow,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from flowcut_napari.core.errors import FlowCutError, printable
from flowcut_napari.widgets.notices import text_label
from flowcut_napari.widgets.train.controller import TrainController
from flowcut_napari.widgets.train.launcher import Launcher
from flowcut_napari.widgets.workbench import Workbench

Choice = Literal["leave", "stop", "stay"]
_LOOK_MILLISECONDS = 200


def may_let_go(bench: Workbench, window: QWidget | None) -> bool:
    """Ask what becomes of the runs of this window, if there are any, and see to it; False if the window should stay."""
    controller = bench.findChild(TrainController)
    if controller is None or not (runs := controller.launcher.at_work) or _is_torn_down(window):
        return True
    choice = ask(window, runs)
    if choice == "leave":
        controller.launcher.leave()
        return True
    if choice == "stay":
        return False
    return StopDialog(controller.launcher, window).exec() == QDialog.DialogCode.Accepted


def _is_torn_down(window: QWidget | None) -> bool:
    """Whether a program closes the viewer: its canvas is gone by then, and no question can be asked any more.

    Runs are stopped then, as by a window that ends without a question.
    """
    middle = window.centralWidget() if isinstance(window, QMainWindow) else None
    return middle is not None and not any(child.isVisible() for child in middle.findChildren(QWidget))


def ask(window: QWidget | None, runs: tuple[Path, ...]) -> Choice:
    """Ask what becomes of runs when the window closes."""
    box = QMessageBox(window)
    box.setObjectName("close while training")
    box.setIcon(QMessageBox.Icon.Question)
    box.setText(words(runs))
    box.setInformativeText(
        "It can go on without this window, and be watched again by opening its folder in the Runs tab; "
        "or it saves and ends after the step that it is at."
    )
    leave = box.addButton("Leave running", QMessageBox.ButtonRole.AcceptRole)
    stop = box.addButton("Stop", QMessageBox.ButtonRole.DestructiveRole)
    cancel = box.addButton(QMessageBox.StandardButton.Cancel)
    for button, name in ((leave, "leave running"), (stop, "stop runs"), (cancel, "stay")):
        button.setObjectName(name)
    box.setDefaultButton(leave)
    box.setEscapeButton(cancel)
    box.exec()
    clicked = box.clickedButton()
    return "leave" if clicked is leave else "stop" if clicked is stop else "stay"


def words(runs: tuple[Path, ...]) -> str:
    """Say which runs are going on.

    Examples
    --------
    >>> words((Path("/runs/dog-1"),)), words((Path("/runs/dog-1"), Path("/runs/dog-2")))
    ('Training goes on: dog-1', '2 trainings go on: dog-1, dog-2')
    """
    names = printable(", ".join(run.name for run in runs))
    return f"Training goes on: {names}" if len(runs) == 1 else f"{len(runs)} trainings go on: {names}"


class StopDialog(QDialog):
    """Waits until the runs of a window have saved and ended; accepted then, rejected if the window should stay."""

    def __init__(self, launcher: Launcher, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setObjectName("stopping")
        self.setWindowTitle("Stopping")
        self._launcher = launcher
        self.text = text_label("stopping text")
        bar = QProgressBar()
        bar.setRange(0, 0)
        self.kill = QPushButton("Kill now")
        self.kill.setObjectName("kill runs")
        self.kill.setToolTip("End them at once; what was done since the last checkpoint is lost")
        self.kill.clicked.connect(self._kill)
        stay = QPushButton("Keep the window")
        stay.setObjectName("keep window")
        stay.setToolTip("They stop all the same")
        stay.clicked.connect(self.reject)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(self.kill)
        row.addWidget(stay)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(bar)
        layout.addLayout(row)
        self.setMinimumWidth(420)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)
        self._timer.start(_LOOK_MILLISECONDS)
        self._stop()

    def _stop(self) -> None:
        problem = ""
        for run in self._launcher.at_work:
            try:
                self._launcher.stop(run)
            except FlowCutError as error:
                problem = f"\n{error}"
        names = printable(", ".join(run.name for run in self._launcher.at_work))
        self.text.setText(f"{names}: saves and ends after the step that it is at.{printable(problem)}")
        self._look()

    def _kill(self) -> None:
        for run in self._launcher.at_work:
            self._launcher.kill(run)

    def _look(self) -> None:
        if not self._launcher.at_work:
            self._timer.stop()
            # Not before it was shown, which `exec` does.
            QTimer.singleShot(0, self.accept)
