"""What the interpreter of the training says of itself: devices, versions, configurations and their parameters.

It is asked (``flowcut backend --json``), because it need not be the Python of the window, nor of the same version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.parameters import one_line

Kind = Literal["int", "float", "bool", "text", "choice", "list"]


class Parameter(BaseModel):
    """One parameter of training; see `flowcut_training.machine.describe_parameters`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    description: str
    values: dict[str, Any]
    kind: Kind
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    optional: bool = False
    changeable: bool = False

    @property
    def section(self) -> str:
        """The part before the dot."""
        return self.name.partition(".")[0]

    @property
    def short(self) -> str:
        """The part after the dot."""
        return self.name.partition(".")[2]

    def shown(self, configuration: str) -> str:
        """Return its value in a configuration as text."""
        return shown(self.values.get(configuration))

    def tip(self) -> str:
        """Return what a control says of it.

        Examples
        --------
        >>> Parameter(name="data.flip", description="probability", values={}, kind="float", least=0, most=1).tip()
        'data.flip: probability. From 0 to 1.'
        """
        text = f"{self.name}: {self.description}."
        if self.choices:
            return f"{text} One of {', '.join(self.choices)}."
        if self.least is not None and self.most is not None:
            return f"{text} From {self.least:g} to {self.most:g}."
        return f"{text} {self.least:g} or more." if self.least is not None else text

    def problem(self, text: str) -> str:
        """Return what is wrong with a value as it was typed, in one line; empty if nothing is, as far as that is known.

        Examples
        --------
        >>> steps = Parameter(name="optimizer.steps", description="", values={}, kind="int", least=1)
        >>> steps.problem("x"), steps.problem("0"), steps.problem("20")
        ("optimizer.steps is 'x': give a whole number", 'optimizer.steps is 0: give 1 or more', '')
        """
        text = text.strip()
        if not text:
            return "" if self.optional or self.kind in ("text", "list") else f"{self.name}: give a value"
        if self.kind == "choice" and text not in self.choices:
            return f"{self.name} is {text[:40]!r}: choose one of {', '.join(self.choices)}"
        if self.kind == "bool" and text.lower() not in ("true", "false"):
            return f"{self.name} is {text[:40]!r}: give true or false"
        if self.kind not in ("int", "float"):
            return ""
        if self.kind == "int" and not re.fullmatch(r"[-+]?\d{1,18}", text):
            return f"{self.name} is {text[:40]!r}: give a whole number"
        try:
            number = float(text)
        except ValueError:
            return f"{self.name} is {text[:40]!r}: give a number"
        if not abs(number) < float("inf"):
            return f"{self.name} is {text[:40]!r}: give a number"
        if self.least is not None and number < self.least:
            return f"{self.name} is {text}: give {self.least:g} or more"
        if self.most is not None and number > self.most:
            return f"{self.name} is {text}: give {self.most:g} or less"
        return ""


class Device(BaseModel):
    """Where a model can be trained; memory in GiB, None where it cannot be told."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    title: str
    total_gib: float
    free_gib: float | None = None

    def words(self) -> str:
        """Return it as a list shows it.

        Examples
        --------
        >>> Device(name="cuda:0", title="NVIDIA H200", total_gib=139.8, free_gib=120.04).words()
        'cuda:0 · NVIDIA H200 · 120.0 of 139.8 GiB free'
        """
        free = "" if self.free_gib is None else f" · {self.free_gib:.1f} of {self.total_gib:.1f} GiB free"
        return f"{self.name} · {self.title}{free}"


class BackendAbout(BaseModel):
    """All of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    versions: dict[str, str | None]
    devices: tuple[Device, ...]
    configurations: tuple[str, ...]
    parameters: tuple[Parameter, ...]

    @classmethod
    def read(cls, document: Mapping[str, Any] | None) -> BackendAbout:
        """Read the document.

        Raises
        ------
        InputError
            If it says something else, as another version may.
        """
        if document is None:
            raise InputError(
                "the Python for training gave no answer; is flowcut-napari of this version installed there?"
            )
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise InputError(
                f"the Python for training has another version of flowcut-napari: {one_line(error)}"
            ) from None

    def words(self) -> str:
        """Return its versions in one line."""
        found = {name: value for name, value in self.versions.items() if value}
        cuda = f", CUDA {found['cuda']}" if "cuda" in found else ""
        return f"PyTorch {found.get('torch', '?')}{cuda}, Python {found.get('python', '?')}"


def shown(value: Any) -> str:
    """Return a value as the command line takes it.

    Examples
    --------
    >>> shown(1e-06), shown(True), shown([0.9, 1.1]), shown(None)
    ('1e-06', 'true', '0.9, 1.1', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
