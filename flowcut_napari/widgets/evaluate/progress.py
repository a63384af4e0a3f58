"""How far an evaluation is, and how it ended, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flowcut_napari.core.errors import printable

State = Literal["idle", "reading", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class EvaluateProgress:
    """How far an evaluation is; `what` is counted, in the plural, and `total` may be unknown (0)."""

    state: State = "idle"
    what: str = "videos"
    done: int = 0
    total: int = 0
    text: str = ""

    @property
    def is_going_on(self) -> bool:
        """Whether there is something to cancel."""
        return self.state in ("reading", "running")

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    def describe(self) -> str:
        """Say it in a line.

        Examples
        --------
        >>> EvaluateProgress("running", "videos", 3, 90).describe()
        '3 of 90 videos'
        >>> EvaluateProgress("reading").describe()
        'reading …'
        """
        if self.state == "reading":
            return "reading …"
        if self.state == "running":
            return f"{self.done:,} of {self.total:,} {self.what}"
        if self.state == "cancelled":
            return "cancelled"
        text = printable(window_words(self.text))
        return f"{text[:1].upper()}{text[1:]}" if self.state == "failed" else text


_WORDS = (
    ("--missing-as-empty counts them as missed", "tick Missing to count them as missed"),
    ("--subset needs a DAVIS root", "a subset needs a DAVIS root"),
)


def window_words(text: str) -> str:
    """Return what the command line would say in the words of the Evaluate tab.

    Examples
    --------
    >>> window_words("root: has no list of sequences; --subset needs a DAVIS root")
    'root: has no list of sequences; a subset needs a DAVIS root'
    """
    for said, shown in _WORDS:
        text = text.replace(said, shown)
    return text
