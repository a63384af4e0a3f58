"""What was found out of a run before it starts, and how the tab says it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flowcut_napari.core.errors import printable


@dataclass(frozen=True)
class Measured:
    """Memory and time, as a trial found them."""

    device: str
    seconds_per_step: float
    steps: int
    memory_gib: float | None
    free_gib: float | None


@dataclass(frozen=True)
class Findings:
    """All of it; `is_checking` while more may come."""

    is_checking: bool = False
    dataset: str = ""
    start: str = ""
    measured: Measured | None = None
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def taking(self, event: Mapping[str, Any]) -> Findings:
        """Return them with one more event; what is none of those that are known changes nothing."""
        kind, text = event.get("event"), printable(str(event.get("text", "")))
        try:
            if kind == "dataset":
                return replace(self, dataset=describe_dataset(event))
            if kind == "estimate":
                return replace(self, measured=_measured(event))
        except (KeyError, TypeError, ValueError):  # of another version
            return self
        if kind == "start":
            return replace(self, start=text)
        if kind == "problem":
            return replace(self, problems=(*self.problems, window_words(text)))
        if kind == "warning":
            return replace(self, warnings=(*self.warnings, window_words(text)))
        return self

    def describe(self) -> str:
        """Return them as a few lines, the worst first.

        Examples
        --------
        >>> print(Findings(dataset="86 clips", warnings=("few",), problems=("no weights",)).describe())
        ✗ No weights
        ! Few
        86 clips
        """
        lines = [f"✗ {_sentence(text)}" for text in self.problems]
        lines += [f"! {_sentence(text)}" for text in self.warnings]
        if self.is_checking:
            lines.append("checking …")
        lines += [line for line in (self.dataset, _sentence(self.start)) if line]
        return "\n".join(lines)


def describe_dataset(event: Mapping[str, Any]) -> str:
    """Return the counts and sizes of a dataset in one line.

    Examples
    --------
    >>> describe_dataset({"clips": 86, "instances": 90, "frames": 172, "empty": 2, "sizes": [[360, 640, 86]],
    ...                   "kinds_of_sizes": 1})
    '86 clips, 90 instances, 172 frames of 640x360; 2 clips have no instance and are left out'
    """
    sizes = [f"{int(width)}x{int(height)}" for height, width, _ in event["sizes"]]
    more = int(event["kinds_of_sizes"]) - 2
    said = " and ".join(sizes[:2]) + (f" and {more} more sizes" if more > 0 else "")
    text = f"{int(event['clips']):,} clips, {int(event['instances']):,} instances, {int(event['frames']):,} frames"
    text += f" of {said}" if said else ""
    empty = int(event["empty"])
    return f"{text}; {empty:,} clips have no instance and are left out" if empty else text


def describe_measured(measured: Measured) -> str:
    """Return memory and time in one line.

    Examples
    --------
    >>> describe_measured(Measured("cuda:0", 0.31, 5000, 9.82, 138.0))
    'cuda:0: about 26 min for 5,000 steps (0.31 s each), 9.8 GiB of memory (138.0 are free)'
    """
    text = f"{measured.device}: about {_about(measured.seconds_per_step * measured.steps)} for {measured.steps:,} steps"
    text += (
        f" ({measured.seconds_per_step:.2g} s each)"
        if measured.seconds_per_step < 10
        else (f" ({measured.seconds_per_step:.0f} s each)")
    )
    if measured.memory_gib is None:
        return text
    free = "" if measured.free_gib is None else f" ({measured.free_gib:.1f} are free)"
    return f"{text}, {measured.memory_gib:.1f} GiB of memory{free}"


def _about(seconds: float) -> str:
    """Return a time without digits that nobody knows."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 72 * 3600 else f"{seconds / 86400:.0f} days"


def window_words(text: str) -> str:
    """Return what the command line would say in the words of the Train tab.

    Examples
    --------
    >>> window_words("run: holds a run already; go on with it by --resume, or give another -o")
    'run: holds a run already; tick Go on with it, or choose another folder'
    >>> window_words("missing weights: cutler (x.pth). Give the file with --weights cutler=PATH, or start without: a=b")
    'missing weights: cutler (x.pth). Choose the file at Weights, or start without: a=b'
    """
    text = re.sub(r"Give the file with --weights \S+=PATH", "Choose the file at Weights", text)
    text = text.replace("or start without: run.init=scratch", "or start from scratch")
    for said, here in (
        ("go on with it by --resume, or give another -o", "tick Go on with it, or choose another folder"),
        ("give a new one with -o", "choose another"),
        ("give another -o", "choose another folder"),
        ("start another with a new -o", "start another in a new folder"),
        ("leave --resume away", "take the tick off Go on with it"),
    ):
        text = text.replace(said, here)
    return text


def _measured(event: Mapping[str, Any]) -> Measured:
    memory, free = event["memory_gib"], event["free_gib"]
    return Measured(
        str(event["device"]),
        float(event["seconds_per_step"]),
        int(event["steps"]),
        None if memory is None else float(memory),
        None if free is None else float(free),
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
