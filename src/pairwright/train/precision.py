"""Which number format and which memory order to train in: bf16 only where the machine multiplies it faster."""

from __future__ import annotations

import contextlib
import functools
import time
from typing import Any

import torch
from torch import nn

from pairwright.models.dual import DualEncoder


@functools.cache
def bf16_pays(device: str) -> bool:
    """Whether a bf16 matrix product beats fp32 by a clear margin on this device (measured once; many CPUs only emulate bf16)."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)

    def seconds(dtype: torch.dtype) -> float:
        a = torch.ones(192, 192, dtype=dtype, device=device)
        a @ a
        begin = time.perf_counter()
        for _ in range(3):
            a @ a
        return time.perf_counter() - begin

    return seconds(torch.bfloat16) * 1.3 < seconds(torch.float32)


def choose(precision: str, device: torch.device) -> str:
    """``auto`` -> ``bf16`` or ``fp32`` for this device; anything else is checked and kept."""
    if precision == "auto":
        return "bf16" if bf16_pays(str(device)) else "fp32"
    if precision not in ("fp32", "bf16"):
        raise ValueError(f"precision is one of auto, fp32, bf16; got {precision!r}")
    return precision


def lay_out(model: DualEncoder) -> DualEncoder:
    """Put the weights of convolutional towers into the memory order in which convolutions are fastest. Values and checkpoints stay."""
    for tower in model.towers.values():
        if sum(isinstance(m, nn.Conv2d) for m in tower.modules()) > 1:
            tower.to(memory_format=torch.channels_last)
    return model


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
