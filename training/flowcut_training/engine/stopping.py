"""How a run is asked to stop: a file in its folder (everywhere, and by the window), or a signal."""

from __future__ import annotations

import contextlib
import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

STOP = "stop"
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class StopRequests:
    """Remembers the first signal instead of dying of it; a second one of the same kind ends the process as usual.

    Parameters
    ----------
    run : Path
        The folder in which a file called ``stop`` asks for the same.
    """

    def __init__(self, run: Path) -> None:
        self._file = run / STOP
        self._before: dict[int, Any] = {}
        self.signal: int | None = None

    def __enter__(self) -> StopRequests:
        # Only the main thread may; elsewhere the file remains.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def reason(self) -> str | None:
        """Why the run should stop, or None."""
        if self.signal is not None:
            return signal.Signals(self.signal).name
        return "stop file" if self._file.exists() else None

    def done(self) -> None:
        """Take the file away: it was heard, and should not stop the next run at once."""
        # What cannot be taken away, such as a folder, the next run names.
        with contextlib.suppress(OSError):
            self._file.unlink()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(number, self._before[number])
