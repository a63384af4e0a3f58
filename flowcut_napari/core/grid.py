"""Grids of parameters: what `--vary alpha=0:1:0.25` and `--presets` mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Any

from pydantic import ValidationError

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.parameters import CutParameters, one_line

# Beyond this a mistyped step is more likely than patience.
MOST_SETTINGS = 10_000
# The presets of earlier methods and the paper's own, in the order of their years; the one without any download last.
COMPARED_PRESETS = ("tokencut", "maskcut", "locate", "flowcut", "handmade")
PRESET = "preset"


@dataclass(frozen=True)
class Axis:
    """One parameter and the values that it takes, in the order given."""

    name: str
    values: tuple[Any, ...]

    @classmethod
    def parse(cls, text: str) -> Axis:
        """Read ``NAME=VALUE,VALUE,...`` or ``NAME=START:STOP:STEP``, the stop included.

        Raises
        ------
        InputError
            If there is no such parameter, a value is none of it, or there is no value at all.

        Examples
        --------
        >>> Axis.parse("alpha=0:1:0.25").values
        (0.0, 0.25, 0.5, 0.75, 1.0)
        >>> Axis.parse("crf=true,false").values
        (True, False)
        """
        name, separator, listed = text.partition("=")
        name = name.strip().replace("-", "_")
        if not separator:
            raise InputError(f"{text}: give NAME=VALUE,VALUE,... or NAME=START:STOP:STEP, such as alpha=0:1:0.25")
        if name not in CutParameters.model_fields:
            known = ", ".join(CutParameters.model_fields)
            raise InputError(f"{text}: there is no parameter {name!r}; there are {known}")
        words = _steps(text, listed) if ":" in listed else [part.strip() for part in listed.split(",") if part.strip()]
        if not words:
            raise InputError(f"{text}: an empty grid; give at least one value")
        return cls.of(name, words)

    @classmethod
    def of(cls, name: str, values: Iterable[Any]) -> Axis:
        """Check values (texts of them are taken, too); each is kept once.

        Raises
        ------
        InputError
            If one is none of the parameter.
        """
        checked = []
        for value in values:
            try:
                found = getattr(CutParameters(**{name: value}), name)
            except ValidationError as error:
                raise InputError(f"{name}={value}: {one_line(error)}") from None
            if found not in checked:
                checked.append(found)
        return cls(name, tuple(checked))


@dataclass(frozen=True)
class Setting:
    """One point of a grid: what was varied, by name, and all parameters there."""

    values: tuple[tuple[str, Any], ...]
    parameters: CutParameters

    def text(self) -> str:
        """Return what was varied as ``alpha 0.5, tau 0.35``."""
        return ", ".join(f"{name} {short(value)}" for name, value in self.values) or "as given"


@dataclass(frozen=True)
class Grid:
    """All settings of a sweep, the last axis running fastest.

    Attributes
    ----------
    axes : tuple of Axis
        ``preset`` first, if presets are compared.
    settings : tuple of Setting
    """

    axes: tuple[Axis, ...]
    settings: tuple[Setting, ...]

    @classmethod
    def make(
        cls,
        base: CutParameters,
        axes: Sequence[Axis],
        *,
        presets: Sequence[str] = (),
        changes: Mapping[str, Any] | None = None,
    ) -> Grid:
        """Put a grid together.

        Parameters
        ----------
        base : CutParameters
            What is not varied, where no presets are compared.
        axes : sequence of Axis
            Each parameter once.
        presets : sequence of str
            Presets to compare; each is taken through the whole grid.
        changes : mapping, optional
            Values that replace those of every preset, such as features that need no download.

        Raises
        ------
        InputError
            If there is nothing to vary, a parameter comes twice, or there are too many settings.
        """
        if not axes and not presets:
            raise InputError("an empty grid: nothing is varied; give --vary NAME=VALUES or --presets")
        names = [axis.name for axis in axes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"{twice[0]} is varied twice; give all of its values at once")
        count = max(1, len(presets))
        for axis in axes:
            count *= len(axis.values)
        if count > MOST_SETTINGS:
            raise InputError(f"a grid of {count} settings; {MOST_SETTINGS} is the most, so give fewer values")
        starts: list[tuple[tuple[tuple[str, Any], ...], CutParameters]] = [((), base)]
        if presets:
            starts = [
                (((PRESET, name),), CutParameters.preset(name).with_changes(**(changes or {}))) for name in presets
            ]
        settings = [
            Setting(
                (*label, *zip(names, values, strict=True)), start.with_changes(**dict(zip(names, values, strict=True)))
            )
            for label, start in starts
            for values in product(*(axis.values for axis in axes))
        ]
        first = (Axis(PRESET, tuple(presets)),) if presets else ()
        return cls((*first, *axes), tuple(settings))


def short(value: Any) -> str:
    """Return a value of a parameter as people write it.

    Examples
    --------
    >>> short(0.30000000000000004), short(True), short("dis")
    ('0.3', 'yes', 'dis')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        rounded = f"{value:.6g}"
        # Values that were told apart must not look alike.
        return rounded if abs(float(rounded) - value) <= 1e-12 * abs(value) else repr(value)
    return str(value)


def _steps(text: str, listed: str) -> list[str]:
    """Return the numbers from start to stop, exact in decimals: a tenth thrice is 0.3."""
    try:
        start, stop, step = (Decimal(part.strip()) for part in listed.split(":"))
        if not (start.is_finite() and stop.is_finite() and step.is_finite() and step > 0):
            raise ValueError
        steps = (stop - start) / step
    except (ValueError, ArithmeticError):
        raise InputError(f"{text}: give START:STOP:STEP with a step above 0, such as alpha=0:1:0.25") from None
    # Compared before it is made a whole number, which may have thousands of digits.
    if steps >= MOST_SETTINGS:
        many = f"{int(steps) + 1}" if steps < 10**9 else "far too many"
        raise InputError(f"{text}: {many} values; {MOST_SETTINGS} is the most")
    count = int(steps) + 1 if stop >= start else 0
    return [str(start + place * step) for place in range(count)]
