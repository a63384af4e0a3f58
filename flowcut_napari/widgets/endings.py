"""Calling what may be gone: while a window is torn down, Qt's half of an object goes before Python's."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import Any


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
