"""The process that sweeps: ``flowcut sweep`` with one video, telling of every cell."""

from __future__ import annotations

import time

from flowcut_napari.core.cache import ArrayCache
from flowcut_napari.core.ground_truth import open_ground_truth
from flowcut_napari.core.sweep import Sweeper, SweepPlan, Watch
from flowcut_napari.core.sweep_report import write_report
from flowcut_napari.live.one_job import failures_told, serve_one_job
from flowcut_napari.live.pipe import ParentPipes
from flowcut_napari.live.sweep_messages import SweepCell, SweepDone, SweepJob, SweepNote, SweepStarted, SweepStep


def run(parent: ParentPipes, job: SweepJob) -> None:
    """Do the job and tell how it goes; the last record is `SweepDone` or `Failed`."""
    began = time.monotonic()
    machine = job.machine
    with failures_told(parent, way_out="try fewer processes"):
        names = {
            name for setting in job.grid.settings for name in (setting.parameters.features, setting.parameters.flow)
        }
        plan = SweepPlan(
            grid=job.grid,
            frames=job.frames,
            truth=open_ground_truth(job.ground_truth) if job.ground_truth is not None else None,
            only_annotated=job.only_annotated,
            weights={name: path for name, path in machine.weights.items() if name in names},
            device=machine.device,
        )
        watch = Watch(
            on_video=lambda _, total, known: parent.send(SweepStarted(total, known)),
            on_steps=lambda cuts: parent.send(SweepStep(cuts)),
            on_cell=lambda cell: parent.send(SweepCell(cell, is_whole=True)),
            on_part=lambda cell: parent.send(SweepCell(cell, is_whole=False)),
            on_note=lambda text: parent.send(SweepNote(text)),
        )
        # What is downloaded from a window is asked for there, by name.
        cache = ArrayCache(limit_gb=machine.cache_limit_gb)
        with Sweeper(plan, job.out, workers=job.workers, cache=cache, fetch=False) as sweeper:
            cells = sweeper.run([job.entry], watch)
            write_report(job.out, cells, job.grid, job.measure)
        parent.send(SweepDone(time.monotonic() - began))


if __name__ == "__main__":
    serve_one_job(run)
