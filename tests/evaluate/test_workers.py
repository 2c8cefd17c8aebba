"""Runs in several processes: order, omission of what is known to fail, one thread's share each, and a clean end."""

from __future__ import annotations

import multiprocessing

import pytest
import torch

from pairwright.evaluate.workers import FEW, sensible, side_by_side


def note(method: str, problem: list[int], k: int, seed: int, lessons: str) -> tuple[str, int, int, int]:
    if k < 0:
        raise RuntimeError("a task that dies")
    problem.append(seed)
    return method, k, sum(problem), torch.get_num_threads()


TASKS = [("a", 1, 0), ("a", 1, 1), ("b", 1, 2), ("b", 2, 3), ("a", 2, 4)]


def test_in_order_without_what_is_skipped_by_then_and_alone_the_threads_are_divided() -> None:
    seen: list[tuple[str, int]] = []
    results = side_by_side(note, TASKS, [], "", 1, lambda t: (t[0], t[1]) in seen)
    found = []
    for method, k, total, threads in results:
        seen.append((method, k))
        found.append((method, k, total))
        assert threads == torch.get_num_threads()
    assert [f[:2] for f in found] == [("a", 1), ("b", 1), ("b", 2), ("a", 2)]


def test_an_error_ends_the_processes() -> None:
    with pytest.raises(RuntimeError, match="a task that dies"):
        list(side_by_side(note, [("a", 1, 0), ("a", -1, 0), ("a", 1, 2)], [], "", 2, lambda t: False))
    assert not multiprocessing.active_children()


def test_few_runs_are_not_worth_a_process() -> None:
    assert sensible(FEW - 1) == 1
    assert sensible(10**6) == torch.get_num_threads()
    assert list(side_by_side(note, [], [], "", 0, lambda t: False)) == []
