"""How many rows the towers take at a time: found by trying, doubling until memory or time gets worse."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pairwright.core import dist
from pairwright.models.dual import DualEncoder
from pairwright.train import draws
from pairwright.train.step import Context

FIRST = 4
"""Rows of the first trial."""
WORSE, BETTER = 1.1, 0.97
"""Time per row at which doubling stops, and below which a larger micro-batch is worth its memory."""


@dataclass(frozen=True)
class Trial:
    """What one pass and its backward pass took for a number of rows. used: bytes kept between the two."""

    rows: int
    seconds: float
    used: int


def find_micro(model: DualEncoder, inputs: Mapping[str, Tensor], *, context: Context = nullcontext, budget: int | None = None) -> int:
    """Rows per tower pass for batches like `inputs` (view -> rows); 0: the whole batch, which spares the repeated pass of caching.

    budget: bytes that the activations of all towers may take; None: half of what is free now. Weights, gradients and statistics of the
    model are left as they are. All ranks do what rank 0 found.
    """
    budget = free_memory(model.device) // 2 if budget is None else budget
    inputs = {view: x for view, x in inputs.items() if any(p.requires_grad for p in model.towers[view].parameters())}
    if not inputs:
        return 0
    n = max(len(x) for x in inputs.values())
    tried: list[Trial] = []
    rows = min(FIRST, n)
    while True:
        try:
            tried.append(_try(model, inputs, rows, context))
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            break
        fastest = min(t.seconds / t.rows for t in tried)
        larger = min(2 * rows, n)
        if rows == n or tried[-1].seconds / rows > WORSE * fastest or tried[-1].used / rows * larger > budget:
            break
        rows = larger
    return int(dist.same_on_all(choose(tried, n, budget)))


def choose(tried: list[Trial], n: int, budget: int) -> int:
    """The smallest size that is about as fast as the fastest; the whole batch where it was reached and saves more than it costs."""
    fits = [t for t in tried if t.used <= budget]
    if not fits:
        return max(1, int(tried[0].rows * budget / tried[0].used)) if tried else 1
    best = fits[0]
    for t in fits[1:]:
        if t.seconds / t.rows < BETTER * best.seconds / best.rows:
            best = t
    whole = next((t for t in fits if t.rows == n), None)
    # caching runs the towers forward twice: four thirds of the work
    return 0 if whole is not None and whole.seconds / n <= 4 / 3 * best.seconds / best.rows else best.rows


def _try(model: DualEncoder, inputs: Mapping[str, Tensor], rows: int, context: Context) -> Trial:
    """Every tower forward and backward on some rows, the better of two times."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    seconds, used = [], 0
    for _ in range(2):
        kept: dict[int, int] = {}

        def note(t: Tensor, kept: dict[int, int] = kept) -> Tensor:
            storage = t.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage.nbytes()
            return t

        start = time.perf_counter()
        with draws.still(model), torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
            with context():
                outputs = [model.encode(view, x[:rows]).z_BD for view, x in inputs.items()]
            torch.autograd.grad(
                torch.stack([z.sum() for z in outputs]).sum(), [p for p in model.parameters() if p.requires_grad], allow_unused=True
            )
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        used = sum(kept.values())
    return Trial(rows, min(seconds), used)


def free_memory(device: torch.device) -> int:
    """Bytes that this process may hope for: free memory of the card, or its share of the machine's."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024 // here
    except (OSError, StopIteration):
        return 4 * 2**30 // here
