"""How quick curating is: `make bench-gui`, or ``tests/gui/with-display.sh python tests/benchmarks/curating.py``.

A video of 300 frames of 854x480 (those of a DAVIS sequence of FLOWCUT_TEST_DATA over and over) with three made-up
objects that move, change and are lost, in a real window; a time ends when the picture is on the screen.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FRAMES = 300
ROUNDS = 40


def main(sequence: Path, as_json: bool) -> None:
    import napari
    from qtpy.QtTest import QTest
    from window_watch import Watch, put, report, until

    from flowcut_napari.commands.gui import open_panel
    from flowcut_napari.core import save_masks
    from flowcut_napari.core.editing import judge_clip
    from flowcut_napari.widgets.curate.actions import BY_NAME

    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "masks" / "long.masks.json"
        save_masks(made_up(sequence, Path(folder) / "long"), path)
        viewer = napari.Viewer(show=True)
        viewer.window.resize(1280, 800)
        panel = open_panel(viewer, str(path))
        desk = panel.curate.desk
        until(lambda: desk.document is not None)
        watch = Watch(viewer)
        panel.pages.show_page(panel.curate)
        until(lambda: desk.layers is not None and desk.layers.is_shown)
        QTest.qWait(1500)

        def on_screen(act: Callable[[], object]) -> float:
            """Do something, and wait until the canvas shows it and the panel says it."""
            asked = time.perf_counter()
            act()
            moment = time.perf_counter()
            until(lambda: watch.drawn_at >= moment)
            taken = time.perf_counter() - asked
            QTest.qWait(60)  # nobody is quicker
            return taken

        def do(name: str) -> Callable[[], object]:
            return lambda: BY_NAME[name].act(desk)

        put(figures, "next uncertain pair on the screen, ms", [on_screen(do("next_uncertain")) for _ in range(ROUNDS)])
        viewer.dims.set_current_step(0, 20)
        QTest.qWait(500)
        steps = [on_screen(lambda frame=frame: viewer.dims.set_current_step(0, frame)) for frame in range(21, 61)]
        put(figures, "step to the next pair on the screen, ms", steps)
        far = [17 * place % 290 for place in range(1, ROUNDS + 1)]
        put(
            figures, "pair far away on the screen, ms", [on_screen(lambda frame=frame: desk.go(frame)) for frame in far]
        )
        kinds: dict[str, list[Any]] = {}
        for name in ("reject_clip", "delete_mask", "swap", "split", "grow_mask"):
            for frame in range(100, 100 + ROUNDS // 2):
                viewer.dims.set_current_step(0, frame)
                desk.select(None)
                desk.select_next()
                desk.select_next(add=True)
                QTest.qWait(80)
                kinds.setdefault(f"{name}, ms", []).append(on_screen(do(name)))
                kinds.setdefault("undo, ms", []).append(on_screen(do("undo")))
                kinds.setdefault("redo, ms", []).append(on_screen(do("redo")))
        for name, times in kinds.items():
            put(figures, name, times)
        desk.flush()
        QTest.qWait(500)
        # The autosave alone: what is asked of the thread, and how long the window stands still meanwhile.
        document = desk.document
        states = [judge_clip(document.masks, (frame, frame + 1), "reject") for frame in range(50)]
        watch.reset()
        saves = []
        for state in states:
            asked = time.perf_counter()
            document.file.save(state)
            saves.append(time.perf_counter() - asked)
            until(lambda: document.file.wait(0))
            QTest.qWait(10)
        figures["longest stall while 50 states are saved, ms"] = 1e3 * watch.longest
        put(figures, "call of save, ms", saves)
        figures["size of the masks file, MB"] = path.stat().st_size / 1e6
        document.file.save(document.masks)
        viewer.close()
        QTest.qWait(300)
        report(figures, as_json)


def made_up(sequence: Path, folder: Path) -> Any:
    """Make a video of links to frames, and masks of three objects in it."""
    from flowcut_napari.core import CutParameters, open_video
    from flowcut_napari.core.pseudo_masks import FrameMasks, Instance
    from flowcut_napari.core.store import VideoMasks, VideoRecord

    folder.mkdir()
    files = sorted(sequence.glob("*.jpg"))
    for index in range(FRAMES):
        os.symlink(files[index % len(files)].resolve(), folder / f"{index:05d}.jpg")
    video = open_video(folder)
    rows, columns = np.mgrid[: video.height, : video.width]
    frames = []
    for index in range(FRAMES):
        instances = []
        for number in range(1, 4):
            if (index + 40 * number) % 60 < 2:
                continue  # lost for two frames
            across = 250 * number - 60 + 60 * np.sin(index / 9 + number)
            down = 240 + 70 * np.cos(index / 7 + number)
            angle = np.arctan2(rows - down, columns - across)
            radius = 70 + 12 * np.sin(index / 3 + number) + 9 * np.sin(7 * angle)
            mask = (columns - across) ** 2 + (rows - down) ** 2 < radius**2
            instances.append(Instance.of_mask(number, mask, "cut"))
        frames.append(FrameMasks(index, None, "max_instances", tuple(instances)))
    provenance = {"flowcut_napari": "0", "features": {"name": "handmade"}, "flow": {"name": "dis"}, "crf": None}
    files_of = {index: f"{index:05d}.jpg" for index in range(FRAMES)}
    parameters = CutParameters.preset("handmade").with_changes(max_instances=3, max_eigenvalue=1.0)
    return VideoMasks(VideoRecord.of(video), parameters, provenance, tuple(frames), files_of)


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--json"]
    data = Path(os.environ.get("FLOWCUT_TEST_DATA", Path(__file__).resolve().parents[3] / "shared"))
    found = Path(words[0]) if words else next((data / "data" / "davis16" / "JPEGImages").glob("*/dog"))
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(HOME=home, NAPARI_CONFIG=f"{home}/napari.yaml", FLOWCUT_CACHE=f"{home}/cache")
        main(found, "--json" in sys.argv)
