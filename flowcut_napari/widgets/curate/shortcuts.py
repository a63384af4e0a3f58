"""Keys: bound in the canvas and in the panel from one registry, while the page that they belong to is in sight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QDoubleSpinBox, QShortcut, QWidget

from flowcut_napari.widgets.endings import quietly

if TYPE_CHECKING:
    from napari.components import ViewerModel


class Keys:
    """A set of keys that is on or off.

    Parameters
    ----------
    viewer : ViewerModel
        In whose canvas they work.
    keys : mapping of str to callable
        What each key does, ``Ctrl+Shift+Z`` as Qt writes it; called with nothing.
    """

    def __init__(self, viewer: ViewerModel, keys: Mapping[str, Callable[[], object]]) -> None:
        self._viewer = viewer
        self.keys = dict(keys)
        self._shortcuts: list[QShortcut] = []
        # What was bound before, and what is bound now.
        self._before: dict[Any, tuple[Any, Any]] = {}
        self.is_on = False

    def cover(self, widget: QWidget) -> None:
        """Let them work while a widget or one inside it has the focus; fields for text take their letters first."""
        for key, act in self.keys.items():
            shortcut = QShortcut(QKeySequence(key), widget)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(act)
            shortcut.setEnabled(self.is_on)
            self._shortcuts.append(shortcut)

    def set_on(self, on: bool) -> None:
        """Switch them on or off; may be called again."""
        if on == self.is_on:
            return
        self.is_on = on
        if on:
            self._bind()
        else:
            self._unbind()
        for shortcut in self._shortcuts:
            quietly(partial(shortcut.setEnabled, on))  # the panel may be gone already

    def bind_layer(self, layer: Any) -> None:
        """Let them come before those that a kind of layer has for itself: a brush's own undo, for instance."""
        for key, act in self.keys.items():
            layer.bind_key(key, _function(act), overwrite=True)

    def _bind(self) -> None:
        from napari.utils.key_bindings import coerce_keybinding

        for key, act in self.keys.items():
            binding = coerce_keybinding(key)
            function = _function(act)
            self._before[binding] = self._viewer.keymap.get(binding), function
            self._viewer.bind_key(key, function, overwrite=True)

    def _unbind(self) -> None:
        for binding, (before, function) in self._before.items():
            if self._viewer.keymap.get(binding) is not function:
                continue  # somebody else's, who came later
            del self._viewer.keymap[binding]
            if before is not None:  # somebody else's, who was there first
                self._viewer.keymap[binding] = before
        self._before.clear()


def _function(act: Callable[[], object]) -> Callable[..., None]:
    """Return an action as napari takes it: it asks callbacks for their name, and tells them viewer or layer."""

    def do(*_: Any) -> None:
        act()

    return do


def takes_arrows(event: Any) -> bool:
    """Accept an arrow without modifiers that would be a shortcut, for a widget that moves by them; return whether."""
    arrows = (Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Left, Qt.Key.Key_Right)
    if event.type() != QEvent.Type.ShortcutOverride or event.key() not in arrows:
        return False
    if event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
        return False
    event.accept()
    return True


class ArrowSpinBox(QDoubleSpinBox):
    """A number that Up and Down change, also where these are keys of the page."""

    def event(self, event: Any) -> bool:  # Qt's name
        """Take the arrows before they choose objects."""
        return takes_arrows(event) or bool(super().event(event))
