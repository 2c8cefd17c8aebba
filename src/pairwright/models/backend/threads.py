"""Parts of a batch side by side, each on a processor thread of its own.

A product that is split over the threads makes all of them wait for the slowest at every layer, and what stands between the products is
often not split at all. Parts that share nothing have neither loss, as long as there are pictures enough for every thread.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from torch import Tensor

from pairwright.models.backend.eager import Run


def side_by_side(run: Run, rows: int) -> Run:
    """`run` on parts of at most `rows` pictures, as many at a time as torch has threads."""

    def parted(x_B3HW: Tensor) -> Tensor:
        threads = torch.get_num_threads()
        part = max(1, min(rows, -(-len(x_B3HW) // threads)))
        if threads == 1 or len(x_B3HW) <= part:
            return torch.cat([run(p) for p in x_B3HW.split(rows)])
        inference = torch.is_inference_mode_enabled()
        return torch.cat(list(_pool(threads, os.getpid()).map(lambda p: _alone(run, p, inference), x_B3HW.split(part))))

    return parted


def _alone(run: Run, x: Tensor, inference: bool) -> Tensor:
    with torch.inference_mode(inference), torch.no_grad():  # neither is inherited by a thread
        return run(x)


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads that each compute on one processor thread. `process`: a fork has none of its parent's threads."""
    ready = threading.Barrier(threads + 1)

    def start() -> None:
        torch.get_num_threads()  # a thread takes the number of its process at the first question, also after it was given one
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(threads, thread_name_prefix="pairwright-part", initializer=start)
    for _ in range(threads):
        pool.submit(int)
    ready.wait()
    torch.set_num_threads(threads)  # torch keeps the number for threads to come in one place, which the pool has just overwritten
    return pool
