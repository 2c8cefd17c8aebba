"""Runs of a comparison in several processes: what all have in common is sent to each of them once."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

import torch

_COMMON: dict[str, Any] = {}
AHEAD = 2
"""Tasks handed to each process at a time: one that it works on, one that waits."""
FEW = 40
"""Runs below which starting processes takes longer than they save."""


def sensible(runs: int) -> int:
    """How many processes are worth starting on this machine for so many runs."""
    return max(1, min(torch.get_num_threads(), runs // FEW))


def side_by_side(
    run: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], problem: Any, lessons: Any, workers: int, skip: Callable[[Any], bool]
) -> Iterator[Any]:
    """``run(method, problem, k, seed, lessons)`` of each (method, k, seed), in their order; those that `skip` by then are left out.

    The processors' threads are divided among the processes. An interrupt or an abandoned iteration ends them.
    """
    if not tasks:
        return
    threads = max(1, torch.get_num_threads() // workers)
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start, (run, problem, lessons, threads))
    todo, ahead = deque(tasks), deque[tuple[Any, Future[Any]]]()
    try:
        while todo or ahead:
            while todo and len(ahead) < AHEAD * workers:
                if not skip(task := todo.popleft()):
                    ahead.append((task, pool.submit(_work, task)))
            if ahead:
                task, future = ahead.popleft()
                if not (skip(task) and future.cancel()):
                    result = future.result()
                    if not skip(task):
                        yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start(run: Callable[..., Any], problem: Any, lessons: Any, threads: int) -> None:
    torch.set_num_threads(threads)
    _COMMON.update(run=run, problem=problem, lessons=lessons)


def _work(task: tuple[Any, int, int]) -> Any:
    method, k, seed = task
    return _COMMON["run"](method, _COMMON["problem"], k, seed, _COMMON["lessons"])
