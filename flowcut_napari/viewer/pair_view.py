"""What is shown of a pair of frames: objects by identity, and a drawing of what matches and what does not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from flowcut_napari.core.decisions import Key
from flowcut_napari.core.preview import COLOURS
from flowcut_napari.core.review import Pair, Review
from flowcut_napari.core.store import VideoMasks

# On the screen, pixels.
_TEXT = 13
_LINE = 5
# Matches with words; more would cover one another, and the objects. The matrix has all.
_MOST_WORDS = 30
# Of the drawing of one frame, pixels.
_LEAST_HEIGHT, _MOST_HEIGHT = 120, 1200
# Of the whole drawing; some graphics cards take no more.
_MOST_PIXELS_ASIDE = 8192
_VERDICT_COLOURS = {"accept": (70, 200, 120), "reject": (235, 90, 80), None: (232, 234, 237)}
REASON_WORDS = {
    "alone": "no mask in the other frame",
    "unmatched": "no match",
    "contested": "another fits its match better",
    "rejected": "rejected",
    "not_accepted": "not accepted",
}
CLIP_WORDS = {
    "no_mask": "no clip: a frame has no mask",
    "no_match": "no clip: nothing matches",
    "rejected": "no clip: its masks are rejected",
}


@dataclass(frozen=True)
class _Text:
    """Words, their middle (x, y) in the drawing, and their colour."""

    words: str
    at: tuple[float, float]
    ink: tuple[int, int, int]


@dataclass
class PairView:
    """What the layers of the match view show; changed by the curation desk, read when napari asks for a frame."""

    review: Review | None = None
    gap: int = 1
    selection: tuple[Key, ...] = ()
    # Where that was chosen, and the object that stays chosen in other frames.
    frame: int = 0
    followed: int | None = None

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

    def selection_in(self, frame: int) -> tuple[Key, ...]:
        """Return what is chosen once a frame is looked at: elsewhere the mask of the same object, if it has one."""
        if frame == self.frame:
            return self.selection
        if self.review is None or self.followed is None:
            return ()
        identity = self.review.curation.identity
        return tuple([key for key in self.instances(frame) if identity[key] == self.followed][:1])

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


@dataclass(frozen=True)
class Arrangement:
    """How two frames lie on the canvas, and how finely they are drawn on.

    Attributes
    ----------
    size : (int, int)
        Height and width of the video.
    stacked : bool
        Whether the partner is below the frame; else it is to its right.
    scale : float
        Pixels of the drawing for a pixel of the video.
    """

    size: tuple[int, int]
    stacked: bool = False
    scale: float = 1.0

    @property
    def space(self) -> int:
        """What is left between both frames, pixels of the video."""
        return max(4, round(min(self.size) / 30))

    @property
    def offset(self) -> tuple[int, int]:
        """Where the partner's corner lies, (y, x) in pixels of the video."""
        height, width = self.size
        return (height + self.space, 0) if self.stacked else (0, width + self.space)

    @property
    def whole(self) -> tuple[int, int]:
        """Height and width of both frames, pixels of the video."""
        return self.size[0] + self.offset[0], self.size[1] + self.offset[1]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the drawing."""
        height, width = (max(1, round(length * self.scale)) for length in self.whole)
        return height, width, 4

    def part(self, picture: np.ndarray, side: int) -> np.ndarray:
        """Return the part of a drawing over one of both frames."""
        height, width = (max(1, round(length * self.scale)) for length in self.size)
        top, left = (round(side * step * self.scale) for step in self.offset)
        # Of videos with sides of a pixel or two, rounding may go beyond the edge.
        top, left = min(top, picture.shape[0] - height), min(left, picture.shape[1] - width)
        return picture[top : top + height, left : left + width]

    def side_of(self, y: float, x: float) -> tuple[int, float, float]:
        """Return on which frame a point of the canvas lies, 0 or 1, and where there; in pixels of the video."""
        down, right = self.offset
        if (y >= down - self.space / 2) if self.stacked else (x >= right - self.space / 2):
            return 1, y - down, x - right
        return 0, y, x


def arrangement_for(size: tuple[int, int], canvas: tuple[int, int]) -> Arrangement:
    """Return the arrangement that shows both frames well on a canvas of so many rows and columns.

    They lie side by side, unless they would be much smaller so.
    """
    beside, below = (Arrangement(size, stacked) for stacked in (False, True))
    fits = [min(canvas[0] / item.whole[0], canvas[1] / item.whole[1]) for item in (beside, below)]
    chosen, fit = (below, fits[1]) if fits[1] > 1.25 * fits[0] else (beside, fits[0])
    return replace(chosen, scale=drawing_scale(chosen, fit))


def drawing_scale(arrangement: Arrangement, zoom: float) -> float:
    """Return how finely to draw for a canvas that shows a pixel of the video on `zoom` of its own."""
    height = arrangement.size[0]
    wanted = min(max(zoom, _LEAST_HEIGHT / height), _MOST_HEIGHT / height)
    return min(wanted, _MOST_PIXELS_ASIDE / max(arrangement.whole))


def draw_pair(view: PairView, frame: int, arrangement: Arrangement) -> np.ndarray:
    """Draw the matches of a pair over both frames.

    Parameters
    ----------
    view : PairView
    frame : int
        The first frame.
    arrangement : Arrangement

    Returns
    -------
    (h, w, 4) uint8
        Of the arrangement's shape; transparent but for lines, letters and hatching.
    """
    picture = np.zeros(arrangement.shape, np.uint8)
    pair = view.pair(frame)
    if view.review is None:
        return picture
    chosen = view.selection_in(frame)
    texts: list[_Text] = []
    centres: dict[Key, tuple[float, float]] = {}
    frames = pair.frames if pair else (frame,)
    matched = set()
    if pair:
        matched = {key for track in pair.outcome.tracks for key in zip(pair.frames, track.instances, strict=True)}
    for side, index in enumerate(frames):
        part = arrangement.part(picture, side)
        down, right = (side * step * arrangement.scale for step in arrangement.offset)
        for key, identity, mask in view.objects(index) + view.rejected(index):
            small = cv2.resize(mask.view(np.uint8), part.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            x, y = _centre(small, mask)
            centres[key] = x + right, y + down
            is_out = pair is not None and key not in matched
            if is_out:
                _hatch(part, small)
                reason = _why(pair, key)
                texts.append(_Text(f"{identity}: {REASON_WORDS.get(reason, reason)}", centres[key], (225, 225, 225)))
            else:
                texts.append(_Text(str(identity), centres[key], _colour(identity)))
            _outline(part, small, (255, 255, 255) if key in chosen else None, is_out)
    threshold = view.review.curation.parameters.iou
    for track in pair.outcome.tracks if pair else ():
        assert pair is not None  # it has tracks
        keys = [(index, number) for index, number in zip(frames, track.instances, strict=True) if number is not None]
        first, second = (centres[key] for key in keys)
        _line(picture, first, second, _colour(track.identity))
        if len(pair.outcome.tracks) > _MOST_WORDS:
            continue
        iou = view.review.iou(pair, track)
        word = f"by hand, IoU {iou:.2f}" if track.iou is None else f"IoU {iou_text(iou, threshold)}"
        texts.append(_Text(word, ((first[0] + second[0]) / 2, (first[1] + second[1]) / 2), (255, 255, 255)))
    # The headline first: it has its place, and all else gives way.
    headline = _Text(
        _headline(view, frame, pair), (picture.shape[1] / 2, 0), _VERDICT_COLOURS[pair.verdict if pair else None]
    )
    return _write(picture, [headline, *texts])


def iou_text(iou: float, threshold: float) -> str:
    """Return an IoU with two decimals; with three where two would not tell it from the threshold.

    Examples
    --------
    >>> iou_text(0.914, 0.5), iou_text(0.503, 0.5)
    ('0.91', '0.503')
    """
    return f"{iou:.3f}" if 0 < abs(iou - threshold) < 0.01 else f"{iou:.2f}"


def verdict_word(pair: Pair) -> str:
    """Return what was decided about the clip of a pair, or why there is nothing to decide."""
    decided = {"accept": "accepted", "reject": "rejected"}.get(pair.verdict or "")
    if decided is not None:
        return decided
    return CLIP_WORDS.get(pair.outcome.reason or "", "undecided")


def _headline(view: PairView, frame: int, pair: Pair | None) -> str:
    if pair is None:
        has_masks = view.review is not None and view.review.place_of(frame) is not None
        return f"frame {frame} has no partner at gap {view.gap}" if has_masks else f"frame {frame} has no masks"
    first, second = pair.frames
    return f"{first} to {second}   gap {pair.gap}   {verdict_word(pair)}"


def _why(pair: Pair | None, key: Key) -> str:
    return pair.outcome.why.get(key, "rejected") if pair else "alone"


def _colour(identity: int) -> tuple[int, int, int]:
    return COLOURS[(identity - 1) % len(COLOURS)]


def _centre(mask: np.ndarray, whole: np.ndarray) -> tuple[float, float]:
    """Return the middle of a mask, or the point of it that is next to that: letters belong on what they are about.

    `whole` is the same in the size of the video, for one that is too small to be drawn.
    """
    rows, columns = np.nonzero(mask)
    if not len(rows):
        down, across = (small / large for small, large in zip(mask.shape, whole.shape, strict=True))
        rows, columns = np.nonzero(whole)
        return float(columns.mean() + 0.5) * across, float(rows.mean() + 0.5) * down
    y, x = rows.mean(), columns.mean()
    if not mask[int(y), int(x)]:
        nearest = np.argmin((rows - y) ** 2 + (columns - x) ** 2)
        y, x = rows[nearest], columns[nearest]
    return float(x), float(y)


def _hatch(part: np.ndarray, mask: np.ndarray) -> None:
    x, y, width, height = cv2.boundingRect(mask)
    box = slice(y, y + height), slice(x, x + width)
    pattern, inside, part = _stripes(part.shape[0], part.shape[1])[box], mask[box] > 0, part[box]
    part[inside & pattern] = (200, 200, 200, 150)
    part[inside & ~pattern] = (20, 20, 24, 150)


@lru_cache(maxsize=4)  # one for each step of the zoom
def _stripes(height: int, width: int) -> np.ndarray:
    rows, columns = np.ogrid[:height, :width]
    return (rows + columns) % 9 < 3


def _outline(part: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int] | None, is_out: bool) -> None:
    if colour is None and not is_out:
        return
    x, y, width, height = cv2.boundingRect(mask)
    box = slice(max(0, y - _LINE), y + height + _LINE), slice(max(0, x - _LINE), x + width + _LINE)
    contours, _ = cv2.findContours(np.ascontiguousarray(mask[box]), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    drawn = np.ascontiguousarray(part[box])
    if colour is not None:
        cv2.drawContours(drawn, contours, -1, (0, 0, 0, 255), _LINE, cv2.LINE_AA)
    cv2.drawContours(drawn, contours, -1, (*(colour or (200, 200, 200)), 255), 2 if colour else 1, cv2.LINE_AA)
    part[box] = drawn


def _line(
    picture: np.ndarray, first: tuple[float, float], second: tuple[float, float], colour: tuple[int, int, int]
) -> None:
    ends = [(round(x), round(y)) for x, y in (first, second)]
    cv2.line(picture, ends[0], ends[1], (12, 13, 16, 230), 4, cv2.LINE_AA)
    cv2.line(picture, ends[0], ends[1], (*colour, 255), 2, cv2.LINE_AA)
    for end in ends:
        cv2.circle(picture, end, 5, (12, 13, 16, 230), -1, cv2.LINE_AA)
        cv2.circle(picture, end, 3, (*colour, 255), -1, cv2.LINE_AA)


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _write(picture: np.ndarray, texts: list[_Text]) -> np.ndarray:
    """Write words on dark plates, none over another."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    font = _font(_TEXT)
    # Left, top, right, bottom of each plate.
    taken = np.empty((len(texts), 4))
    height, width = picture.shape[:2]
    for count, text in enumerate(texts):
        left, top, right, bottom = font.getbbox(text.words)
        w, h = right - left + 8, bottom - top + 7
        x = min(max(text.at[0] - w / 2, 2), max(2, width - w - 2))
        y = min(max(text.at[1] - h / 2, 2), max(2, height - h - 2))
        for _ in range(12):
            known = taken[:count]
            over = (x < known[:, 2]) & (x + w > known[:, 0]) & (y < known[:, 3]) & (y + h > known[:, 1])
            if not over.any() or (bottom_of := float(known[over.argmax(), 3])) + h + 3 > height:
                break
            y = bottom_of + 2
        taken[count] = x, y, x + w, y + h
        draw.rounded_rectangle((x, y, x + w, y + h), 4, fill=(12, 13, 16, 205))
        draw.text((x + 4 - left, y + 3.5 - top), text.words, font=font, fill=(*text.ink, 255))
    return np.asarray(image)
