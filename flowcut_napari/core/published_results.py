"""Numbers that papers report, to see one's own beside them.

Only what was read in a source stands here; a field of a table that was not read is left out, not guessed. They hold for
whole benchmarks and for the settings of their papers: a number on other videos is not to be compared with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_FLOWCUT = "arXiv 2505.13174v1"


@dataclass(frozen=True)
class PublishedRow:
    """What a paper reports of a method.

    Attributes
    ----------
    method, benchmark : str
    values : mapping of str to float
        In percent, by the names of our `stats`.
    source : str
        Paper and place in it.
    note : str
        What does not fit in it, or how it differs; may be empty.
    mark : str
        The sign that leads from the row to its note.
    marked : str
        The value that the note is about; empty: the whole row.
    """

    method: str
    benchmark: str
    values: Mapping[str, float]
    source: str
    note: str = ""
    mark: str = ""
    marked: str = ""


_YTVIS = (
    PublishedRow("FlowCut", "YouTube-VIS 2019", {"AP": 24.3, "AP50": 47.9}, f"{_FLOWCUT}, Table 2"),
    PublishedRow(
        "FlowCut",
        "YouTube-VIS 2019",
        {"AP": 25.1, "AP50": 49.6},
        f"{_FLOWCUT}, Table 4",
        "trained on the videos of 2019 (Table 4)",
        "†",
    ),
    PublishedRow(
        "VideoCutLER",
        "YouTube-VIS 2019",
        {"AP50": 47.0},
        f"{_FLOWCUT}, Table 2",
        "50.7 in its own paper (arXiv 2308.14710)",
        "*",
        "AP50",
    ),
)
_DAVIS = (
    PublishedRow(
        "FlowCut",
        "DAVIS-2017 Motion",
        {"J&F-Mean": 58.3, "J-Mean": 53.3, "F-Mean": 57.5},
        f"{_FLOWCUT}, Table 1",
        "as printed; the mean of J and F beside it is 55.4",
        "*",
        "J&F-Mean",
    ),
    PublishedRow("VideoCutLER", "DAVIS-2017 Motion", {"J-Mean": 53.3}, f"{_FLOWCUT}, Table 1"),
    PublishedRow("best before", "DAVIS-2017 Motion", {"J&F-Mean": 55.3}, f"{_FLOWCUT}, Table 1, its reference 30"),
)


def published_rows(kind: Literal["ytvis", "davis"]) -> tuple[PublishedRow, ...]:
    """Return the published numbers of a benchmark, FlowCut's first; all are of one benchmark."""
    return _YTVIS if kind == "ytvis" else _DAVIS


def published_heading(kind: Literal["ytvis", "davis"]) -> str:
    """Return what stands over the published rows.

    Examples
    --------
    >>> published_heading("davis")
    'DAVIS-2017 Motion, as arXiv 2505.13174v1 has it'
    """
    return f"{published_rows(kind)[0].benchmark}, as {_FLOWCUT} has it"


def footnotes(kind: Literal["ytvis", "davis"]) -> tuple[str, ...]:
    """Return what is to be said under the table.

    Examples
    --------
    >>> footnotes("davis")
    ('* as printed; the mean of J and F beside it is 55.4',)
    """
    return tuple(f"{row.mark} {row.note}" for row in published_rows(kind) if row.note)
