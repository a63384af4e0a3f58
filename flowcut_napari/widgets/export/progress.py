"""How far an export and its counting are, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flowcut_napari.core.about import ABOUT
from flowcut_napari.core.errors import printable
from flowcut_napari.live.export_messages import Counts, ExportDone, ExportStep
from flowcut_napari.widgets.export.settings import window_words
from flowcut_napari.widgets.run.controller import duration

State = Literal["idle", "starting", "running", "cancelling", "done", "failed", "cancelled"]
# Names and reasons that are worth a line; there may be thousands.
_SHOWN = 8


@dataclass(frozen=True)
class ExportProgress:
    """How far an export is, and how it ended."""

    state: State = "idle"
    step: ExportStep | None = None
    done: ExportDone | None = None
    text: str = ""

    @property
    def is_going_on(self) -> bool:
        """Whether another one has to wait."""
        return self.state in ("starting", "running", "cancelling")

    @property
    def can_be_cancelled(self) -> bool:
        """Whether there is something to cancel."""
        return self.state in ("starting", "running")

    @property
    def share(self) -> float:
        """How much is done, 0 to 1, the present video by its frames."""
        step = self.step
        if step is None or not step.total:
            return 0.0
        return (step.done + (step.frames / step.of_frames if step.of_frames else 0)) / step.total

    def describe(self) -> str:
        """Say it in a line, and after it what was left out, a line each.

        Examples
        --------
        >>> ExportProgress("running", ExportStep(3, 90, "toys", 20, 80)).describe()
        '3 of 90 videos · toys: 20 of 80 frames'
        """
        if self.state == "starting":
            return self.text or "starting …"
        if self.state == "running" and self.step is not None:
            step = self.step
            text = f"{step.done} of {_count(step.total, 'video')}"
            return text + (f" · {step.video}: {step.frames} of {step.of_frames} frames" if step.of_frames else "")
        if self.state == "cancelling":
            return "cancelling …"
        if self.state == "done" and self.done is not None:
            return _describe_done(self.done)
        return printable(self.text)


def _describe_done(done: ExportDone) -> str:
    clips, instances = _count(done.total.clips, "clip"), _count(done.total.instances, "instance")
    where = f"{done.path} ({', '.join(done.parts)})" if done.parts else str(done.path)
    took = f" in {duration(done.seconds)}" if done.seconds >= 1 else ""
    lines = [f"{clips} of {_count(done.videos, 'video')}, {instances}{took} → {where}"]
    lines += [f"left out: {window_words(text)}" for _, text in done.failed[:_SHOWN]]
    if len(done.failed) > _SHOWN:
        lines.append(f"and {len(done.failed) - _SHOWN} more; {ABOUT} names them all")
    if done.empty:
        more = f" and {len(done.empty) - _SHOWN} more" if len(done.empty) > _SHOWN else ""
        lines.append(f"without a clip: {', '.join(done.empty[:_SHOWN])}{more}")
    lines += [f"note: {text}" for text in done.notes[:_SHOWN]]
    return "\n".join(printable(line) for line in lines)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'s' if number != 1 else ''}"


def describe_counts(problem: str, counts: Counts | None, is_counting: bool) -> str:
    r"""Return what is to be said beside the counts, a line each.

    Examples
    --------
    >>> describe_counts("", Counts(done=3, total=90, empty=("a",), empties=1), True)
    'counting: 3 of 90 videos …\nwithout a clip: a'
    """
    lines = [window_words(problem)] if problem else []
    if is_counting and (counts is None or counts.total != 1):
        lines.append(f"counting: {counts.done} of {counts.total} videos …" if counts and counts.total else "counting …")
    if counts is not None:
        for _, text in counts.failed:
            lines.append(f"cannot be used: {window_words(text)}")
        if (more := counts.failures - len(counts.failed)) > 0:
            lines.append(f"and {more} more that cannot be used")
        if counts.empty:
            more = counts.empties - len(counts.empty)
            lines.append(f"without a clip: {', '.join(counts.empty)}" + (f" and {more} more" if more else ""))
        for name, place in counts.moved:
            lines.append(f"{name}: its video is not at {place} any more")
        if (more := counts.away - len(counts.moved)) > 0:
            lines.append(f"and {more} more videos that have moved")
    return "\n".join(printable(line) for line in lines)
