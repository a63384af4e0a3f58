"""Who opens in a viewer what is more than layers: its panel, which napari's readers do not know."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.components import ViewerModel

_openers: weakref.WeakKeyDictionary[ViewerModel, weakref.WeakMethod[Any]] = weakref.WeakKeyDictionary()


def register_opener(viewer: ViewerModel, opener: Callable[[str], bool]) -> None:
    """Let a method open masks files and sessions in a viewer; it returns whether it takes a path."""
    _openers[viewer] = weakref.WeakMethod(opener)


def open_in_panel(path: str) -> bool:
    """Let the panel of the viewer that is in front open a path; return whether it does."""
    import napari

    viewer = napari.current_viewer()
    reference = _openers.get(viewer) if viewer is not None else None
    opener = reference() if reference is not None else None
    return opener is not None and bool(opener(path))
