"""Numbers that papers report, to see one's own beside them.

Only what was read in a source stands here; a field of a table that was not read is left out, not guessed. They hold for
whole benchmarks and for the settings of their papers: a number on other videos is not to be compared with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FLOWCUT = "arXiv 2505.13174v1"
VIDEOCUTLER = "arXiv 2308.14710"


@dataclass(frozen=True)
class PublishedRow:
    """What a paper reports of a method.

    Attributes
    ----------
    method, benchmark : str
    short : str
        The benchmark where there is little room.
    values : mapping of str to float
        In percent, by the names of our `stats`.
    source : str
        Paper and place in it.
    note : str
        What does not fit in it, or how it differs; may be empty.
    marked : str
        The value that the note is about.
    """

    method: str
    benchmark: str
    short: str
    values: Mapping[str, float]
    source: str
    note: str = ""
    marked: str = ""


_YTVIS = (
    PublishedRow("FlowCut", "YouTube-VIS 2019", "2019", {"AP": 24.3, "AP50": 47.9}, f"{FLOWCUT}, Table 2"),
    PublishedRow(
        "FlowCut",
        "YouTube-VIS 2019, trained on its own videos",
        "own 2019",
        {"AP": 25.1, "AP50": 49.6},
        f"{FLOWCUT}, Table 4",
    ),
    PublishedRow(
        "VideoCutLER",
        "YouTube-VIS 2019",
        "2019",
        {"AP50": 47.0},
        f"{FLOWCUT}, Table 2",
        "as FlowCut's table has it; its own paper reports 50.7",
        "AP50",
    ),
    PublishedRow("VideoCutLER", "YouTube-VIS 2019", "own paper", {"AP50": 50.7}, f"{VIDEOCUTLER}, abstract"),
)
_DAVIS = (
    PublishedRow(
        "FlowCut",
        "DAVIS-2017 Motion",
        "Motion",
        {"J&F-Mean": 58.3, "J-Mean": 53.3, "F-Mean": 57.5},
        f"{FLOWCUT}, Table 1",
        "as printed; the mean of its J and F is 55.4",
        "J&F-Mean",
    ),
    PublishedRow("VideoCutLER", "DAVIS-2017 Motion", "Motion", {"J-Mean": 53.3}, f"{FLOWCUT}, Table 1"),
    PublishedRow("best before", "DAVIS-2017 Motion", "Motion", {"J&F-Mean": 55.3}, f"{FLOWCUT}, Table 1, its [30]"),
)


def published_rows(kind: Literal["ytvis", "davis"]) -> tuple[PublishedRow, ...]:
    """Return the published numbers of a benchmark, FlowCut's first."""
    return _YTVIS if kind == "ytvis" else _DAVIS


def footnotes(kind: Literal["ytvis", "davis"]) -> tuple[str, ...]:
    """Return what is to be said under the table: of each marked value what it is about.

    Examples
    --------
    >>> footnotes("davis")
    ('* FlowCut, Motion: as printed; the mean of its J and F is 55.4',)
    """
    return tuple(f"* {row.method}, {row.short}: {row.note}" for row in published_rows(kind) if row.note)
