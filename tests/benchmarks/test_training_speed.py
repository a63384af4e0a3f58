"""Figures of training: a step of the paper's network on a CPU, and parts of it beside those of transformers."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import torch

pytestmark = pytest.mark.benchmark

# In a process of its own, so that its peak memory is that of training alone.
_STEPS = """
import json, sys, time
import torch
from flowcut_training.config import load_config
from flowcut_training.data import Batch
from flowcut_training.engine.memory import peak_memory_gib
from flowcut_training.engine.optimizer import make_optimizer
from flowcut_training.engine.ranks import Ranks
from flowcut_training.engine.stepping import Stepper
from flowcut_training.weight_files import build_model

torch.set_num_threads(int(sys.argv[1]))
device = torch.device(sys.argv[2])
config = load_config("paper", [f"batch={sys.argv[3]}"])
torch.manual_seed(0)
model = build_model(config.model).to(device).train()
stepper = Stepper(model, make_optimizer(model, config.optimizer), None, config, Ranks(0, 1, device))
batch = int(sys.argv[3])
frames = torch.randint(0, 256, (batch, 2, 3, 384, 640), dtype=torch.uint8)
masks = torch.zeros(3, 2, 384, 640, dtype=torch.bool)
masks[0, :, 50:200, 50:300] = masks[1, :, 200:300, 300:600] = masks[2, 0, 10:100, 500:640] = True
part = Batch(frames, ((360, 640),) * batch, (masks,) * batch, ("clip",) * batch)
seconds, processor = [], []
for step in range(int(sys.argv[4])):
    wall, cpu = time.perf_counter(), time.process_time()
    stepper.take(step, [part], stepper.sizes([part]))
    seconds.append(time.perf_counter() - wall)
    processor.append(time.process_time() - cpu)
print(json.dumps({"seconds": seconds, "cpu": processor, "gib": peak_memory_gib(device), "is": stepper.precision}))
"""


def _steps(threads: int, device: str, batch: int, count: int) -> dict:
    command = [sys.executable, "-W", "ignore", "-c", _STEPS, str(threads), device, str(batch), str(count)]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_step_of_the_papers_network_on_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    found = _steps(1, "cpu", 1, 4)
    with capsys.disabled():
        print(
            f"\n`paper`, one clip of 2 frames at 384x640 (3 instances), CPU, 1 thread, {found['is']}: "
            f"{statistics.median(found['seconds'][1:]):.1f} s a step ({statistics.median(found['cpu'][1:]):.1f} s of "
            f"processor time), peak memory {found['gib']:.1f} GiB"
        )
    assert len(found["seconds"]) == 4


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_step_of_the_papers_batch_on_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    found = _steps(1, "cuda", 4, 40)
    with capsys.disabled():
        print(
            f"\n`paper`, 4 clips of 2 frames at 384x640, {torch.cuda.get_device_name()}, {found['is']}: "
            f"{1 / statistics.median(found['seconds'][10:]):.2f} steps a second, peak memory {found['gib']:.1f} GiB"
        )
    assert len(found["seconds"]) == 40


@pytest.mark.slow
def test_the_pixel_decoder_beside_that_of_transformers(capsys: pytest.CaptureFixture[str]) -> None:
    theirs = pytest.importorskip("transformers.models.mask2former.modeling_mask2former", reason="needs transformers")
    from transformers import Mask2FormerConfig

    from flowcut_training.model.pixel_decoder import PixelDecoder

    channels = (256, 512, 1024, 2048)
    torch.manual_seed(0)
    ours = PixelDecoder(channels)
    other = theirs.Mask2FormerPixelDecoder(Mask2FormerConfig(dropout=0.0), list(channels))
    maps = [torch.randn(1, depth, 384 >> (i + 2), 640 >> (i + 2)) for i, depth in enumerate(channels)]
    fast = _median(lambda: ours(maps)[0].sum().backward())
    slow = _median(lambda: other(maps).mask_features.sum().backward())
    with capsys.disabled():
        print(
            f"\npixel decoder, one frame at 384x640, there and back: {fast:.2f} s, that of transformers {slow:.2f} s, "
            f"{slow / fast:.2f}x"
        )
    assert fast > 0


def _median(work: Callable[[], object], count: int = 3) -> float:
    work()
    times = []
    for _ in range(count):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)
