"""Shuffled (or sequential) batches: every row once in an epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pairwright.core.numerics import hash_uniform, seed_of


def shuffled(n: int, *key: object) -> np.ndarray:
    """A permutation of n rows keyed by `key`: our own hash, so that it is the same for every version of numpy and torch."""
    return np.argsort(hash_uniform(torch.arange(n), salt=seed_of(*key)).numpy(), kind="stable")


def check_sizes(n: int, batch_size: int, drop_last: bool) -> None:
    if n < 1 or batch_size < 1:
        raise ValueError(f"a sampler needs at least one row and batch_size >= 1, got {n} rows and batch_size {batch_size}")
    if drop_last and n < batch_size:
        raise ValueError(f"{n} rows make no full batch of {batch_size}: lower batch_size or set drop_last=False")


class Plain:
    """Global batches of row numbers, shuffled anew in each epoch by (seed, epoch).

    The order of rows does not depend on batch_size, so a run may go on with another one. drop_last leaves out the rows of an epoch that
    make no full batch (others each time).
    """

    def __init__(self, n: int, batch_size: int, *, seed: int = 0, shuffle: bool = True, drop_last: bool = True) -> None:
        check_sizes(n, batch_size, drop_last)
        self.n, self.batch_size, self.seed, self.shuffle, self.drop_last = n, batch_size, seed, shuffle, drop_last

    def batches(self, epoch: int) -> list[np.ndarray]:
        """The global batches of an epoch, int64 row numbers."""
        order = shuffled(self.n, "plain", self.seed, epoch) if self.shuffle else np.arange(self.n)
        stop = self.n - self.n % self.batch_size if self.drop_last else self.n
        return [order[start : start + self.batch_size] for start in range(0, stop, self.batch_size)]

    def spec(self) -> dict[str, Any]:
        """What the order depends on: a saved position is only valid under the same."""
        return {"kind": "plain", "n": self.n, "seed": self.seed, "shuffle": self.shuffle}
