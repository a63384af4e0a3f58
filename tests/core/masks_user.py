"""A process that changes a masks file as fast as it can, and says how far it came: to be killed at any moment.

masks_user.py FILE            actions until killed; prints the number of each, and "late" where the disk was slow
masks_user.py FILE SIZE       two actions, the second with no file allowed above SIZE bytes, then without a limit
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from flowcut_napari.core.decisions import ClipVerdict, InstanceVerdict
from flowcut_napari.core.editing import remove
from flowcut_napari.core.masks_file import MasksFile
from flowcut_napari.core.store import VideoMasks


def states(masks: VideoMasks) -> Iterator[VideoMasks]:
    """Give the masks after each of an endless row of actions, the same in every process."""
    random = np.random.default_rng(5)
    size = masks.video.height, masks.video.width
    while True:
        frame = int(random.integers(len(masks.frames) - 1))
        kind = random.integers(4)
        number = int(random.choice([item.id for item in masks.frames[frame].instances]))
        if kind == 0:
            masks = masks.decide(ClipVerdict((frame, frame + 1), "accept"))
        elif kind == 1:
            masks = masks.decide(InstanceVerdict((frame, number), "reject"))
        elif kind == 2 or len(masks.frames[frame].instances) < 2:
            mask = random.random(size) < 0.5
            mask[0, 0] = True
            masks = masks.with_mask(frame, mask, None if random.random() < 0.3 else number)
        else:
            masks = remove(masks, (frame, number))
        yield masks


def act(path: Path) -> None:
    """Do one action after the other, each written at once."""
    file, masks = MasksFile.open(path)
    for number, state in enumerate(states(masks), start=1):
        in_time = file.wait(0.015)
        file.save(state)
        print(number if in_time else f"{number} late", flush=True)


def fill(path: Path, size: int) -> None:
    """Save what the disk has no room for, and then what it has room for again."""
    import resource

    told: list[str] = []
    file, masks = MasksFile.open(path, lambda state: told.append(state.kind))
    more = states(masks)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    file.save(next(more))
    file.wait()
    print(file.state.kind, file.state.kept_at is not None, file.state.text, sep="|")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    file.retry()
    file.wait()
    print(file.state.kind, ",".join(told), sep="|")
    file.close()


if __name__ == "__main__":
    act(Path(sys.argv[1])) if len(sys.argv) == 2 else fill(Path(sys.argv[1]), int(sys.argv[2]))
