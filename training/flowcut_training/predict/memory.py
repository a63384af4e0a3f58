"""How many frames can be seen at once with the memory that is free, and which errors say that there was too little."""

from __future__ import annotations

import gc
from pathlib import Path

import psutil
import torch

from flowcut_training.model.video_mask2former import VideoMask2Former
from flowcut_training.predict.features import Sizes

_FLOAT = 4
# Of what is free: the estimate is none to the byte, and others use the machine too.
_SHARE = 0.8
_CGROUP = Path("/sys/fs/cgroup")
_NO_ROOM = ("out of memory", "can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")


def frames_that_fit(model: VideoMask2Former, sizes: Sizes, device: torch.device, chunk: int) -> int | None:
    """Estimate how many frames of a video can be decoded at once; None where free memory cannot be told."""
    free = free_memory(device)
    if free is None:
        return None
    return max(0, int((free * _SHARE - encoding_bytes(model, sizes, chunk)) / frame_bytes(model, sizes)))


def frame_bytes(model: VideoMask2Former, sizes: Sizes) -> int:
    """Estimate what one more frame takes while a clip is decoded, in bytes.

    Its features stay; on top of them come, of the query decoder, pixels and their positions, the masks of all queries
    (before and after a layer, and smaller), and the larger of two: the mask features once more, laid out for the
    product that makes masks, or keys, values and attention at the finest level.
    """
    height, width = sizes.padded
    pixels = {stride: height * width // stride**2 for stride in (4, 8, 16, 32)}
    tokens = pixels[8] + pixels[16] + pixels[32]
    channels, queries = model.query_decoder.query_feat.embedding_dim, model.num_queries
    kept = channels * (pixels[4] + tokens)
    decoded = 2 * channels * tokens
    masks = 2 * queries * pixels[4] + queries * pixels[8]
    product = channels * pixels[4]
    attention = pixels[8] * (4 * channels + 2 * queries)
    return _FLOAT * (kept + decoded + masks + max(product, attention))


def encoding_bytes(model: VideoMask2Former, sizes: Sizes, chunk: int) -> int:
    """Estimate what it takes to encode a chunk of frames, in bytes: some maps of stride 2, and deformable attention."""
    height, width = sizes.padded
    wide = max(model.query_decoder.query_feat.embedding_dim, model.backbone.channels[0])
    return _FLOAT * chunk * height * width * wide


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that can be had on a device; None where that cannot be told."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch holds back for itself it also gives.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    available = int(psutil.virtual_memory().available)
    limit = _container_left()
    return available if limit is None else min(available, limit)


def _container_left() -> int | None:
    """Return what a container's limit leaves (cgroup v2), in bytes; None where there is no limit."""
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
        # Pages of files that are only kept for the case that somebody reads them again.
        cached = next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    except (OSError, ValueError, StopIteration):  # no such files, or the word "max"
        return None
    return max(0, limit - used + cached)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was asked for that is not there."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_ROOM)


def release(device: torch.device) -> None:
    """Give back what a failed attempt had."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
