"""Events on standard output for programs: one JSON object a line, as they happen."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from flowcut_napari.commands import console


class EventLines:
    """Writes events; whoever read them may be gone or his disk full, which is no reason to end work that is going on.

    Parameters
    ----------
    without : str
        What becomes of the work then, for the note on standard error.
    """

    def __init__(self, without: str) -> None:
        self._without = without
        self._is_gone = False

    def tell(self, event: str, **content: Any) -> None:
        """Write an event, at once."""
        self.put({"event": event, **content})

    def put(self, content: dict[str, Any]) -> None:
        """Write a JSON object as a line, at once."""
        if self._is_gone:
            return
        line = json.dumps(content, allow_nan=False) + "\n"
        try:
            sys.stdout.write(line)
            sys.stdout.flush()
        except OSError as error:
            self._is_gone = True
            console.note(f"standard output is gone ({error.strerror or error}); {self._without}")
            # What is left in the buffer would fail once more at the end.
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), sys.stdout.fileno())
