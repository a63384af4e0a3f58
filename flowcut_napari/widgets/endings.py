"""Calling what may be gone: while a window is torn down, Qt's half of an object goes before Python's."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, QTimer

# What Qt is still to delete, by its id.
_leaving: dict[int, QObject] = {}


def quietly(act: Callable[[], Any]) -> None:
    """Do something that fails where an object or its viewer is already gone; then there is nothing to do."""
    with contextlib.suppress(RuntimeError, ReferenceError):
        act()


class Quietly:
    """A method as a callback that neither keeps its object alive nor fails without it; takes any arguments."""

    def __init__(self, method: Callable[[], Any]) -> None:
        self._method = weakref.WeakMethod(method)

    def __call__(self, *_: object) -> None:
        """Call the method, if its object is still there."""
        method = self._method()
        if method is not None:
            quietly(method)


def leave(root: QObject) -> None:
    """Have Qt delete an object without a parent, and all its children, as soon as it can; it is kept until then.

    Never left to Python's garbage collector: PySide (6.8 to 6.11 did) deletes an object twice if it comes upon a child
    before the root and a grandchild refers to the root. The process then ends in QObject::~QObject, or anywhere later.
    """
    key = id(root)
    _leaving[key] = root
    # Not forgotten in its own destructor, where it would be the last reference.
    root.destroyed.connect(lambda: QTimer.singleShot(0, lambda: _leaving.pop(key, None)))
    root.deleteLater()
