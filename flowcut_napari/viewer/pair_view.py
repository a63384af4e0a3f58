"""What is shown of a pair of frames: objects by identity, and a drawing of what matches and what does not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from flowcut_napari.core.decisions import Key
from flowcut_napari.core.preview import COLOURS
from flowcut_napari.core.review import Pair, Review
from flowcut_napari.core.store import VideoMasks

# The drawing is this high, whatever the video: letters are to be read, and no more is to be drawn than is seen.
_HEIGHT = 600
_TEXT = 19
_VERDICT_COLOURS = {"accept": (70, 200, 120), "reject": (235, 90, 80), None: (232, 234, 237)}
_REASONS = {
    "alone": "no mask in the other frame",
    "unmatched": "no match",
    "contested": "another fits its match better",
    "rejected": "rejected",
    "not_accepted": "not accepted",
}
_CLIP_REASONS = {
    "no_mask": "no clip: a frame has no mask",
    "no_match": "no clip: nothing matches",
    "rejected": "rejected",
    "not_accepted": "not accepted",
}


@dataclass
class PairView:
    """What the layers of the match view show; changed by the curation desk, read when napari asks for a frame."""

    review: Review | None = None
    gap: int = 1
    selection: tuple[Key, ...] = ()

    @property
    def masks(self) -> VideoMasks | None:
        """The masks that are looked at."""
        return self.review.curation.masks if self.review else None

    def pair(self, frame: int) -> Pair | None:
        """Return the pair that begins with a frame."""
        return self.review.pair(frame, self.gap) if self.review else None

    def partner(self, frame: int) -> int | None:
        """Return the other frame of that pair."""
        pair = self.pair(frame)
        return pair.frames[1] if pair else None

    def objects(self, frame: int) -> list[tuple[Key, int, np.ndarray]]:
        """Return instances of a frame that were not rejected one by one: which, identity, mask (height, width) bool."""
        return [(key, identity, mask) for key, identity, mask, is_left in self._all(frame) if is_left]

    def rejected(self, frame: int) -> list[tuple[Key, int, np.ndarray]]:
        """Return the other instances of a frame."""
        return [(key, identity, mask) for key, identity, mask, is_left in self._all(frame) if not is_left]

    def instances(self, frame: int) -> list[Key]:
        """Return which instances a frame has, rejected ones included."""
        if self.review is None or (place := self.review.place_of(frame)) is None:
            return []
        return [(frame, item.id) for item in self.review.curation.masks.frames[place].instances]

    def about(self, frame: int) -> Any:
        """Return what `objects` of a frame depends on; equal where nothing changed."""
        if self.review is None or (place := self.review.place_of(frame)) is None:
            return None
        curation = self.review.curation
        numbers = [curation.identity[frame, item.id] for item in curation.masks.frames[place].instances]
        return curation.masks.frames[place], tuple(curation.left[place]), tuple(numbers)

    def _all(self, frame: int) -> list[tuple[Key, int, np.ndarray, bool]]:
        if self.review is None or (place := self.review.place_of(frame)) is None:
            return []
        curation = self.review.curation
        left = set(curation.left[place])
        return [
            ((frame, item.id), curation.identity[frame, item.id], item.mask, spot in left)
            for spot, item in enumerate(curation.masks.frames[place].instances)
        ]


def draw_pair(view: PairView, frame: int, size: tuple[int, int], space: int) -> np.ndarray:
    """Draw the matches of a pair over both frames, that of the partner on the right.

    Parameters
    ----------
    view : PairView
    frame : int
        The first frame.
    size : (int, int)
        Height and width of the video.
    space : int
        Between both frames, pixels of the video.

    Returns
    -------
    (h, w, 4) uint8
        Transparent but for lines, letters and hatching; h / w as (height) / (2 * width + space).
    """
    scale = drawing_scale(size)
    picture = np.zeros(drawing_size(size, space), np.uint8)
    pair = view.pair(frame)
    if view.review is None or view.review.place_of(frame) is None:
        return picture
    shift = (size[1] + space) * scale
    texts: list[tuple[str, tuple[float, float], tuple[int, int, int], float]] = []
    centres: dict[Key, tuple[float, float]] = {}
    frames = pair.frames if pair else (frame,)
    matched: dict[Key, float | None] = {}
    if pair:
        for track in pair.outcome.tracks:
            for key in zip(pair.frames, track.instances, strict=True):
                matched[key] = track.iou  # type: ignore[index]  # clips of two frames have both
    for side, index in enumerate(frames):
        part = picture[:, round(side * shift) :][:, : round(size[1] * scale)]
        kept = view.objects(index)
        for key, identity, mask in kept + view.rejected(index):
            small = cv2.resize(mask.view(np.uint8), part.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            x, y = _centre(small)
            centres[key] = x + side * shift, y
            is_out = key not in matched and pair is not None
            if is_out:
                _hatch(part, small)
                reason = _why(pair, key)
                texts.append((f"{identity}: {_REASONS.get(reason, reason)}", centres[key], (225, 225, 225), 0.85))
            else:
                texts.append((str(identity), centres[key], _colour(identity), 1.0))
            _outline(part, small, (255, 255, 255) if key in view.selection else None, is_out)
    if pair:
        for track in pair.outcome.tracks:
            first, second = (
                centres[pair.frames[side], number] for side, number in enumerate(track.instances) if number is not None
            )
            _line(picture, first, second, _colour(track.identity))
            word = "by hand" if track.iou is None else f"IoU {track.iou:.2f}"
            texts.append((word, ((first[0] + second[0]) / 2, (first[1] + second[1]) / 2), (255, 255, 255), 1.0))
    return _write(picture, texts, _headline(view, frame, pair), _VERDICT_COLOURS[pair.verdict if pair else None])


def drawing_scale(size: tuple[int, int]) -> float:
    """Return how many pixels of the drawing a pixel of the video is."""
    return _HEIGHT / size[0]


def drawing_size(size: tuple[int, int], space: int) -> tuple[int, int, int]:
    """Return height, width and channels of the drawing of a pair of frames of this size."""
    return _HEIGHT, round((2 * size[1] + space) * drawing_scale(size)), 4


def _headline(view: PairView, frame: int, pair: Pair | None) -> str:
    if pair is None:
        return f"frame {frame} has no partner at gap {view.gap}"
    first, second = pair.frames
    state = {"accept": "accepted", "reject": "rejected"}.get(pair.verdict or "", "undecided")
    reason = pair.outcome.reason
    said = _CLIP_REASONS[reason] if reason and pair.verdict is None else state
    return f"{first} → {second}   gap {pair.gap}   {said}"


def _why(pair: Pair | None, key: Key) -> str:
    return pair.outcome.why.get(key, "rejected") if pair else "alone"


def _colour(identity: int) -> tuple[int, int, int]:
    return COLOURS[(identity - 1) % len(COLOURS)]


def _centre(mask: np.ndarray) -> tuple[float, float]:
    """Return the middle of a mask, or the point of it that is next to that: letters belong on what they are about."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return mask.shape[1] / 2, mask.shape[0] / 2
    y, x = rows.mean(), columns.mean()
    if not mask[int(y), int(x)]:
        nearest = np.argmin((rows - y) ** 2 + (columns - x) ** 2)
        y, x = rows[nearest], columns[nearest]
    return float(x), float(y)


