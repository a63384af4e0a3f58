"""The process that makes the masks of a whole video: ``flowcut masks`` with one video, telling of every frame."""

from __future__ import annotations

from dataclasses import replace

from flowcut_napari.core.cache import ArrayCache
from flowcut_napari.core.files import check_writable
from flowcut_napari.core.pseudo_masks import FrameMasks
from flowcut_napari.core.run import Segmenter
from flowcut_napari.core.video import Video
from flowcut_napari.core.video_job import MasksJob
from flowcut_napari.live.messages import FrameDone, RunDone, RunJob, RunStarted
from flowcut_napari.live.one_job import failures_told, serve_one_job
from flowcut_napari.live.pipe import ParentPipes


def run(parent: ParentPipes, job: RunJob) -> None:
    """Do the job and tell how it goes; the last record is `RunDone` or `Failed`."""
    machine = job.machine
    masks_job = MasksJob(job.out, job.frames)
    with failures_told(parent, way_out="try fewer processes"):
        check_writable(job.out)
        cache = ArrayCache(limit_gb=machine.cache_limit_gb)
        names = {job.parameters.features, job.parameters.flow}
        weights = {name: path for name, path in machine.weights.items() if name in names}
        # What is downloaded from a window is asked for there, by name.
        with Segmenter(
            job.parameters, weights=weights, device=machine.device, workers=job.workers, cache=cache, fetch=False
        ) as segmenter:

            def on_start(video: Video, count: int) -> None:
                parent.send(RunStarted(count, (*segmenter.notices, *segmenter.video_notes(video))))

            def on_frame(masks: FrameMasks) -> None:
                parent.send(FrameDone(replace(masks, cuts=())))

            made = masks_job.make(segmenter, job.entry, on_start, on_frame)
        parent.send(RunDone(masks_job.path(job.entry), made.notes, made.seconds))


if __name__ == "__main__":
    serve_one_job(run)
