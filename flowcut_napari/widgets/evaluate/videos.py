"""The videos of an evaluation in a list, the worst first; one that is chosen is opened at its worst frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from flowcut_napari.core.errors import printable
from flowcut_napari.core.evaluation_report import Kind, VideoResult
from flowcut_napari.core.evaluation_tables import percent, tip_of
from flowcut_napari.core.images import natural_key
from flowcut_napari.widgets.evaluate.numbers import FLAT_TABLE
from flowcut_napari.widgets.notices import plain

_NAME, _OBJECTS, _FOUND, _SCORE, _WORST = range(5)
_HEADINGS: dict[Kind, tuple[str, ...]] = {
    "ytvis": ("video", "obj.", "det.", "IoU, %", "worst frame"),
    "davis": ("sequence", "obj.", "prop.", "J&F, %", "worst frame"),
}
_TIPS: dict[Kind, tuple[str, ...]] = {
    "ytvis": (
        "The folder of its frames",
        "Objects of the ground truth",
        "Detections",
        "Mean over its objects of the IoU of the detection that fits best, in percent",
        "Of the object that is found worst: the frame with the lowest IoU. A click opens the video there",
    ),
    "davis": (
        "Name of the sequence",
        "Objects of the ground truth",
        "Proposals",
        "J&F over its objects, in percent",
        "Of the object that is found worst: the frame with the lowest IoU. A click opens the video there",
    ),
}
_ROWS = 9
_FEWEST_ROWS = 3
# Of a column other than the name: letters, and pixels beside them, where the sign of the order stands.
_LONGEST = 14
_AIR = 22
_ITEM = Qt.ItemDataRole


class VideosModel(QAbstractTableModel):
    """A row for each video, in the order that was asked for."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._kind: Kind = "ytvis"
        self._videos: list[VideoResult] = []
        self._order: list[VideoResult] = []
        self._texts: dict[int, tuple[str, ...]] = {}

    def take(self, kind: Kind, videos: Sequence[VideoResult]) -> None:
        """Show these, the worst first as they come."""
        self.beginResetModel()
        self._kind, self._videos, self._order = kind, list(videos), list(videos)
        self._texts = {id(video): _texts(video) for video in videos}
        self.endResetModel()

    def widest(self, column: int) -> str:
        """Return the longest text of a column, its heading among them."""
        return max((_HEADINGS[self._kind][column], *(texts[column] for texts in self._texts.values())), key=len)

    def video(self, row: int) -> VideoResult:
        """Return the video of a row."""
        return self._order[row]

    def row_of(self, video: VideoResult) -> int:
        """Return the row of a video, -1 if it is not there."""
        return next((row for row, other in enumerate(self._order) if other is video), -1)

    # What Qt asks for, under its names.

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of videos."""
        return 0 if parent is not None and parent.isValid() else len(self._order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(_HEADINGS[self._kind])

    def headerData(self, section: int, orientation: Any, role: int = _ITEM.DisplayRole) -> Any:
        """Return a heading, and what it means."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == _ITEM.DisplayRole:
            return _HEADINGS[self._kind][section]
        if role == _ITEM.ToolTipRole:
            return _TIPS[self._kind][section]
        if role == _ITEM.TextAlignmentRole:
            return _alignment(section)
        return None

    def data(self, index: QModelIndex, role: int = _ITEM.DisplayRole) -> Any:
        """Return a field, and what there is to say about its video."""
        if not index.isValid():
            return None
        video = self._order[index.row()]
        if role == _ITEM.DisplayRole:
            return self._texts[id(video)][index.column()]
        if role == _ITEM.ToolTipRole:
            return plain(printable_lines(tip_of(video)))
        if role == _ITEM.TextAlignmentRole:
            return _alignment(index.column())
        return None

    def sort(self, column: int, order: Any = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column, videos without a value last; of equal ones the worst first. -1 is the order of before."""
        self.layoutAboutToBeChanged.emit()
        kept = [(index, self._order[index.row()]) for index in self.persistentIndexList()]
        is_falling = order == Qt.SortOrder.DescendingOrder
        if column < 0:
            self._order = list(self._videos)
        else:
            there = [video for video in self._videos if _value(video, column) is not None]
            rest = [video for video in self._videos if _value(video, column) is None]
            there.sort(key=lambda video: _value(video, column), reverse=is_falling)
            self._order = there + rest
        for index, video in kept:
            self.changePersistentIndex(index, self.index(self.row_of(video), index.column()))
        self.layoutChanged.emit()


def _texts(video: VideoResult) -> tuple[str, ...]:
    worst = printable(video.worst.name) if video.worst is not None else ""
    return printable(video.name), f"{video.objects:,}", f"{video.found:,}", percent(video.score), worst


def _value(video: VideoResult, column: int) -> Any:
    if column == _NAME:
        return natural_key(video.name)
    if column == _WORST:
        return natural_key(video.worst.name) if video.worst is not None else None
    return (video.objects, video.found, video.score)[column - 1]


def _alignment(column: int) -> Any:
    side = Qt.AlignmentFlag.AlignLeft if column == _NAME else Qt.AlignmentFlag.AlignRight
    return side | Qt.AlignmentFlag.AlignVCenter


def printable_lines(text: str) -> str:
    """Return a text of several lines, each of them printable."""
    return "\n".join(printable(line) for line in text.split("\n"))


class VideosTable(QTableView):
    """The list; a click, or Enter, chooses a video.

    Signals
    -------
    chosen (VideoResult)
        A video should be looked at.
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("evaluated_videos")
        self.setAccessibleName("Evaluated videos, the worst first")
        self.setModel(VideosModel(self))
        self.setStyleSheet(
            FLAT_TABLE.replace("#table", "#evaluated_videos")
            + "#evaluated_videos { border: 1px solid rgba(128, 128, 128, 90); }"
        )
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        header.setSortIndicatorClearable(True)
        self.setSortingEnabled(True)
        self.clicked.connect(self._choose)

    @property
    def videos(self) -> VideosModel:
        """What is listed."""
        model = self.model()
        assert isinstance(model, VideosModel)  # no other is ever set
        return model

    def show_videos(self, kind: Kind, videos: Sequence[VideoResult]) -> None:
        """List videos, the worst first."""
        self.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.videos.take(kind, videos)
        header = self.horizontalHeader()
        letters = self.fontMetrics()
        for column in range(self.videos.columnCount()):
            # Not by contents: Qt would ask for all of them again and again.
            is_name = column == _NAME
            header.setSectionResizeMode(
                column, QHeaderView.ResizeMode.Stretch if is_name else QHeaderView.ResizeMode.Interactive
            )
            if not is_name:
                text = self.videos.widest(column)[:_LONGEST]
                header.resizeSection(column, letters.horizontalAdvance(text) + _AIR)
        rows = max(_FEWEST_ROWS, min(_ROWS, len(videos)))
        self.setFixedHeight(header.sizeHint().height() + rows * self.verticalHeader().defaultSectionSize() + 4)

    def keyPressEvent(self, event: Any) -> None:  # Qt's name
        """Choose the current row by Enter."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self._choose(self.currentIndex())
            return
        super().keyPressEvent(event)

    def _choose(self, index: QModelIndex) -> None:
        self.chosen.emit(self.videos.video(index.row()))
