"""Rows of controls as all forms of the panel have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QPushButton, QWidget


def form_layout() -> QFormLayout:
    """Return rows of a label and a field, as all forms of the panel have them."""
    form = QFormLayout()
    form.setHorizontalSpacing(10)
    form.setVerticalSpacing(5)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return form


def push_button(name: str, text: str, tip: str, act: Callable[[], Any]) -> QPushButton:
    """Return a button."""
    button = QPushButton(text)
    button.setObjectName(name)
    button.setToolTip(tip)
    # Not `clicked` itself: it brings along whether the button is checked.
    button.clicked.connect(lambda: act())
    return button


def show_row(form: QFormLayout, field: QWidget, is_shown: bool) -> None:
    """Show or hide a field with its label."""
    field.setVisible(is_shown)
    if (label := form.labelForField(field)) is not None:
        label.setVisible(is_shown)
