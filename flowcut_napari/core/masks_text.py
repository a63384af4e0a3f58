"""The text of a masks file: made whole, or of what is known from the last time and what has changed since."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from flowcut_napari.core.decisions import Decision, Decisions, Stale, decision_to_json, decisions_to_json
from flowcut_napari.core.pseudo_masks import FrameMasks, Instance, Rejected

if TYPE_CHECKING:
    from flowcut_napari.core.store import VideoMasks

SCHEMA = "flowcut.masks/1"
_INSTANCE = tuple(field.name for field in fields(Instance))
_REJECTED = tuple(field.name for field in fields(Rejected))


class MasksEncoder:
    """Makes the text of masks that change a little at a time.

    Encoding holds Python's lock, and a window waits for it. So the text of each frame and of each decision is kept,
    and only what is another object than the last time is encoded.
    """

    def __init__(self) -> None:
        self._kept: dict[int, tuple[object, object, bytes]] = {}

    def encode(self, masks: VideoMasks) -> bytes:
        """Return the file of these masks; what was kept of others is forgotten."""
        used: dict[int, tuple[object, object, bytes]] = {}

        def part(item: Any, encode: Callable[[Any, Any], bytes], beside: Any = None) -> bytes:
            known = self._kept.get(id(item))
            # The object is kept beside its id, which could be that of another one by now.
            if known is None or known[0] is not item or known[1] != beside:
                known = item, beside, encode(item, beside)
            used[id(item)] = known
            return known[2]

        head = {
            "schema": SCHEMA,
            "video": asdict(masks.video),
            "parameters": masks.parameters.model_dump(),
            "provenance": masks.provenance,
        }
        frames = [part(frame, _frame_text, masks.files.get(frame.index)) for frame in masks.frames]
        pieces = [_compact(head)[:-1], b',"frames":[', b",".join(frames), b'],"decisions":{']
        if masks.decisions:
            made = [part(item, _decision_text) for item in masks.decisions.made]
            stale = part(masks.decisions.stale, _stale_text)
            pieces += [b'"basis":', _compact(masks.basis), b',"made":[', b",".join(made), b'],"stale":', stale]
        self._kept = used
        return b"".join([*pieces, b"}}\n"])


def frame_to_json(frame: FrameMasks, file: str | None) -> dict[str, Any]:
    """Return a frame as it stands in a masks file; `file` is its own picture."""
    # By name, not by `asdict`: that copies everything, and takes several times as long.
    return {
        "index": frame.index,
        "file": file,
        "partner": frame.partner,
        "stop": frame.stop,
        "instances": [{name: getattr(instance, name) for name in _INSTANCE} for instance in frame.instances],
        "rejected": [{name: getattr(rejected, name) for name in _REJECTED} for rejected in frame.rejected],
    }


def _frame_text(frame: FrameMasks, file: str | None) -> bytes:
    return _compact(frame_to_json(frame, file))


def _decision_text(decision: Decision, _: None) -> bytes:
    return _compact(decision_to_json(decision))


def _stale_text(stale: tuple[Stale, ...], _: None) -> bytes:
    return _compact(decisions_to_json(Decisions((), stale), "").get("stale", []))


def _compact(content: Any) -> bytes:
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
