"""A sweep as a picture: one measure over two axes, a small map for each value of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from flowcut_napari.core.errors import printable
from flowcut_napari.core.grid import Axis, Grid, Setting, short

# Dark blue over green to yellow: even steps look even, also without colour (values of viridis).
_COLOURS = np.array(
    [
        *((68, 1, 84), (72, 40, 120), (62, 74, 137), (49, 104, 142), (38, 130, 142)),
        *((31, 158, 137), (53, 183, 121), (109, 205, 89), (180, 222, 44), (253, 231, 37)),
    ],
    dtype=np.float64,
)
_PAPER, _INK, _FAINT, _BLANK = (24, 26, 31), (232, 234, 237), (150, 154, 162), (52, 55, 62)
_CELL, _MARGIN, _HEADER, _TITLE = (72, 44), 18, 92, 30
# Cells of a map that would be wider or taller are smaller, and have no numbers in them.
_LARGEST = 2400


def colour_of(value: float) -> tuple[int, int, int]:
    """Return the colour of a value from 0 to 1.

    Examples
    --------
    >>> colour_of(0.0), colour_of(1.0)
    ((68, 1, 84), (253, 231, 37))
    """
    place = min(max(value, 0.0), 1.0) * (len(_COLOURS) - 1)
    below = min(int(place), len(_COLOURS) - 2)
    mixed = (1 - place + below) * _COLOURS[below] + (place - below) * _COLOURS[below + 1]
    red, green, blue = (int(channel) for channel in mixed.round())
    return red, green, blue


def ink_on(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return black or white, what reads better on a colour."""
    red, green, blue = colour
    return (15, 15, 15) if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else (245, 245, 245)


def map_axes(grid: Grid) -> tuple[Axis, Axis | None, tuple[Axis, ...]]:
    """Return the axes of a map, across and down, and those that have a map for each value.

    Down and across go the two with the most values, in the order in which they were given; of one axis alone there is
    a single row.
    """
    longest = sorted(range(len(grid.axes)), key=lambda place: (-len(grid.axes[place].values), place))[:2]
    chosen = [grid.axes[place] for place in sorted(longest)]
    others = tuple(axis for axis in grid.axes if axis not in chosen)
    if len(chosen) == 1:
        return chosen[0], None, others
    return chosen[1], chosen[0], others


def heat_map(title: str, words: str, grid: Grid, values: Mapping[Setting, float | None]) -> Image.Image:
    """Draw a measure of every setting; the highest has a frame.

    Parameters
    ----------
    title, words : str
        The heading, and a line below it, both without what is not printable.
    grid : Grid
    values : mapping of Setting to (float or None)
        Settings without a value are left blank.
    """
    words = printable(words)
    across, down, others = map_axes(grid)
    rows: Sequence[Any] = down.values if down else ("",)
    parts = list(product(*(axis.values for axis in others)))
    small, text, large = (ImageFont.load_default(points) for points in (14, 16, 26))
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    left = max(measure.textlength(short(value), small) for value in rows) + 12
    room = max([_CELL[0], *(measure.textlength(short(value), small) + 10 for value in across.values)])
    wide, tall = min(room, _LARGEST / len(across.values)), min(_CELL[1], _LARGEST / len(rows))
    has_numbers = wide == room and tall == _CELL[1]
    lines = (2 if wide > 6 else 0, 2 if tall > 6 else 0)  # between cells
    # So many cells from one label to the next.
    each_column, each_row = -int(-room // wide), -int(-20 // tall)
    one_width = int(left + wide * len(across.values) + _MARGIN)
    above = _TITLE if others else 0
    one_height = above + int(tall * len(rows)) + 46
    # As wide as a screen, or as wide as high where there are more.
    columns = max(1, 1400 // one_width, round((len(parts) * one_height / one_width) ** 0.5))
    columns = min(len(parts), columns)
    size = (
        max(_MARGIN + columns * (one_width + _MARGIN), int(measure.textlength(words, text)) + 2 * _MARGIN, 420),
        _HEADER + -(-len(parts) // columns) * (one_height + _MARGIN),
    )
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 14), printable(title), _INK, large)
    draw.text((_MARGIN, 52), words, _FAINT, text)
    known = [value for value in values.values() if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    of_values = {tuple(value for _, value in setting.values): number for setting, number in values.items()}
    names = [axis.name for axis in grid.axes]
    for number, part in enumerate(parts):
        x = _MARGIN + number % columns * (one_width + _MARGIN) + left
        y = _HEADER + number // columns * (one_height + _MARGIN) + above
        label = ", ".join(f"{axis.name} {short(value)}" for axis, value in zip(others, part, strict=True))
        if label:
            draw.text((x, y - 24), label, _INK, text)
        for row, row_value in enumerate(rows):
            top = y + row * tall
            if down and row % each_row == 0:
                draw.text((x - 8, top + tall / 2), short(row_value), _FAINT, small, anchor="rm")
            for column, value in enumerate(across.values):
                chosen = dict(zip((axis.name for axis in others), part, strict=True)) | {across.name: value}
                if down:
                    chosen[down.name] = row_value
                found = of_values.get(tuple(chosen[name] for name in names))
                box = (x + column * wide, top, x + (column + 1) * wide - lines[0], top + tall - lines[1])
                fill = _BLANK if found is None else colour_of((found - low) / (high - low) if high > low else 1.0)
                draw.rectangle(box, fill)
                middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
                if has_numbers:
                    draw.text(middle, "-" if found is None else f"{found:.3f}", ink_on(fill), small, anchor="mm")
                if found is not None and found == high:
                    draw.rectangle(box, outline=(255, 255, 255), width=3 if has_numbers else 1)
        bottom = y + int(len(rows) * tall)
        for column, value in list(enumerate(across.values))[::each_column]:
            draw.text((x + (column + 0.5) * wide, bottom + 2), short(value), _FAINT, small, anchor="ma")
        draw.text((x, bottom + 22), f"{across.name} across" + (f", {down.name} down" if down else ""), _FAINT, small)
    return sheet
