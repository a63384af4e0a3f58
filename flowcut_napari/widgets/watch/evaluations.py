"""The figures of the latest and the best evaluation of a run."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QSizePolicy, QTableWidget, QTableWidgetItem, QWidget

from flowcut_napari.core.run_history import RunView
from flowcut_napari.core.run_records import STATS, Evaluation

_COLUMNS = {
    "step": "Steps that were done",
    "AP": "Average precision over IoU from 0.5 to 0.95, in percent; runs are judged by it",
    "AP50": "Average precision at an IoU of 0.5, in percent",
    "AP75": "Average precision at an IoU of 0.75, in percent",
    "AR1": "Average recall of the best prediction of each clip, in percent",
    "AR10": "Average recall of the ten best predictions of each clip, in percent",
    "AR100": "Average recall of a hundred predictions of each clip, in percent",
}


class EvaluationTable(QTableWidget):
    """A row for the latest evaluation, one for the best; the tips hold all figures."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(_COLUMNS), parent)
        self.setObjectName("evaluations")
        self.setAccessibleName("Latest and best evaluation")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setShowGrid(False)
        self.setCornerButtonEnabled(False)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        header = self.horizontalHeader()
        header.setMinimumSectionSize(30)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.setHorizontalHeaderLabels(list(_COLUMNS))
        for column, tip in enumerate(_COLUMNS.values()):
            self.horizontalHeaderItem(column).setToolTip(tip)
        self.verticalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        # Headers that are part of the table, in any theme.
        self.setStyleSheet(
            "QHeaderView, QHeaderView::section, QTableCornerButton::section { background: transparent; border: none; }"
            "QHeaderView::section { padding: 0px 2px; } #evaluations { background: transparent; border: none; }"
        )
        self._shown: tuple[Evaluation | None, Evaluation | None] | None = None

    def show_run(self, view: RunView) -> None:
        """Show the evaluations of a run; nothing is seen while there is none."""
        latest = view.evaluations[-1] if view.evaluations else None
        if (latest, view.best) == self._shown:
            return
        self._shown = (latest, view.best)
        self.setVisible(latest is not None)
        rows = [("latest", latest), ("best", view.best)]
        found = [(word, item) for word, item in rows if item is not None]
        self.setRowCount(len(found))
        self.setVerticalHeaderLabels([word for word, _ in found])
        height = self.fontMetrics().height() + 4
        self.verticalHeader().setDefaultSectionSize(height)
        for row, (word, evaluation) in enumerate(found):
            for column, name in enumerate(_COLUMNS):
                text = f"{evaluation.step:,}" if name == "step" else percent(evaluation.stats.get(name))
                item = QTableWidgetItem(text)
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                item.setToolTip(describe_evaluation(word, evaluation))
                font = item.font()
                font.setBold(name == "AP")
                item.setFont(font)
                self.setItem(row, column, item)
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + height * len(found) + 2)


def percent(share: float | None) -> str:
    """Return a share of 0 to 1 as percent; a dash where it is not defined.

    Examples
    --------
    >>> percent(0.2514), percent(None)
    ('25.1', '-')
    """
    return "-" if share is None else f"{100 * share:.1f}"


def describe_evaluation(word: str, evaluation: Evaluation) -> str:
    """Say all figures of an evaluation.

    Examples
    --------
    >>> describe_evaluation("best", Evaluation(500, 50, None, {"AP": 0.25, "APs": 0.1}))
    'best: step 500, 50 clips; AP 25.0, APs 10.0'
    """
    clips = f", {evaluation.clips} clips" if evaluation.clips is not None else ""
    figures = ", ".join(f"{name} {percent(evaluation.stats[name])}" for name in STATS if name in evaluation.stats)
    return f"{word}: step {evaluation.step:,}{clips}; {figures}"
