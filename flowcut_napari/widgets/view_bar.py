"""A row of buttons for what is seen: one for each kind of layer, and the iteration that is shown."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QSpinBox, QWidget

from flowcut_napari.widgets.workbench import Workbench

# Kind of layer: word on its button, what it is.
_KINDS = {
    "frames": ("Frame", "The frame itself"),
    "flow": ("Flow", "The flow picture: hue is direction, saturation is speed"),
    "eigenvector": ("Eigen", "The eigenvector of the chosen iteration: warm is object"),
    "cut": ("Cut", "The raw cut of the chosen iteration, patch by patch"),
    "masks": ("Masks", "The refined masks of all iterations"),
    "seeds": ("Seeds", "The seed of each cut: the patch with the largest value"),
}


class ViewBar(QWidget):
    """Shows and hides the layers of the workbench; a layer hidden elsewhere is seen here, too."""

    def __init__(self, bench: Workbench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        self._watched: set[int] = set()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        self.buttons: dict[str, QPushButton] = {}
        for kind, (word, tip) in _KINDS.items():
            button = QPushButton(word)
            button.setObjectName(f"show {kind}")
            button.setToolTip(tip)
            button.setCheckable(True)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            # Six of them and a number side by side: the theme's own padding would push the panel wide.
            button.setStyleSheet("QPushButton { padding: 4px 2px; min-width: 20px; }")
            button.clicked.connect(lambda on, kind=kind: self.show_kind(kind, bool(on)))
            layout.addWidget(button)
            self.buttons[kind] = button
        layout.addSpacing(4)
        self.iteration = QSpinBox()
        self.iteration.setObjectName("iteration")
        self.iteration.setToolTip("The iteration whose eigenvector and cut are shown")
        self.iteration.setRange(1, 1)
        self.iteration.setPrefix("no. ")
        self.iteration.valueChanged.connect(self._on_iteration)
        layout.addWidget(self.iteration)
        bench.layers_changed.connect(self.refresh)
        bench.video_changed.connect(self.refresh)
        bench.parameters_changed.connect(self._show_range)
        self._show_range()
        self.refresh()

    def show_kind(self, kind: str, on: bool) -> None:
        """Show or hide the layers of one kind; of eigenvectors and cuts those of the chosen iteration."""
        for role in self._roles(kind):
            self._set_visible(role, on and self._is_chosen(role))
        self.refresh()

    def show_role(self, role: str) -> None:
        """Show one layer over the frame and nothing else of ours, as a click on its small picture asks."""
        kind, _, number = role.partition(" ")
        if number:
            self.iteration.setValue(int(number))
        for other in list(self.buttons):
            for name in self._roles(other):
                self._set_visible(name, name in (role, "frames"))
        if kind == "eigenvector":
            self._set_visible("seeds", True)
        self.refresh()

    def refresh(self) -> None:
        """Show which layers are there and seen."""
        layers = self._bench.layers
        for kind, button in self.buttons.items():
            roles = self._roles(kind)
            button.setEnabled(bool(roles))
            button.setChecked(any(self._is_visible(role) for role in roles))
        for role in layers.roles() if layers else []:
            layer = layers[role] if layers else None
            if layer is not None and id(layer) not in self._watched:
                self._watched.add(id(layer))
                layer.events.visible.connect(self._on_visible)

    def _on_visible(self) -> None:
        for kind, button in self.buttons.items():
            button.setChecked(any(self._is_visible(role) for role in self._roles(kind)))

    def _on_iteration(self) -> None:
        for kind in ("eigenvector", "cut"):
            if self.buttons[kind].isChecked():
                self.show_kind(kind, True)

    def _show_range(self) -> None:
        self.iteration.setMaximum(self._bench.parameters.max_instances)
        self.iteration.setEnabled(self._bench.parameters.max_instances > 1)

    def _is_chosen(self, role: str) -> bool:
        _, _, number = role.partition(" ")
        return not number or int(number) == self.iteration.value()

    def _roles(self, kind: str) -> list[str]:
        layers = self._bench.layers
        return [role for role in layers.roles() if role.partition(" ")[0] == kind] if layers else []

    def _is_visible(self, role: str) -> bool:
        layer = self._bench.layers[role] if self._bench.layers else None
        return layer is not None and layer.visible

    def _set_visible(self, role: str, on: bool) -> None:
        layer = self._bench.layers[role] if self._bench.layers else None
        if layer is not None and layer.visible != on:
            layer.visible = on
