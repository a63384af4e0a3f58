"""Words above frames that lie side by side.

A picture, and not points with a text: those took napari seconds to make, and could end a software renderer.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Of the letters, pixels of the picture.
_LEAST_TEXT, _MOST_TEXT = 6, 18
# Reads on the canvas of both themes.
_INK = (140, 144, 152, 255)


def draw_captions(captions: Mapping[str, tuple[float, float]], width: int, height: float, zoom: float) -> np.ndarray:
    """Write what each frame shows above it.

    Parameters
    ----------
    captions : mapping of str to (float, float)
        The corner (y, x) of each frame, in pixels of the video.
    width : int
        Of a frame.
    height : float
        Of the room above a frame, pixels of the video; the picture begins with that of the first row.
    zoom : float
        Pixels of the picture for one of the video.

    Returns
    -------
    (h, w, 4) uint8
        Transparent but for the letters.
    """
    bottom = max(top for top, _ in captions.values()) + height
    right = max(left for _, left in captions.values()) + width
    image = Image.new("RGBA", (max(1, round(right * zoom)), max(1, round(bottom * zoom))))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(_LEAST_TEXT, min(_MOST_TEXT, 0.7 * height * zoom)))
    for words, (top, left) in captions.items():
        draw.text((left * zoom, (top + 0.9 * height) * zoom), words, font=font, fill=_INK, anchor="ls")
    return np.asarray(image)
