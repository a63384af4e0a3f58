"""All parameters of training in a table: what differs from the configuration is bold; emptied, it goes back to that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QModelIndex, Qt, Signal
from qtpy.QtGui import QBrush, QPalette
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from flowcut_napari.widgets.notices import plain
from flowcut_napari.widgets.train.parameters import Parameter
from flowcut_napari.widgets.tune.form import blocked

_NAME, _VALUE = 0, 1
_PARAMETER = Qt.ItemDataRole.UserRole
_SECTIONS = {
    "model": "Network",
    "data": "Data and augmentation",
    "loss": "Loss",
    "optimizer": "Optimizer",
    "run": "Run",
}


class ParameterTable(QTreeWidget):
    """Names and values, by section.

    Signals
    -------
    edited (str, str)
        A user gave a parameter a value; an empty one takes it back.
    """

    edited = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("parameters")
        self.setAccessibleName("all parameters of training")
        self.setColumnCount(2)
        self.setHeaderLabels(["Parameter", "Value"])
        self.setToolTip(
            "Double click a value to change it; what differs from the configuration is bold, empty it to go back"
        )
        self.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked
            | QAbstractItemView.EditTrigger.EditKeyPressed
            | QAbstractItemView.EditTrigger.AnyKeyPressed
        )
        self.header().setSectionResizeMode(_NAME, QHeaderView.ResizeMode.ResizeToContents)
        self.header().setStretchLastSection(True)
        self.setItemDelegate(_ValueDelegate(self))
        self.setUniformRowHeights(True)
        self.setMinimumHeight(260)
        self._items: dict[str, QTreeWidgetItem] = {}
        self.itemChanged.connect(self._tell)

    def show_parameters(self, parameters: Sequence[Parameter]) -> None:
        """Show these rows, in place of others."""
        if [item.data(_NAME, _PARAMETER) for item in self._items.values()] == list(parameters):
            return
        with blocked(self):
            self.clear()
            self._items = {}
            sections: dict[str, QTreeWidgetItem] = {}
            for parameter in parameters:
                section = parameter.section
                if section not in sections:
                    sections[section] = QTreeWidgetItem([_SECTIONS.get(section, section)])
                    sections[section].setFlags(Qt.ItemFlag.ItemIsEnabled)
                    self.addTopLevelItem(sections[section])
                    sections[section].setFirstColumnSpanned(True)
                item = QTreeWidgetItem([parameter.short, ""])
                item.setData(_NAME, _PARAMETER, parameter)
                for column in (_NAME, _VALUE):
                    item.setToolTip(column, plain(parameter.tip()))
                sections[section].addChild(item)
                self._items[parameter.name] = item
            self.expandAll()

    def show_values(self, configuration: str, changes: Mapping[str, str], *, changeable_only: bool) -> None:
        """Show the values that hold.

        With `changeable_only` they are those of a run that goes on: empty where they are its own, and locked where they
        cannot be others.
        """
        with blocked(self):
            for name, item in self._items.items():
                parameter: Parameter = item.data(_NAME, _PARAMETER)
                text = changes.get(name, "" if changeable_only else parameter.shown(configuration))
                item.setText(_VALUE, text)
                font = item.font(_VALUE)
                font.setBold(name in changes)
                for column in (_NAME, _VALUE):
                    item.setFont(column, font)
                is_open = parameter.changeable or not changeable_only
                flags = Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled
                item.setFlags(flags | Qt.ItemFlag.ItemIsEditable if is_open else Qt.ItemFlag.ItemIsSelectable)
                group = QPalette.ColorGroup.Active if is_open else QPalette.ColorGroup.Disabled
                item.setForeground(_VALUE, QBrush(self.palette().color(group, QPalette.ColorRole.Text)))

    def edit(self, index: QModelIndex, *more: Any) -> Any:
        """Edit values alone, not names."""
        return super().edit(index, *more) if index.column() == _VALUE or not more else False

    def _tell(self, item: QTreeWidgetItem, column: int) -> None:
        parameter = item.data(_NAME, _PARAMETER)
        if column == _VALUE and parameter is not None:
            self.edited.emit(parameter.name, item.text(_VALUE))


class _ValueDelegate(QStyledItemDelegate):
    """A list to choose from where there are few values."""

    def createEditor(self, parent: QWidget, option: QStyleOptionViewItem, index: QModelIndex) -> QWidget:  # Qt's name
        parameter: Parameter | None = index.siblingAtColumn(_NAME).data(_PARAMETER)
        choices = () if parameter is None else ("true", "false") if parameter.kind == "bool" else parameter.choices
        if not choices:
            editor: QWidget = super().createEditor(parent, option, index)
            return editor
        box = QComboBox(parent)
        box.addItems(list(choices))
        box.activated.connect(lambda _: self.commitData.emit(box))
        return box

    def setEditorData(self, editor: QWidget, index: QModelIndex) -> None:  # Qt's name
        if isinstance(editor, QComboBox):
            editor.setCurrentText(str(index.data()))
        else:
            super().setEditorData(editor, index)

    def setModelData(self, editor: QWidget, model: Any, index: QModelIndex) -> None:  # Qt's name
        if isinstance(editor, QComboBox):
            model.setData(index, editor.currentText())
        else:
            super().setModelData(editor, model, index)
