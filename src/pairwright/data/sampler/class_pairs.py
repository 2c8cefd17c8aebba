"""Pairs of rows of the same class and of different classes in equal number: contrastive learning from a few labelled rows (SetFit)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pairwright.core.io import hash_json
from pairwright.core.numerics import hash_uniform, seed_of
from pairwright.data.sampler.plain import check_sizes, shuffled


class ClassPairs:
    """Global batches of batch_size / 2 pairs, the rows of a pair side by side: pairs of the same class and of two classes take turns.

    label_N: the class of each row. In each epoch every row is the first of one pair with another row of its class, and of one with a row
    of another class drawn at random. The partner of the same class is the next one in each epoch: a class of k rows has shown all its
    k (k - 1) ordered pairs after k - 1 epochs. A row that is alone in its class comes in pairs of two classes only. A loss between two
    views of the rows (images and captions) also compares the image of one row of a pair with the caption of the other.
    """

    def __init__(self, label_N: np.ndarray, batch_size: int, *, seed: int = 0, drop_last: bool = True) -> None:
        label_N = np.asarray(label_N)
        classes, self._code_N, sizes = np.unique(label_N, return_inverse=True, return_counts=True)
        if batch_size < 4 or batch_size % 4:
            raise ValueError(f"batch_size {batch_size} must be a multiple of 4: half of the pairs are of the same class, half are not")
        if len(classes) < 2 or not (sizes > 1).any():
            raise ValueError(
                f"pairs need two classes, one of them with two rows; got {len(classes)} classes with at most {sizes.max(initial=0)}"
            )
        self.n, self.batch_size, self.seed, self.drop_last = len(label_N), batch_size, seed, drop_last
        self._order = np.argsort(self._code_N, kind="stable")  # the rows class by class
        self._start, self._size = np.cumsum(sizes) - sizes, sizes
        check_sizes(4 * int(sizes[sizes > 1].sum()), batch_size, drop_last)
        self._label_hash = hash_json(self._code_N.tolist())[:16]

    def pairs(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The pairs of an epoch, (P, 2) of the same class and (Q, 2) of two classes, each in an order of its own."""
        place, size = np.empty(self.n, np.int64), self._size[self._code_N]
        place[self._order] = np.arange(self.n) - self._start[self._code_N[self._order]]
        start, row = self._start[self._code_N], np.arange(self.n)
        step = 1 + epoch % np.maximum(size - 1, 1)
        same = np.stack([row, self._order[start + (place + step) % size]], 1)[size > 1]
        drawn = hash_uniform(torch.arange(self.n), salt=seed_of("other class", self.seed, epoch)).numpy()
        other = (start + size + np.floor(drawn * (self.n - size)).astype(np.int64)) % self.n  # past the row's own class, round the end
        different = np.stack([row, self._order[other]], 1)
        return same[shuffled(len(same), "same class", self.seed, epoch)], different[shuffled(self.n, "two classes", self.seed, epoch)]

    def batches(self, epoch: int) -> list[np.ndarray]:
        """The global batches of an epoch, int64 row numbers: pair i is the rows 2 i and 2 i + 1, of the same class where i is even."""
        same, different = self.pairs(epoch)
        n, share = min(len(same), len(different)), self.batch_size // 4
        rows = np.concatenate([same[:n], different[:n]], 1)
        stop = n - n % share if self.drop_last else n
        return [rows[i : i + share].reshape(-1) for i in range(0, stop, share)]

    def spec(self) -> dict[str, Any]:
        """What the order depends on."""
        return {"kind": "class_pairs", "n": self.n, "seed": self.seed, "batch_size": self.batch_size, "labels": self._label_hash}