def _hatch(part: np.ndarray, mask: np.ndarray) -> None:
    pattern = _stripes(part.shape[0], part.shape[1])
    inside = mask > 0
    part[inside & pattern] = (200, 200, 200, 150)
    part[inside & ~pattern] = (20, 20, 24, 150)


@cache
def _stripes(height: int, width: int) -> np.ndarray:
    rows, columns = np.ogrid[:height, :width]
    return (rows + columns) % 14 < 4


def _outline(part: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int] | None, is_out: bool) -> None:
    if colour is None and not is_out:
        return
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    drawn = np.ascontiguousarray(part)
    if colour is not None:
        cv2.drawContours(drawn, contours, -1, (0, 0, 0, 255), 7, cv2.LINE_AA)
    cv2.drawContours(drawn, contours, -1, (*(colour or (200, 200, 200)), 255), 3 if colour else 1, cv2.LINE_AA)
    part[:] = drawn


def _line(
    picture: np.ndarray, first: tuple[float, float], second: tuple[float, float], colour: tuple[int, int, int]
) -> None:
    ends = [(round(x), round(y)) for x, y in (first, second)]
    cv2.line(picture, ends[0], ends[1], (12, 13, 16, 230), 6, cv2.LINE_AA)
    cv2.line(picture, ends[0], ends[1], (*colour, 255), 3, cv2.LINE_AA)
    for end in ends:
        cv2.circle(picture, end, 6, (12, 13, 16, 230), -1, cv2.LINE_AA)
        cv2.circle(picture, end, 4, (*colour, 255), -1, cv2.LINE_AA)


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _write(
    picture: np.ndarray,
    texts: list[tuple[str, tuple[float, float], tuple[int, int, int], float]],
    headline: str,
    colour: tuple[int, int, int],
) -> np.ndarray:
    """Write words on dark plates, none over another."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    taken: list[tuple[float, float, float, float]] = []
    height, width = picture.shape[:2]

    def put(word: str, x: float, y: float, ink: tuple[int, int, int], size: int) -> None:
        font = _font(size)
        left, top, right, bottom = font.getbbox(word)
        w, h = right - left + 14, bottom - top + 10
        x = min(max(x - w / 2, 4), width - w - 4)
        y = min(max(y - h / 2, 4), height - h - 4)
        for _ in range(12):
            over = next((box for box in taken if x < box[2] and x + w > box[0] and y < box[3] and y + h > box[1]), None)
            if over is None or over[3] + h + 6 > height:
                break
            y = over[3] + 3
        taken.append((x, y, x + w, y + h))
        draw.rounded_rectangle((x, y, x + w, y + h), 6, fill=(12, 13, 16, 215))
        draw.text((x + 7 - left, y + 5 - top), word, font=font, fill=(*ink, 255))

    put(headline, width / 2, 20, colour, _TEXT)
    for word, (x, y), ink, share in texts:
        put(word, x, y, ink, round(_TEXT * share))
    return np.asarray(image)
