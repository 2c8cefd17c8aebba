"""Batches in which no two rows share a group or a caption, so that no negative is secretly a positive."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from pairwright.core.io import hash_json
from pairwright.data.sampler.plain import check_sizes, shuffled


def fill(order: Sequence[int], keys: Sequence[Sequence[int]], per_batch: int) -> list[list[int]]:
    """Put items into batches of `per_batch` in the given order, none with two items that share a key; the last ones may be shorter.

    An item that meets one of its keys in the current batch waits for the next. It waits in the queue of the key that blocked it, so that a
    long queue costs one look per batch.
    """
    waiting: dict[int, deque[tuple[int, int]]] = defaultdict(deque)  # key -> (place in the order, item), earliest first
    stream = iter(enumerate(order))
    batches: list[list[int]] = []
    exhausted = False
    while not exhausted or waiting:
        batch: list[int] = []
        seen: set[int] = set()
        heads = [(queue[0][0], key) for key, queue in waiting.items()]
        heapq.heapify(heads)
        while heads and len(batch) < per_batch:
            _, key = heapq.heappop(heads)
            place, item = waiting[key].popleft()
            blocker = next((k for k in keys[item] if k in seen), None)
            if blocker is None:
                batch.append(item)
                seen.update(keys[item])
            else:
                _insert(waiting[blocker], (place, item))
            if not waiting[key]:
                del waiting[key]
            elif key not in seen:
                heapq.heappush(heads, (waiting[key][0][0], key))
        while len(batch) < per_batch:
            place, item = next(stream, (-1, -1))
            if place < 0:
                exhausted = True
                break
            blocker = next((k for k in keys[item] if k in seen), None)
            if blocker is None:
                batch.append(item)
                seen.update(keys[item])
            else:
                waiting[blocker].append((place, item))
        if batch:
            batches.append(batch)
    return batches


def _insert(queue: deque[tuple[int, int]], entry: tuple[int, int]) -> None:
    """Keep the queue in order; the place is nearly always at one of its ends."""
    at = len(queue)
    while at and queue[at - 1][0] > entry[0]:
        at -= 1
    queue.insert(at, entry)


class NoDuplicates:
    """Shuffled global batches without two rows of one key.

    keys_N: for each row the integers that must not meet in a batch (`columns.duplicate_keys` makes them from groups and captions).
    Every row comes once in an epoch, but batches near the end that cannot be filled are left out (drop_last) or shorter.
    """

    def __init__(self, keys_N: Sequence[Sequence[int]], batch_size: int, *, seed: int = 0, drop_last: bool = True) -> None:
        check_sizes(len(keys_N), batch_size, drop_last)
        self.keys_N = [tuple(int(k) for k in keys) for keys in keys_N]
        self.n, self.batch_size, self.seed, self.drop_last = len(keys_N), batch_size, seed, drop_last
        self._key_hash = hash_json(self.keys_N)[:16]

    def batches(self, epoch: int) -> list[np.ndarray]:
        """The global batches of an epoch, int64 row numbers."""
        made = fill(shuffled(self.n, "no_duplicates", self.seed, epoch).tolist(), self.keys_N, self.batch_size)
        full = [np.array(b, np.int64) for b in made if len(b) == self.batch_size or not self.drop_last]
        if not full:
            raise ValueError(
                f"the rows have too many duplicates to fill a batch of {self.batch_size} (the largest has {max(map(len, made))}): "
                "lower batch_size, or use the plain sampler with a loss that knows several positives"
            )
        return full

    def spec(self) -> dict[str, Any]:
        """What the order depends on."""
        return {"kind": "no_duplicates", "n": self.n, "seed": self.seed, "batch_size": self.batch_size, "keys": self._key_hash}
