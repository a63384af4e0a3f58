"""A form made of the fields of a pydantic model: what a field is called, means and may be is said there alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from qtpy.QtCore import QObject, QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QSizePolicy,
    QSpinBox,
    QWidget,
)
from superqt import QLabeledDoubleSlider, QLabeledSlider


@dataclass(frozen=True)
class Range:
    """What a number may be, and how a slider shows it: up to `most`, in steps of `step`."""

    least: float
    limit: float
    most: float
    step: float
    unit: str
    is_slider: bool

    @classmethod
    def of(cls, field: FieldInfo) -> Range:
        """Read the bounds of a field; an open bound is left by a step."""
        extra = field.json_schema_extra
        found = extra.get("slider") if isinstance(extra, dict) else None
        hint: dict[str, Any] = found if isinstance(found, dict) else {}
        # The last digit that a spin box shows.
        step = float(hint.get("step", 1 if field.annotation is int else 1e-6))
        least, limit = 0.0, 1e9
        for bound in field.metadata:
            if isinstance(bound, Ge):
                least = float(bound.ge)  # type: ignore[arg-type]
            elif isinstance(bound, Gt):
                least = float(bound.gt) + step  # type: ignore[arg-type]
            elif isinstance(bound, Le):
                limit = float(bound.le)  # type: ignore[arg-type]
            elif isinstance(bound, Lt):
                limit = float(bound.lt) - step  # type: ignore[arg-type]
        return cls(least, limit, float(hint.get("most", limit)), step, str(hint.get("unit", "")), bool(hint))


def tooltip(name: str, field: FieldInfo) -> str:
    """Return what a control says of itself: its meaning, its range and its default.

    Examples
    --------
    >>> from flowcut_napari.core.parameters import CutParameters
    >>> tooltip("gap", CutParameters.model_fields["gap"])
    'Frames between a frame and its flow partner. From 1 to 10000 frames; 4 if not chosen.'
    """
    text = field.description or name
    text = f"{text[0].upper()}{text[1:]}."
    if field.annotation in (int, float):
        bounds = Range.of(field)
        unit = f" {bounds.unit}" if bounds.unit else ""
        if bounds.limit < 1e9:
            text += f" From {bounds.least:g} to {bounds.limit:.6g}{unit}; {field.default:g} if not chosen."
        else:
            text += f" {bounds.least:g} or more{unit}; {field.default:g} if not chosen."
    return text


class ModelForm(QWidget):
    """Controls for some fields of a model, one row each, named after their fields.

    Signals
    -------
    edited (str, object)
        A user changed a field to a value; not sent for `show_values`.
    """

    edited = Signal(str, object)

    def __init__(
        self, model: type[BaseModel], names: list[str], choices: dict[str, list[str]], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._setters: dict[str, Callable[[Any], None]] = {}
        self.controls: dict[str, QWidget] = {}
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setHorizontalSpacing(10)
        layout.setVerticalSpacing(7)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        layout.setLabelAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for name in names:
            field = model.model_fields[name]
            control = self._control(name, field, choices.get(name))
            control.setObjectName(name)
            control.setAccessibleName(field.title or name)
            control.setToolTip(tooltip(name, field))
            label = QLabel(field.title or name)
            label.setToolTip(control.toolTip())
            label.setBuddy(control)
            layout.addRow(label, control)
            self.controls[name] = control

    def add_row(self, label: str, control: QWidget) -> None:
        """Add a control that is of no field, below those that are."""
        words = QLabel(label)
        words.setBuddy(control)
        words.setToolTip(control.toolTip())
        layout = self.layout()
        layout.addRow(words, control)

    def show_values(self, values: BaseModel) -> None:
        """Show the values of a model, without telling anybody."""
        for name, setter in self._setters.items():
            with blocked(self.controls[name]):
                setter(getattr(values, name))

    def _control(self, name: str, field: FieldInfo, choices: list[str] | None) -> QWidget:
        kind = field.annotation
        if kind is bool:
            extra = field.json_schema_extra
            return self._check_box(name, str(extra.get("word", "on")) if isinstance(extra, dict) else "on")
        if choices is not None or get_origin(kind) is Literal:
            return self._combo_box(name, choices or list(get_args(kind)), is_open=choices is not None)
        bounds = Range.of(field)
        if bounds.is_slider:
            return self._slider(name, bounds, is_whole=kind is int)
        return self._spin_box(name, bounds, is_whole=kind is int)

    def _check_box(self, name: str, text: str) -> QWidget:
        box = QCheckBox(text)
        box.toggled.connect(lambda on: self.edited.emit(name, bool(on)))
        self._setters[name] = box.setChecked
        return box

    def _combo_box(self, name: str, choices: list[str], *, is_open: bool) -> QWidget:
        box = QComboBox()
        box.addItems(choices)
        box.setEditable(is_open)
        # A long name of a model must not make the panel wide.
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(8)
        box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        if is_open:
            line = box.lineEdit()
            box.activated.connect(lambda _: self.edited.emit(name, box.currentText().strip()))
            line.editingFinished.connect(lambda: self.edited.emit(name, box.currentText().strip()))
        else:
            box.activated.connect(lambda _: self.edited.emit(name, box.currentText()))
        self._setters[name] = box.setCurrentText
        return box

    def _slider(self, name: str, bounds: Range, *, is_whole: bool) -> QWidget:
        slider: Any = (QLabeledSlider if is_whole else QLabeledDoubleSlider)(Qt.Orientation.Horizontal)
        number: Callable[[float], Any] = int if is_whole else float
        slider.setRange(number(bounds.least), number(bounds.most))
        slider.setSingleStep(number(bounds.step))
        slider.setPageStep(number(10 * bounds.step) if not is_whole else 1)
        if not is_whole:
            slider.setDecimals(3 if bounds.step < 0.01 else 2)

        def show(value: float) -> None:
            # What a file or the command line may say, the slider can show.
            if value > slider.maximum():
                slider.setMaximum(number(value))
            slider.setValue(number(value))

        def tell(value: float) -> None:
            self.edited.emit(name, int(value) if is_whole else round(float(value), 4))

        slider.valueChanged.connect(tell)
        self._setters[name] = show
        return slider

    def _spin_box(self, name: str, bounds: Range, *, is_whole: bool) -> QWidget:
        box: Any = QSpinBox() if is_whole else QDoubleSpinBox()
        number: Callable[[float], Any] = int if is_whole else float
        if not is_whole:
            box.setDecimals(6 if bounds.limit < 1 else 2)
            box.setSingleStep(1e-5 if bounds.limit < 1 else 0.1)
        box.setRange(number(bounds.least), number(min(bounds.limit, 1e9)))
        box.setKeyboardTracking(False)
        box.valueChanged.connect(lambda value: self.edited.emit(name, number(value)))
        self._setters[name] = lambda value: box.setValue(number(value))
        return box


def blocked(control: QObject) -> QSignalBlocker:
    """Return a context in which a control says nothing."""
    return QSignalBlocker(control)
