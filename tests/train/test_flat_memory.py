"""Gradient caching in a whole step: peak memory does not grow with the batch, that of a plain step does."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import torch
from pathlib import Path
from functools import partial
from pairwright.core.memory import keep_freed_memory
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.models.tiny import tiny
from pairwright.train.objective import Sum
from pairwright.train.stage import Batch
from pairwright.train.step import gradients

torch.set_num_threads(1)
model = tiny(0, image="vit", size=64, patch=8, width=64, layers=4).train().requires_grad_(True)

def batch(B):
    return Batch({"image": torch.randn(B, 3, 64, 64), "text": torch.randint(1, 50, (B, 8))})

def peak():
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024

gradients(model, Sum({"clip": InfoNCE()}), batch(16), seed=0, micro=8)
for B, micro in ((64, 16), (512, 16), (512, None)):
    x = batch(B)
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    gradients(model, Sum({"clip": InfoNCE()}), x, seed=0, micro=micro)
    print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_peak_of_a_cached_step_is_that_of_a_micro_batch() -> None:
    out = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    small, large, plain = map(float, out.stdout.split())
    assert large < small + 20  # MiB; embeddings and their gradients are a quarter of one
    assert plain > 3 * max(large, 20)
