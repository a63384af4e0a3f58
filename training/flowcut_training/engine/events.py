"""What a run says while it works: one JSON object a line, the truth about it; and figures as a table."""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from flowcut_napari.core.errors import DamagedFileError, MissingPackageError, OutputError
from flowcut_napari.core.files import write_atomically
from flowcut_napari.core.times import utc

EVENTS, METRICS, LOG = "events.jsonl", "metrics.csv", "log.txt"
FIGURES = (
    *("step", "loss", "classification", "mask", "dice", "gradient_norm", "lr"),
    *("seconds", "data_wait", "memory_gib"),
)


class _Writer(Protocol):
    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...

    def flush(self) -> None: ...


class RunLog:
    """Writes ``events.jsonl``, ``metrics.csv`` and ``log.txt`` of a run; made in the first process alone.

    Parameters
    ----------
    run : Path
        The run's folder.
    listen : callable, optional
        Gets every event too.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """

    def __init__(self, run: Path, listen: Callable[[dict[str, Any]], None] | None = None) -> None:
        self._run, self._listen = run, listen
        self._board: _Writer | None = None

    def open_tensorboard(self, step: int) -> None:
        """Write TensorBoard's files as well, in place of what an earlier start said of later steps.

        Raises
        ------
        MissingPackageError
            If it is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingPackageError("run.tensorboard needs TensorBoard: pip install tensorboard") from None
        self._board = SummaryWriter(str(self._run / "tensorboard"), purge_step=step + 1)  # type: ignore[no-untyped-call, unused-ignore]

    def event(self, kind: str, **fields: Any) -> None:
        """Add an event."""
        content = {"event": kind, "time": utc(time.time()), **{name: _plain(value) for name, value in fields.items()}}
        self._append(EVENTS, json.dumps(content, allow_nan=False) + "\n")
        words = " ".join(f"{name}={_shown(value)}" for name, value in content.items() if name not in ("event", "time"))
        self._append(LOG, f"{content['time']} {kind} {words}\n")
        if self._listen is not None:
            self._listen(content)

    def note(self, text: str) -> None:
        """Add a line that people should read."""
        self.event("note", text=text)

    def figures(self, step: int, values: Mapping[str, float | None]) -> None:
        """Add a row of figures (`FIGURES`) as an event, to the table and to TensorBoard."""
        self.event("step", step=step, **values)
        cells = [str(step), *(_cell(values.get(name)) for name in FIGURES[1:])]
        self._append(METRICS, _row(cells), header=_row(FIGURES))
        self.scalars("train", values, step)

    def scalars(self, group: str, values: Mapping[str, float | None], step: int) -> None:
        """Give numbers to TensorBoard, if it is wanted."""
        if self._board is not None:
            for name, value in ((name, value) for name, value in values.items() if value is not None):
                self._board.add_scalar(f"{group}/{name}", value, step)
            self._board.flush()

    def rewind(self, step: int) -> None:
        """Take rows after `step` out of the table: a run that was killed went on past its last checkpoint."""
        path = self._run / METRICS
        if not path.is_file():
            return
        try:
            rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8", errors="replace"))))
        except (OSError, csv.Error) as error:
            raise DamagedFileError(f"{path}: cannot be read ({error}); remove it, events.jsonl has it all") from None
        kept = [row for row in rows if len(row) == len(FIGURES) and (row[0] == "step" or _step(row[0]) <= step)]
        write_atomically(path, "".join(map(_row, kept)))

    def _append(self, name: str, text: str, header: str = "") -> None:
        path = self._run / name
        try:
            # The name of a file may hold bytes that are no text.
            with path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
                if stream.tell() == 0:
                    stream.write(header)
                elif not _ends_a_line(path):
                    stream.write("\n")  # a run that was killed in the middle of one
                stream.write(text)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None


def read_events(run: Path) -> list[dict[str, Any]]:
    """Return the events of a run; lines that are none, such as half a line at the end, are passed over."""
    path = run / EVENTS
    events = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []:
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict) and isinstance(content.get("event"), str):
            events.append(content)
    return events


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, io.SEEK_END)
        return stream.read(1) == b"\n"


def _plain(value: Any) -> Any:
    """Return what JSON can hold: NaN and the infinities are no numbers there."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return str(value) if isinstance(value, Path) else value


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value) if isinstance(value, dict) else str(value)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"


def _row(values: Any) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(values)
    return stream.getvalue()


def _step(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.inf
