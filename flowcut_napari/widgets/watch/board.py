"""All curves of a run, and those of others over them: one cursor, one smoothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QCheckBox, QGridLayout, QHBoxLayout, QLabel, QSlider, QVBoxLayout, QWidget

from flowcut_napari.core.errors import printable
from flowcut_napari.core.run_history import RunView
from flowcut_napari.widgets.watch.plot import Curve, Plot

# Values over which curves are smoothed, by the place of the slider.
WINDOWS = (0, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
_FIRST_WINDOW = 4
_PARTS = (
    ("classification", "classification", QColor(232, 150, 50)),
    ("mask", "mask", QColor(64, 182, 122)),
    ("dice", "dice", QColor(204, 112, 184)),
)
_OTHERS = tuple(
    QColor(*rgb)
    for rgb in ((214, 94, 74), (180, 160, 60), (120, 120, 220), (80, 180, 190), (190, 130, 90), (150, 150, 150))
)
_OWN = QColor(86, 156, 240)


def _rate(view: RunView) -> np.ndarray:
    seconds = view.figure("seconds")
    return 1.0 / np.where(seconds > 0, seconds, np.nan)


def _named(name: str, factor: float = 1.0) -> Callable[[RunView], np.ndarray]:
    return lambda view: view.figure(name) * factor if factor != 1 else view.figure(name)


_SMALL: tuple[tuple[str, str, str, Callable[[RunView], np.ndarray], bool], ...] = (
    ("lr", "learning rate", "Learning rate of all but the backbone", _named("lr"), False),
    ("rate", "steps a second", "Steps a second; the slower, the more a step waits or computes", _rate, True),
    (
        "data_wait",
        "waiting for clips, %",
        "Share of a step in which it waits for clips",
        _named("data_wait", 100),
        True,
    ),
    ("memory_gib", "memory, GiB", "The most memory so far, of the GPU or of the process", _named("memory_gib"), False),
    ("gradient_norm", "gradient norm", "Norm of the gradient before it is clipped", _named("gradient_norm"), True),
)


class CurveBoard(QWidget):
    """The loss and its parts large, everything else small."""

    def __init__(self) -> None:
        super().__init__()
        self._view: RunView | None = None
        self._compared: Sequence[tuple[Path, RunView]] = ()
        self._hidden: frozenset[str] = frozenset()
        self.smooth = QSlider(Qt.Orientation.Horizontal)
        self.smooth.setObjectName("smoothing")
        self.smooth.setRange(0, len(WINDOWS) - 1)
        self.smooth.setValue(_FIRST_WINDOW)
        self.smooth.setPageStep(1)
        self.smooth.setToolTip("Strong lines are means over so many values, which are faint behind them")
        self._window = QLabel()
        self._window.setMinimumWidth(44)
        self.log = QCheckBox("Log scale")
        self.log.setObjectName("log scale")
        self.log.setToolTip("Losses on a logarithmic scale")
        tip = "Weighted sum of the losses of all layers"
        self.loss = Plot("loss", f"{tip}; click a name to hide its curve", height=140, empty="no steps yet")
        tip = "Losses of the last layer, not weighted"
        self.parts = Plot("parts", f"{tip}; click a name to hide its curve", height=112, empty="no steps yet")
        self.score = Plot("AP", "AP of each evaluation, %", title="AP, %", empty="no evaluation yet")
        self.small = {name: Plot(name, tip, title=title, empty="") for name, title, tip, *_ in _SMALL}
        options = QHBoxLayout()
        options.addWidget(QLabel("Smoothing"))
        options.addWidget(self.smooth, 1)
        options.addWidget(self._window)
        options.addWidget(self.log)
        grid = QGridLayout()
        grid.setHorizontalSpacing(10)
        grid.setVerticalSpacing(6)
        for place, plot in enumerate((self.score, *self.small.values())):
            grid.addWidget(plot, place // 2, place % 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.loss)
        layout.addLayout(options)
        layout.addWidget(self.parts)
        layout.addLayout(grid)
        for plot in self.plots:
            plot.pointed.connect(self._point)
        self.loss.toggled.connect(self._toggle)
        self.parts.toggled.connect(self._toggle)
        self.smooth.valueChanged.connect(self._on_options)
        self.log.toggled.connect(self._on_options)
        self._on_options()

    @property
    def plots(self) -> tuple[Plot, ...]:
        """All of them, the large one first."""
        return (self.loss, self.parts, self.score, *self.small.values())

    @property
    def window(self) -> int:
        """Values over which curves are smoothed."""
        return WINDOWS[self.smooth.value()]

    def show_runs(self, view: RunView | None, compared: Sequence[tuple[Path, RunView]] = ()) -> None:
        """Show a run, and others over it."""
        self._view, self._compared = view, compared
        self._draw()

    def _draw(self) -> None:
        view = self._view or RunView()
        views = [view, *(other for _, other in self._compared)]
        last = max([float(other.steps[-1]) for other in views if len(other.steps)], default=1.0)
        window, is_alone = self.window, not self._compared
        names = ["loss", *_told_apart([run for run, _ in self._compared])]
        losses = [
            Curve(names[place], other.steps, other.figure("loss"), self._colour(place), window, is_alone)
            for place, other in enumerate(views)
        ]
        how: dict[str, Any] = {"last_step": last, "is_log": self.log.isChecked(), "hidden": self._hidden}
        self.loss.show_curves(losses, **how)
        parts = [Curve(word, view.steps, view.figure(name), colour, window) for name, word, colour in _PARTS]
        self.parts.show_curves(parts, **how)
        scores = [Curve("AP", *_scores(other), self._colour(place), has_dots=True) for place, other in enumerate(views)]
        self.score.show_curves(scores, last_step=last)
        for name, _, _, values, is_smoothed in _SMALL:
            curves = [
                Curve(name, other.steps, values(other), self._colour(place), window if is_smoothed else 0, is_alone)
                for place, other in enumerate(views)
            ]
            self.small[name].show_curves(curves, last_step=last)

    def _colour(self, place: int) -> QColor:
        return _OWN if place == 0 else _OTHERS[(place - 1) % len(_OTHERS)]

    def _on_options(self) -> None:
        self._window.setText(f"over {self.window}" if self.window else "off")
        self._draw()

    def _toggle(self, name: str) -> None:
        self._hidden = self._hidden ^ {name}
        self._draw()

    def _point(self, step: float | None) -> None:
        for plot in self.plots:
            plot.show_cursor(step)


def _scores(view: RunView) -> tuple[np.ndarray, np.ndarray]:
    found = [item for item in view.evaluations if "AP" in item.stats]
    return np.array([item.step for item in found], np.int64), np.array([100 * item.score for item in found], float)


def _told_apart(runs: Sequence[Path]) -> list[str]:
    """Return names of folders, with that of the folder above where two are the same.

    Examples
    --------
    >>> _told_apart([Path("/a/run"), Path("/b/run"), Path("/b/other")])
    ['a/run', 'b/run', 'other']
    """
    names = [run.name for run in runs]
    return [
        printable(f"{run.parent.name}/{run.name}" if names.count(run.name) > 1 else run.name or str(run))
        for run in runs
    ]
