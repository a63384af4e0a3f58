"""All curves of a run, and those of others over them: one cursor, one smoothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QCheckBox, QGridLayout, QHBoxLayout, QLabel, QSlider, QVBoxLayout, QWidget

from flowcut_napari.core.errors import printable
from flowcut_napari.core.run_records import Evaluation
from flowcut_napari.widgets.watch.digest import Digest
from flowcut_napari.widgets.watch.following import Watched
from flowcut_napari.widgets.watch.plot import Curve, Plot

# Values over which curves are smoothed, by the place of the slider.
WINDOWS = (0, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
_FIRST_WINDOW = 4
# Of the time, for drawing what is new.
_MOST_SHARE = 0.015
# Putting the window together anew takes as long again where no graphics card does it.
_LEAST_SECONDS = 1.6
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


_Lines = tuple[np.ndarray, np.ndarray, np.ndarray]


def _rate(digest: Digest) -> _Lines:
    mean, low, high = (np.where(seconds > 0, seconds, np.nan) for seconds in digest.figure("seconds"))
    return 1 / mean, 1 / high, 1 / low


def _named(name: str, factor: float = 1.0) -> Callable[[Digest], _Lines]:
    def lines(digest: Digest) -> _Lines:
        mean, low, high = digest.figure(name)
        return mean * factor, low * factor, high * factor

    return lines


_SMALL: tuple[tuple[str, str, str, Callable[[Digest], _Lines], bool], ...] = (
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
    """The loss and its parts large, everything else small.

    Signals
    -------
    drawn
        All plots show what is known.
    """

    drawn = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._watched: Watched | None = None
        self._compared: tuple[Watched, ...] = ()
        self._runs: list[Path] = []
        self._jobs: list[Callable[[], None]] = []
        self._drawn_at = 0.0
        self._turn = QTimer(self)
        self._turn.setInterval(0)
        self._turn.timeout.connect(self._draw_next)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.draw)
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
            plot.is_patient = True
            plot.stale.connect(self._redraw)
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

    def show_runs(self, watched: Watched | None, compared: Sequence[Watched] = ()) -> None:
        """Show a run, and others over it; soon, and not so often that nothing else could be done."""
        if watched is self._watched and list(compared) == list(self._compared):
            return
        is_same = [other.run for other in (*compared, watched) if other] == self._runs
        self._watched, self._compared = watched, tuple(compared)
        self._runs = [other.run for other in (*compared, watched) if other]
        rest = max(_LEAST_SECONDS, sum(plot.drawing_seconds for plot in self.plots) / _MOST_SHARE)
        rest = self._drawn_at + rest - time.monotonic()
        if not is_same or rest <= 0:
            self.draw()
        elif watched is not None and watched.is_loading:
            # More comes soon; and whoever reads it does not wait later on, when it would be drawn.
            self._later.stop()
        elif not self._later.isActive():
            self._later.start(round(1000 * rest))

    def draw(self) -> None:
        """Draw all curves anew, one plot in each turn of the event loop."""
        self._later.stop()
        self._drawn_at = time.monotonic()
        self._jobs = [
            self._draw_losses,
            self._draw_parts,
            self._draw_scores,
            *(partial(self._draw_small, *row) for row in _SMALL),
        ]
        self._turn.start()

    @property
    def is_drawing(self) -> bool:
        """Whether plots are being drawn, one after the other."""
        return bool(self._jobs)

    @property
    def is_drawn(self) -> bool:
        """Whether all plots show what is known."""
        return not self._jobs and not self._later.isActive()

    def _redraw(self) -> None:
        # Of another size, or scrolled into sight.
        if not self._jobs:
            self._jobs = [plot.redraw for plot in self.plots if not plot.visibleRegion().isEmpty()]
            self._turn.start()

    def _draw_next(self) -> None:
        if self._jobs:
            self._jobs.pop(0)()
        if not self._jobs:
            self._turn.stop()
            # All at once: for each change of the window all of it is put together anew.
            for plot in self.plots:
                plot.update()
            self.drawn.emit()

    def _all(self) -> list[Digest]:
        """Return the curves of all runs, the watched one first."""
        own = self._watched.digest if self._watched is not None else Digest()
        return [own, *(other.digest for other in self._compared)]

    def _last_step(self) -> float:
        views = [other.view for other in (self._watched, *self._compared) if other is not None]
        return max((float(view.step) for view in views), default=1.0)

    def _draw_losses(self) -> None:
        names = ["loss", *_told_apart([other.run for other in self._compared])]
        curves = [
            self._curve(names[place], other, other.figure("loss"), self._colour(place))
            for place, other in enumerate(self._all())
        ]
        self._show_large(self.loss, curves)

    def _draw_parts(self) -> None:
        own = self._all()[0]
        self._show_large(
            self.parts,
            [self._curve(word, own, own.figure(name), colour, is_alone=True) for name, word, colour in _PARTS],
        )

    def _show_large(self, plot: Plot, curves: list[Curve]) -> None:
        plot.show_curves(curves, last_step=self._last_step(), is_log=self.log.isChecked(), hidden=self._hidden)

    def _draw_scores(self) -> None:
        scored = [self._watched.view.evaluations if self._watched is not None else ()]
        scored += [other.view.evaluations for other in self._compared]
        curves = [
            Curve("AP", *_scores(found), self._colour(place), has_dots=True) for place, found in enumerate(scored)
        ]
        self.score.show_curves(curves, last_step=self._last_step())

    def _draw_small(
        self, name: str, title: str, tip: str, values: Callable[[Digest], _Lines], is_smoothed: bool
    ) -> None:
        curves = [
            self._curve(title, other, values(other), self._colour(place), is_smoothed=is_smoothed)
            for place, other in enumerate(self._all())
        ]
        self.small[name].show_curves(curves, last_step=self._last_step())

    def _curve(
        self,
        name: str,
        digest: Digest,
        lines: _Lines,
        colour: QColor,
        *,
        is_smoothed: bool = True,
        is_alone: bool | None = None,
    ) -> Curve:
        mean, low, high = lines
        window = self.window // digest.size if is_smoothed else 0
        # Of several runs the faint lines would only hide each other.
        has_raw = (not self._compared if is_alone is None else is_alone) and is_smoothed and self.window > 0
        return Curve(name, digest.steps, mean, colour, window, (low, high) if has_raw else None)

    def _colour(self, place: int) -> QColor:
        return _OWN if place == 0 else _OTHERS[(place - 1) % len(_OTHERS)]

    def _on_options(self) -> None:
        self._window.setText(f"over {self.window}" if self.window else "off")
        self.draw()

    def _toggle(self, name: str) -> None:
        self._hidden = self._hidden ^ {name}
        self.draw()

    def _point(self, step: float | None) -> None:
        for plot in self.plots:
            plot.show_cursor(step)


def _scores(evaluations: Sequence[Evaluation]) -> tuple[np.ndarray, np.ndarray]:
    found = [item for item in evaluations if "AP" in item.stats]
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
