"""Why a tab is out of sight: another one took its place, or all of the panel is hidden or gone."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QStackedWidget, QWidget


def is_page_turned(tab: QWidget) -> bool:
    """Whether another tab or page took the place of this one; asked while it is being hidden."""
    widget: Any = tab
    while widget is not None and not widget.isHidden():
        widget = widget.parentWidget()
    return widget is tab or (widget is not None and isinstance(widget.parentWidget(), QStackedWidget))
