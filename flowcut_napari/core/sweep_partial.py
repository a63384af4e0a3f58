"""Frames that a sweep has cut while their cells are not whole yet: what an ended sweep goes on with."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import BaseModel, ValidationError

from flowcut_napari.core.errors import OutputError
from flowcut_napari.core.masks_text import frame_to_json
from flowcut_napari.core.parameters import STRICT
from flowcut_napari.core.scoring import FrameScore
from flowcut_napari.core.store import StoredFrame, VideoRecord
from flowcut_napari.core.sweep_work import Result

PARTIAL = "partial"


class _Result(BaseModel):
    model_config = STRICT

    masks: StoredFrame
    score: FrameScore | None


class _Line(BaseModel):
    model_config = STRICT

    results: tuple[_Result, ...]


class PartialFrames:
    """A file with the results of frames, a line each, under a fixed list of settings; it goes when its cells are whole.

    Parameters
    ----------
    folder : Path
        Of the sweep.
    keys : sequence of str
        Of the cells (see `cell_key`), in the order of the results.
    video : VideoRecord
    """

    def __init__(self, folder: Path, keys: Sequence[str], video: VideoRecord) -> None:
        self.path = folder / PARTIAL / f"{hashlib.sha256(''.join(keys).encode()).hexdigest()[:32]}.jsonl"
        self._settings = len(keys)
        self._video = video

    def read(self) -> dict[int, list[Result]]:
        """Return the results of the frames that are there; what is damaged is as good as none."""
        known: dict[int, list[Result]] = {}
        try:
            lines = self.path.read_bytes().splitlines()
        except OSError:
            return known
        for line in lines:
            # The last one can be half of one.
            with contextlib.suppress(ValidationError, ValueError):
                read = _Line.model_validate_json(line).results
                frames = {result.masks.index for result in read}
                if len(read) == self._settings and len(frames) == 1:
                    known[frames.pop()] = [(result.masks.checked(self._video), result.score) for result in read]
        return known

    def append(self, results: Sequence[Result]) -> None:
        """Write the results of a frame at the end.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        content = {
            "results": [
                {"masks": frame_to_json(frame, None), "score": None if score is None else asdict(score)}
                for frame, score in results
            ]
        }
        text = json.dumps(content, allow_nan=False, separators=(",", ":"))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as stream:
                # In front of it, too: what a process left half written must not swallow this one.
                stream.write(b"\n" + text.encode() + b"\n")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror or error})") from None

    def remove(self) -> None:
        """Remove the file, and the folder if it was the last in it."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
            self.path.parent.rmdir()
