"""Batches on their way from the source to the towers: made ahead in a thread, moved to the device."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import torch

from pairwright.train.stage import Batch


def ahead(batches: Iterator[Batch], n: int, depth: int = 2) -> Iterator[Batch]:
    """The first `n` batches, made in a thread while the step before them runs."""
    ready: queue.Queue = queue.Queue(depth)
    over = threading.Event()

    def put(item: object) -> bool:
        while not over.is_set():
            try:
                ready.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for _ in range(n):
                if not put(next(batches)):
                    return
            put(None)
        except BaseException as e:
            put(e)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        over.set()
        thread.join()


def to(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch
    move = lambda d: {k: v.to(device, non_blocking=True) for k, v in d.items()}
    one = lambda t: None if t is None else t.to(device, non_blocking=True)
    return Batch(move(batch.inputs), move(batch.stored), one(batch.group_B), one(batch.sample_B), move(batch.present))
