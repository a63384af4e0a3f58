"""The Watch tab: a training run as it goes on, wherever it was started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices, QFontDatabase
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QMessageBox,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from flowcut_napari.core.errors import printable
from flowcut_napari.core.run_history import RunView
from flowcut_napari.core.run_state import RunState
from flowcut_napari.widgets.live import Trouble
from flowcut_napari.widgets.notices import Notice, plain, text_label
from flowcut_napari.widgets.watch.board import CurveBoard
from flowcut_napari.widgets.watch.controller import watch_of
from flowcut_napari.widgets.watch.dot import StateDot
from flowcut_napari.widgets.watch.evaluations import EvaluationTable
from flowcut_napari.widgets.watch.following import Watched
from flowcut_napari.widgets.watch.large import LargePreview
from flowcut_napari.widgets.watch.standing import describe_progress, describe_start, headline
from flowcut_napari.widgets.watch.strip import PreviewStrip
from flowcut_napari.widgets.workbench import Workbench

_BAR = 1000
_LOG_HEIGHT = 118
_LOG_LINES = 400
# Of the log, in a notice that says what went wrong.
_LAST_LINES = 3
_HINT = "Nothing is watched yet. Start a training in the Train tab, choose a run in the Runs tab, or open its folder."


class WatchTab(QWidget):
    """Shows a run: how it stands, its curves, its evaluations, what it sees, and its log."""

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        self.controller = watch_of(bench)
        self._is_counted = False
        self._told: tuple[object, ...] | None = None
        self._trouble: list[str] = []
        self._large: LargePreview | None = None
        self._make_head()
        self.board = CurveBoard()
        self.table = EvaluationTable()
        self.strip = PreviewStrip()
        self.strip.chosen.connect(self._enlarge)
        self._evaluation_title, self._previews_title = _title("Evaluation, %"), _title("What it sees")
        self._log_title = _title("Log")
        self.log = QPlainTextEdit()
        self.log.setObjectName("run log")
        self.log.setReadOnly(True)
        self.log.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.log.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.log.setFixedHeight(_LOG_HEIGHT)
        self.log.setMaximumBlockCount(_LOG_LINES)
        self.log.setToolTip("The last lines of log.txt")
        self._log_lines: tuple[str, ...] = ()
        self._body = QWidget()
        body = QVBoxLayout(self._body)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(6)
        for widget in (self.board, self._evaluation_title, self.table, self._previews_title, self.strip):
            body.addWidget(widget)
        body.addWidget(self._log_title)
        body.addWidget(self.log)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(6)
        layout.addLayout(self._head())
        layout.addWidget(self._body)
        layout.addStretch(1)
        self.controller.changed.connect(self.show_run)
        self.controller.compared_changed.connect(self._show_curves)
        self.board.drawn.connect(self.show_words)
        self.board.drawn.connect(self.controller.go_on)
        self.show_run()

    def _make_head(self) -> None:
        self.name = text_label("run name")
        self.open = _button("open_run", "Open run…", "Choose the folder of a run, wherever it was started")
        self.open.clicked.connect(self._choose)
        self.folder = _button("open_run_folder", "Folder", "Show the run in the system's file browser")
        self.folder.clicked.connect(self._show_folder)
        self.dot = StateDot()
        self.word = text_label("run state")
        self.about = text_label("run about", faint=True)
        self.bar = QProgressBar()
        self.bar.setObjectName("run progress")
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.progress = text_label("run steps")
        self.stop = _button("stop_run", "Stop", "Save and end after the step that it is at; it can go on later")
        self.stop.clicked.connect(self._stop)
        self.kill = _button("kill_run", "Kill…", "End it at once, with all its processes, without saving")
        self.kill.clicked.connect(self._kill)
        self.resume = _button("resume_run", "Resume", "Go on from the last checkpoint")
        self.resume.clicked.connect(self._resume)
        self.notice = Notice()
        self.remark = text_label("run remark", faint=True)

    def _head(self) -> QVBoxLayout:
        first = QHBoxLayout()
        first.addWidget(self.name, 1)
        first.addWidget(self.folder)
        first.addWidget(self.open)
        state = QHBoxLayout()
        state.setSpacing(5)
        state.addWidget(self.dot)
        state.addWidget(self.word, 1)
        for button in (self.stop, self.kill, self.resume):
            state.addWidget(button)
        column = QVBoxLayout()
        column.setSpacing(4)
        column.addLayout(first)
        column.addLayout(state)
        for widget in (self.bar, self.progress, self.about, self.notice, self.remark):
            column.addWidget(widget)
        return column

    # Qt's events.

    def showEvent(self, event: Any) -> None:  # Qt's name
        """Follow closely while somebody looks."""
        super().showEvent(event)
        self._count(True)

    def hideEvent(self, event: Any) -> None:  # Qt's name
        """There is time now."""
        super().hideEvent(event)
        self._count(False)

    def _count(self, is_seen: bool) -> None:
        if is_seen != self._is_counted:
            self._is_counted = is_seen
            self.controller.set_seen(is_seen)
            if is_seen:
                self.show_run()

    # What is shown.

    def show_run(self) -> None:
        """Show what is known of the run: its curves, and what is said beside them when they are drawn."""
        controller, state = self.controller, self.controller.state
        self._show_curves()
        watched = controller.watched
        told = (controller.run, watched is None, state.state, state.is_stopping, state.reason)
        # What matters is said at once; each change costs the window the same, however small.
        if told != self._told or not self.isVisible():
            self._told = told
            self.show_words()
        if not self.board.is_drawing:
            controller.go_on()

    def show_words(self) -> None:
        """Show all but the curves."""
        run, watched, state = self.controller.run, self.controller.watched, self.controller.state
        # A folder in which nothing was trained has no curves, not empty ones.
        is_blank = watched is not None and not watched.is_loading and state.state == "unknown"
        self._body.setVisible(run is not None and not is_blank)
        self.folder.setVisible(run is not None)
        self.name.setText(printable(run.name or str(run)) if run is not None else _HINT)
        self.name.setToolTip(plain(str(run)) if run is not None else "")
        for widget in (self.dot, self.word, self.bar):
            widget.setVisible(run is not None)
        view = watched.view if watched is not None else RunView()
        self._show_state(state, view)
        self._show_trouble(state, watched)
        said = [watched.problem, view.remark] if watched is not None else []
        if watched is not None and watched.is_loading:
            said.append("reading its events …")
        if view.broken_clips:
            said.append(f"{view.broken_clips:,} clips could not be read and were passed over")
        _say(self.remark, "\n".join(text for text in said if text))
        self._show_rest(run, view)
        self._show_log(watched.log if watched is not None else ())

    def _show_state(self, state: RunState, view: RunView) -> None:
        self.dot.show_state(state.state)
        is_read = self.controller.watched is not None or state.state != "unknown"
        word = headline(state) if is_read else "reading …"
        is_told = state.state in ("failed", "lost")  # the notice says more
        if state.reason and not is_told:
            # "stopped by ..." says already that it is stopped.
            word = printable(state.reason if state.reason.startswith(f"{word} ") else f"{word}: {state.reason}")
        self.word.setText(word)
        # Else it would be drawn at once, each time, and with it the whole window.
        self.bar.setUpdatesEnabled(False)
        # 0 of 0 moves to and fro: something happens, and nobody knows how long.
        self.bar.setRange(0, 0 if state.state == "starting" else _BAR)
        self.bar.setValue(round(state.share * _BAR))
        self.bar.setUpdatesEnabled(True)
        _say(self.progress, describe_progress(state))
        _say(self.about, describe_start(view.start))
        self.stop.setEnabled(state.state == "running" and not state.is_stopping)
        self.kill.setEnabled(state.state == "running" and state.is_here)
        self.stop.setVisible(self.controller.run is not None and state.is_at_work)
        self.kill.setVisible(self.controller.run is not None and state.is_at_work)
        self.resume.setVisible(self.controller.run is not None and state.can_go_on)

    def _show_trouble(self, state: RunState, watched: Watched | None) -> None:
        if state.state not in ("failed", "lost"):
            self.notice.show_trouble(None, {})
            return
        log = watched.log if watched is not None else ()
        last = [line for line in log[-_LAST_LINES:] if state.reason not in line]  # it need not be said twice
        lines = [state.reason or "it gave no reason", *(_cut(line) for line in last)]
        if self.notice.buttons and self._trouble == lines:
            return  # buttons that are made anew cannot be clicked
        self._trouble = lines
        actions: dict[str, Any] = {"notice_folder": ("Open run folder", self._show_folder)}
        if state.can_go_on:
            actions["notice_resume"] = ("Resume", self._resume)
        self.notice.show_trouble(Trouble(lines[0]), actions)
        text = "\n".join((self.notice.text.text(), *lines[1:]))
        self.notice.text.setText(text)
        self.notice.setToolTip(plain("\n".join((lines[0], *last))))

    def _show_curves(self) -> None:
        watched = self.controller.watched
        order = self.controller.training.compared
        known = self.controller.compared
        self.board.show_runs(watched, [known[run] for run in order if run in known and run != self.controller.run])

    def _show_rest(self, run: Path | None, view: RunView) -> None:
        self.table.show_run(view)
        self._evaluation_title.setVisible(bool(view.evaluations))
        has_previews = view.labels is not None or bool(view.previews)
        self._previews_title.setVisible(has_previews)
        self.strip.setVisible(has_previews)
        self.strip.show_previews(run, view)
        if self._large is not None:
            self._large.show_previews(run, view)

    def _show_log(self, lines: tuple[str, ...]) -> None:
        self._log_title.setVisible(bool(lines))
        self.log.setVisible(bool(lines))
        if lines != self._log_lines:
            before, self._log_lines = self._log_lines, lines
            bar = self.log.verticalScrollBar()
            was_at_end, place = bar.value() >= bar.maximum() - 1, bar.value()
            added = lines_after(before, lines)
            if added is None:
                self.log.setPlainText("\n".join(lines))
            else:  # which takes far less time
                self.log.appendPlainText("\n".join(added))
            bar.setValue(bar.maximum() if was_at_end else place)

    # What the controls do.

    def _choose(self) -> None:
        start = str(self.controller.run.parent) if self.controller.run is not None else str(Path.home())
        if chosen := QFileDialog.getExistingDirectory(self, "Run", start):
            self.controller.training.watch(Path(chosen))

    def _show_folder(self) -> None:
        if self.controller.run is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.controller.run)))

    def _stop(self) -> None:
        self.controller.stop()

    def _resume(self) -> None:
        self.controller.resume()

    def _kill(self) -> None:
        kept = self.controller.state.resumes_from
        lost = (
            f"Steps after the checkpoint of step {kept:,} are lost." if kept else "There is no checkpoint: all is lost."
        )
        box = QMessageBox(self)
        box.setObjectName("ask kill")
        box.setIcon(QMessageBox.Icon.Warning)
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setText(f"End this training at once? {lost} Stop saves first.")
        kill = box.addButton("Kill", QMessageBox.ButtonRole.DestructiveRole)
        box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
        run = self.controller.run
        box.exec()
        is_wanted = box.clickedButton() is kill
        box.deleteLater()
        # Meanwhile another run may be watched.
        if is_wanted and run == self.controller.run:
            self.controller.kill()

    def _enlarge(self, place: int) -> None:
        if self._large is None:
            self._large = LargePreview(self)
        watched = self.controller.watched
        if watched is not None:
            self._large.show_previews(watched.run, watched.view)
            self._large.show_place(place)


def lines_after(before: tuple[str, ...], lines: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the lines that were added to the end of others; None if these are other lines altogether.

    Examples
    --------
    >>> lines_after(("a", "b", "c"), ("b", "c", "d", "e")), lines_after(("a",), ("b",))
    (('d', 'e'), None)
    """
    if not before:
        return None
    for place in range(len(lines) - 1, -1, -1):
        if lines[place] == before[-1] and before[-place - 1 :] == lines[: place + 1]:
            return lines[place + 1 :]
    return None


def _button(name: str, text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.setToolTip(tip)
    return button


def _title(text: str) -> QLabel:
    label = QLabel(text)
    font = label.font()
    font.setBold(True)
    label.setFont(font)
    return label


def _say(label: QLabel, text: str) -> None:
    label.setText(text)
    label.setVisible(bool(text))


def _cut(line: str, most: int = 160) -> str:
    return line if len(line) <= most else f"{line[: most - 1]}…"
