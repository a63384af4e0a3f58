"""What watching a run takes: ``tests/gui/with-display.sh python tests/benchmarks/watching.py``.

A run of 100,000 logged steps is opened in a real window of 1280x800; then one is followed to which another process
adds five events a second. The longest stall is the longest time between two turns of the event loop.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

STEPS = 100_000
SECONDS = 20
_WRITER = """
import json, sys, time
path, lines = sys.argv[1], sys.stdin.read().splitlines()
for line in lines:
    with open(path, "a") as stream:
        stream.write(line + "\\n")
    time.sleep(0.2)
"""


def main(as_json: bool) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import made_events as made
    import napari
    import psutil
    from qtpy.QtCore import QEventLoop, QTimer
    from qtpy.QtTest import QTest
    from window_watch import Watch, put, report, until

    from flowcut_napari.widgets.idle import IdleCollector
    from flowcut_napari.widgets.runs.widget import RunsTab
    from flowcut_napari.widgets.scrolled import scrolled
    from flowcut_napari.widgets.training_desk import training_of
    from flowcut_napari.widgets.watch.widget import WatchTab
    from flowcut_napari.widgets.workbench import workbench_of

    def rest_until(news: Any, is_so: Callable[[], bool]) -> None:
        """Rest until a signal says that something is so; unlike a wait of QTest this does nothing itself."""
        rest = QEventLoop()

        def look() -> None:
            if is_so():
                rest.quit()

        news.connect(look)
        rest.exec()
        news.disconnect(look)

    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        long = folder / "long"
        write_long(long, STEPS, made.done(STEPS), steps=STEPS)
        figures["size of events.jsonl, MB"] = (long / "events.jsonl").stat().st_size / 1e6
        viewer = napari.Viewer(show=True)
        viewer.window.resize(1280, 800)
        bench = workbench_of(viewer)
        training = training_of(bench)
        tab = WatchTab(bench)
        area = scrolled(tab)
        area.setMinimumWidth(390)
        dock = viewer.window.add_dock_widget(area, area="right", name="Watch")
        QTest.qWait(3000)
        IdleCollector(bench)  # as ``flowcut gui`` has it
        watch = Watch(viewer)
        controller = tab.controller
        QTest.qWait(5000)
        figures["longest stall of the idle window in 5 s, ms"] = 1e3 * watch.longest
        # What others of the machine take counts in a stall, but not here.
        turns: list[float] = []
        beat = QTimer()
        beat.setInterval(1)
        beat.timeout.connect(lambda: turns.append(time.thread_time()))
        beat.start()
        loads, stalls, computing = [], [], []
        for _ in range(5):
            training.watch(None)
            QTest.qWait(1000)
            watch.reset()
            turns.clear()
            asked = time.perf_counter()
            training.watch(long)
            rest_until(controller.changed, lambda: bool(controller.watched and controller.watched.view.end))
            tab.board.draw()
            rest_until(tab.board.drawn, lambda: tab.board.is_drawn)
            tab.board.loss.repaint()
            loads.append(time.perf_counter() - asked)
            QTest.qWait(500)
            stalls.append(watch.longest)
            computing.append(max(later - earlier for earlier, later in pairwise(turns)))
        beat.stop()
        figures["100,000 steps read and drawn, s, median"] = sorted(loads)[2]
        figures["100,000 steps read and drawn, s, worst"] = max(loads)
        figures["longest stall meanwhile, ms, median"] = 1e3 * sorted(stalls)[2]
        figures["longest stall meanwhile, ms, worst"] = 1e3 * max(stalls)
        figures["most that one turn of the event loop computed, ms, median"] = 1e3 * sorted(computing)[2]
        figures["most that one turn of the event loop computed, ms, worst"] = 1e3 * max(computing)
        times, used = [], []
        for _ in range(20):
            began = time.perf_counter()
            tab.board.draw()
            rest_until(tab.board.drawn, lambda: tab.board.is_drawn)
            times.append(time.perf_counter() - began)
            used.append(sum(plot.drawing_seconds for plot in tab.board.plots))
            QTest.qWait(20)
        put(figures, "all curves of 100,000 steps computed and drawn, ms", times)
        put(figures, "of which drawing, ms", used)
        times = []
        for step in range(0, STEPS, STEPS // 40):
            began = time.perf_counter()
            tab.board.loss.pointed.emit(float(step))
            tab.board.loss.repaint()
            times.append(time.perf_counter() - began)
        put(figures, "cursor moved, ms", times)

        def share(seconds: float) -> float:
            process = psutil.Process()
            before = process.cpu_times()
            began = time.perf_counter()
            rest = QEventLoop()
            QTimer.singleShot(round(1000 * seconds), rest.quit)
            rest.exec()
            after = process.cpu_times()
            used = after.user + after.system - before.user - before.system
            return 100 * used / (time.perf_counter() - began)

        watch._timer.stop()
        for words, count in (("5,000 steps", 5000), ("100,000 steps", STEPS)):
            run = write_long(folder / f"live{count}", count, steps=10**6, **made.alive())
            training.watch(None)
            dock.setVisible(False)
            QTest.qWait(3000)
            idle = share(SECONDS / 2)
            dock.setVisible(True)
            training.watch(run)
            until(lambda count=count: controller.watched is not None and controller.watched.state.step == count)
            QTest.qWait(1500)
            more = "".join(json.dumps(made.step(count + number)) + "\n" for number in range(1, 5 * SECONDS + 20))
            writer = subprocess.Popen(
                [sys.executable, "-c", _WRITER, str(run / "events.jsonl")], stdin=subprocess.PIPE, text=True
            )
            assert writer.stdin is not None
            writer.stdin.write(more)
            writer.stdin.close()
            QTest.qWait(500)
            before = controller.watched.state.step
            used = share(SECONDS)
            assert controller.watched.state.step - before > 4 * SECONDS, "it was not followed"
            writer.kill()
            writer.wait()
            figures[f"CPU while following, after {words}, % of a core"] = used
            figures[f"CPU of the idle window before, after {words}, % of a core"] = idle
        for number in range(200):
            made.write_run(folder / "many" / f"run{number:03d}", [made.start(steps=4000), *made.training(4000)])
        runs = RunsTab(bench)
        viewer.window.add_dock_widget(runs, area="right", name="Runs")
        QTest.qWait(500)
        watch._timer.start()
        watch.reset()
        began = time.perf_counter()
        runs.controller.set_folder(folder / "many")
        until(lambda: len(runs.controller.runs) == 200)
        figures["200 runs listed, s"] = time.perf_counter() - began
        QTest.qWait(200)
        figures["longest stall meanwhile (runs), ms"] = 1e3 * watch.longest
        began = time.perf_counter()
        runs.controller._list.scan(folder / "many")
        figures["200 runs looked at again, ms"] = 1e3 * (time.perf_counter() - began)
        viewer.close()
        QTest.qWait(300)
        report(figures, as_json)


def write_long(run: Path, count: int, *end: dict[str, Any], **start: Any) -> Path:
    """Write a run in a process of its own: what it takes is not to be found in this one's memory."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})\n"
        "import json, made_events as made\nfrom pathlib import Path\n"
        "run, count, end, start = json.loads(sys.stdin.read())\n"
        "steps = [made.step(number) for number in range(1, count + 1)]\n"
        "scores = [made.evaluation(number, 0.3) for number in range(500, count, 500)]\n"
        "made.write_run(Path(run), [made.start(**start), *steps, *scores, *end])\n"
    )
    subprocess.run([sys.executable, "-c", code], input=json.dumps([str(run), count, end, start]), text=True, check=True)
    return run


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(HOME=home, NAPARI_CONFIG=f"{home}/napari.yaml", FLOWCUT_CACHE=f"{home}/cache")
        main("--json" in sys.argv)
