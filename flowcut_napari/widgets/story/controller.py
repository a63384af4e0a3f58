"""What the Story tab knows: the pictures of the frame that is looked at."""

from __future__ import annotations

import numpy as np

from flowcut_napari.widgets.story.pictures import Story, tell_story, thumbnail
from flowcut_napari.widgets.workbench import Workbench


class StoryController:
    """Makes stories on request; what takes time to make is kept until the frame changes."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._small: tuple[object, int, int, np.ndarray] | None = None

    def frame_picture(self, width: int) -> np.ndarray | None:
        """Return the frame that is looked at in a small size, (h, w, 3) uint8."""
        bench = self._bench
        if bench.video is None:
            return None
        key = bench.video, bench.frame, width
        if self._small is None or self._small[:3] != key:
            picture = bench.frame_pixels()
            if picture is None:
                return None
            self._small = (*key, thumbnail(picture, width))
        return self._small[3]

    def flow_picture(self, width: int) -> np.ndarray | None:
        """Return the flow picture of the frame in a small size, (h, w, 3) uint8."""
        picture = self._bench.results.flow_picture(self._bench.frame)
        return None if picture is None else thumbnail(picture, width)

    def story(self, width: int) -> Story | None:
        """Return the story of the frame that is looked at, its pictures so many pixels wide."""
        answer, small = self._bench.answer, self.frame_picture(width)
        if answer is None or small is None:
            return None
        return tell_story(answer, answer.masks, small, answer.parameters)
