"""The one exception family: every message is a single line saying what is wrong, where, and what to do."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return a text as one line without control characters, which names of files may hold and which could do anything.

    Examples
    --------
    >>> print(printable("two\nlines"))
    two\nlines
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


class FlowCutError(Exception):
    """Base of all errors that FlowCut raises on purpose; its text is fit to be shown to a user as it is."""


class FlowCutWarning(UserWarning):
    """Something went wrong that does not stop the work; its text is fit to be shown to a user as it is."""


class InputError(FlowCutError, ValueError):
    """Something given to FlowCut (a path, a file, an array, a value) cannot be used."""


class DamagedFileError(InputError):
    """A file of ours was read and does not hold what it should."""


class WeightsError(InputError):
    """Pretrained weights are missing, damaged, of another model, or unsafe to read."""


class MissingWeightsError(WeightsError):
    """Weights are nowhere to be found; `names` are those of their models."""

    def __init__(self, message: str, names: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.names = names


class OutputError(FlowCutError, OSError):
    """A result cannot be written; nothing half-written is left behind."""


class MissingPackageError(FlowCutError, ImportError):
    """An optional package is needed for what was asked."""
