"""How quick the window is: `make bench-gui`, or ``tests/gui/with-display.sh python tests/benchmarks/gui.py [VIDEO]``.

Everything is measured in a real window, drawing included: a time ends when the picture is on the screen
(``frameSwapped`` of the canvas). The video is a DAVIS sequence of FLOWCUT_TEST_DATA unless one is given; features are
hand-made, flow is RAFT-small where its weights are found, else DIS.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

START = time.perf_counter()
MOVES = 60
STEPS = 60
LONG_VIDEO = 1000


def main(address: str, flow: str, as_json: bool) -> None:
    import napari
    from qtpy.QtTest import QTest
    from window_watch import Watch, put, report, until

    from flowcut_napari.commands.gui import open_panel

    figures: dict[str, float] = {}

    def drawn_after(moment: float) -> None:
        until(lambda: watch.drawn_at >= moment)

    begun = time.perf_counter()
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1280, 800)
    panel = open_panel(viewer, None)  # what `flowcut gui` does
    bench = panel.bench
    watch = Watch(viewer)
    bench.set_parameters(
        bench.parameters.preset("handmade").with_changes(flow=flow, max_instances=3, max_eigenvalue=1.0)
    )
    panel.open(address)
    until(lambda: bench.video is not None)
    drawn_after(time.perf_counter())
    figures["window to first picture, s"] = time.perf_counter() - begun
    figures["process to first picture, s"] = time.perf_counter() - START
    until(lambda: bench.answer is not None, 120)
    drawn_after(time.perf_counter())
    figures["window to first cut, s"] = time.perf_counter() - begun

    def wait_until_all_is_known() -> None:
        until(lambda: bench.results.is_complete(bench.frame) and not bench.work, 120)

    wait_until_all_is_known()
    until(lambda: bench.layers is not None and bench.layers["seeds"] is not None)
    QTest.qWait(8000)  # until the frames around it are described

    def move_slider(name: str) -> list[float]:
        """Move a slider by hand, so to say, and wait each time for the new cut on the screen."""
        slider = panel.tune.forms[0].controls[name]
        times = []
        centre = slider.value()
        for step in range(MOVES):
            value = centre + 0.01 * (1 + step % 7) * (1 if step % 2 else -1)
            asked = time.perf_counter()
            slider.setValue(value)
            until(lambda: (answer := bench.answer) is not None and answer.parameters == bench.parameters)
            drawn_after(time.perf_counter())
            times.append(time.perf_counter() - asked)
            if step % 3 == 2:  # now and then somebody waits for the refined mask
                QTest.qWait(400)
        slider.setValue(centre)
        wait_until_all_is_known()
        return times

    for kind in ("cut", "masks"):
        panel.view_bar.show_kind(kind, True)
    QTest.qWait(300)
    watch.reset()
    for name in ("tau", "alpha"):
        put(figures, f"{name} to cut on the screen, ms", move_slider(name))
    figures["longest stall while sliders move, ms"] = 1e3 * watch.longest

    # Story in view: its pictures are drawn with every answer.
    panel.tabs.setCurrentIndex(1)
    QTest.qWait(500)
    watch.reset()
    put(figures, "tau to cut on the screen, Story open, ms", move_slider("tau"))
    figures["longest stall while sliders move, Story open, ms"] = 1e3 * watch.longest
    panel.tabs.setCurrentIndex(0)

    def step_through(count: int, first: int = 0) -> list[float]:
        times = []
        for frame in range(first, first + count):
            asked = time.perf_counter()
            viewer.dims.set_current_step(0, frame % len(bench.video))
            drawn_after(asked)
            times.append(time.perf_counter() - asked)
        return times

    # Everything is being computed: frames nobody has looked at, one after the other.
    watch.reset()
    for frame in range(0, len(bench.video), 5):
        viewer.dims.set_current_step(0, frame)
        QTest.qWait(300)
    figures["longest stall while frames are described, ms"] = 1e3 * watch.longest
    wait_until_all_is_known()

    for layer in viewer.layers:
        layer.visible = True
    QTest.qWait(500)
    count = min(STEPS, len(bench.video))
    for frame in range(count):  # so that all is known, as after a first look
        viewer.dims.set_current_step(0, frame)
        until(lambda: bench.results.is_complete(bench.frame), 60)
    watch.reset()
    watch.drawing.clear()
    put(figures, "frame step, all layers on, ms", step_through(count))
    put(figures, "of which drawing, ms", watch.drawing)
    figures["longest stall while stepping, ms"] = 1e3 * watch.longest

    def time_to_cut(frames: Iterator[int]) -> list[float]:
        times = []
        for frame in frames:
            asked = time.perf_counter()
            viewer.dims.set_current_step(0, frame)
            until(lambda: bench.answer is not None and bench.answer.parameters == bench.parameters)
            drawn_after(time.perf_counter())
            times.append(time.perf_counter() - asked)
        return times

    # Cuts forgotten, features and flow on disk.
    bench.set_parameters(bench.parameters.with_changes(tau=0.4))
    until(lambda: bench.answer is not None and bench.answer.parameters == bench.parameters)
    put(figures, "frame step to cut on the screen, warm cache, ms", time_to_cut(iter(range(2, count, 3))))

    viewer.close()
    QTest.qWait(500)
    with long_video(Path(address.partition("::")[0])) as folder:
        figures |= memory_figures(folder, until)
    report(figures, as_json)


def memory_figures(folder: Path, until: Callable[..., None]) -> dict[str, float]:
    """Step through a long video from end to end and see what the processes take."""
    import napari
    from qtpy.QtTest import QTest

    viewer = napari.Viewer(show=True)
    _, panel = viewer.window.add_plugin_dock_widget("flowcut-napari", "FlowCut")
    bench = panel.bench
    panel.open(str(folder))
    until(lambda: bench.results.is_complete(bench.frame), 120)
    QTest.qWait(3000)
    after: list[float] = []
    for frame in range(LONG_VIDEO):
        viewer.dims.set_current_step(0, frame)
        QTest.qWait(60)
        if frame in (100, LONG_VIDEO - 1):
            after.append(memory())
    viewer.close()
    QTest.qWait(500)
    return {
        f"memory after 100 of {LONG_VIDEO} frames, MB": after[0],
        f"memory after {LONG_VIDEO} of {LONG_VIDEO} frames, MB": after[1],
    }


def memory() -> float:
    """Return what this process and all it started take, 10^6 bytes."""
    own = psutil.Process()
    return sum(process.memory_info().rss for process in (own, *own.children(recursive=True))) / 1e6


@contextmanager
def long_video(root: Path) -> Iterator[Path]:
    """Make a video of 1,000 frames out of a DAVIS root: all its frames one after the other, as links."""
    with tempfile.TemporaryDirectory() as temporary:
        files = sorted(root.glob("JPEGImages/*/*/*.jpg")) or sorted(root.glob("**/*.jpg"))
        first = files[0]
        from PIL import Image

        size = Image.open(first).size
        files = [file for file in files if Image.open(file).size == size]
        for index in range(LONG_VIDEO):
            os.symlink(files[index % len(files)].resolve(), Path(temporary) / f"{index:05d}.jpg")
        yield Path(temporary)


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--json"]
    data = Path(os.environ.get("FLOWCUT_TEST_DATA", Path(__file__).resolve().parents[3] / "shared"))
    weights = data / "weights"
    if weights.is_dir():
        os.environ.setdefault("FLOWCUT_WEIGHTS", str(weights))
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(HOME=home, NAPARI_CONFIG=f"{home}/napari.yaml")
        os.environ.setdefault("FLOWCUT_CACHE", f"{home}/cache")
        main(
            words[0] if words else f"{data / 'data' / 'davis16'}::dog",
            "raft-small" if weights.is_dir() else "dis",
            "--json" in sys.argv,
        )
