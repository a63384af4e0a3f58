"""Frames that a sweep has cut while their cells are not whole yet: what an ended sweep goes on with."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping
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

    results: dict[str, _Result]


class PartialFrames:
    """A file with results of the frames of a video, a line for each frame and each time that it was cut.

    Parameters
    ----------
    folder : Path
        Of the sweep.
    name : str
        Of the file: another one wherever frames or what they are measured by are others.
    video : VideoRecord
    indices : collection of int
        The frames that are cut.
    scored : collection of int
        Those of them that are scored.
    """

    def __init__(
        self, folder: Path, name: str, video: VideoRecord, indices: Collection[int], scored: Collection[int]
    ) -> None:
        self.path = folder / PARTIAL / f"{name}.jsonl"
        self._video = video
        self._indices, self._scored = set(indices), set(scored)
        self._keys: set[str] = set()

    def read(self) -> dict[str, dict[int, Result]]:
        """Return what is there, by the key of a cell (see `cell_key`) and the frame; damaged lines are passed over."""
        known: dict[str, dict[int, Result]] = {}
        try:
            lines = self.path.read_bytes().splitlines()
        except OSError:
            return known
        for line in lines:
            with contextlib.suppress(ValidationError):  # the last one can be half of one
                for key, result in _Line.model_validate_json(line).results.items():
                    self._keys.add(key)
                    with contextlib.suppress(ValueError):
                        known.setdefault(key, {})[result.masks.index] = self._checked(result)
        return {key: frames for key, frames in known.items() if frames}

    def _checked(self, result: _Result) -> Result:
        index, score = result.masks.index, result.score
        if index not in self._indices or (score is not None) != (index in self._scored):
            raise ValueError(f"frame {index} is another one")
        if score is not None and (
            score.index != index or any(len(row) != len(score.objects) for row in score.overlaps)
        ):
            raise ValueError(f"the score of frame {index} does not hold together")
        return result.masks.checked(self._video), score

    def append(self, results: Mapping[str, Result]) -> None:
        """Write the results of a frame, by the keys of their cells, at the end.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        self._keys.update(results)
        content = {
            key: {"masks": frame_to_json(frame, None), "score": None if score is None else asdict(score)}
            for key, (frame, score) in results.items()
        }
        text = json.dumps({"results": content}, allow_nan=False, separators=(",", ":"))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as stream:
                # In front of it, too: what a process left half written must not swallow this one.
                stream.write(b"\n" + text.encode() + b"\n")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror or error})") from None

    def remove_if_whole(self, whole: Collection[str]) -> None:
        """Remove the file if all its cells are among those that are whole, and the folder if it was the last in it."""
        if self._keys <= set(whole):
            self._keys.clear()
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
                self.path.parent.rmdir()
