"""Batches with k rows of each group: several views, captions or photos of one thing side by side (PK sampling)."""

from __future__ import annotations

from typing import Any

import numpy as np

from pairwright.core.io import hash_json
from pairwright.data.sampler.no_duplicates import fill
from pairwright.data.sampler.plain import check_sizes, shuffled


class Grouped:
    """Global batches of batch_size / k different groups with k rows each, rows of a group side by side.

    group_N: an integer for each row. In each epoch a group with m rows gives m // k times k of its rows; the m % k left over are others
    each time, and a group with fewer than k rows never comes (`unused` counts their rows).
    """

    def __init__(self, group_N: np.ndarray, batch_size: int, k: int, *, seed: int = 0, drop_last: bool = True) -> None:
        group_N = np.asarray(group_N)
        check_sizes(len(group_N), batch_size, drop_last=False)
        if k < 1 or batch_size % k:
            raise ValueError(f"batch_size {batch_size} must be a multiple of k={k}, the rows for each group")
        _, self._code_N, sizes = np.unique(group_N, return_inverse=True, return_counts=True)
        self.n, self.batch_size, self.k, self.seed, self.drop_last = len(group_N), batch_size, k, seed, drop_last
        self.unused = int(sizes[sizes < k].sum())
        if drop_last and int((sizes >= k).sum()) < batch_size // k:
            have, want = int((sizes >= k).sum()), batch_size // k
            raise ValueError(f"only {have} groups have {k} rows, but a batch of {batch_size} needs {want}: lower batch_size or k")
        self._group_hash = hash_json(self._code_N.tolist())[:16]

    def batches(self, epoch: int) -> list[np.ndarray]:
        """The global batches of an epoch, int64 row numbers."""
        order = shuffled(self.n, "grouped rows", self.seed, epoch)
        by_group = order[np.argsort(self._code_N[order], kind="stable")]  # rows of a group together, shuffled within
        starts = np.flatnonzero(np.diff(self._code_N[by_group], prepend=-1))
        place = np.arange(self.n) - np.repeat(starts, np.diff(starts, append=self.n))
        size = np.repeat(np.diff(starts, append=self.n), np.diff(starts, append=self.n))
        bunches = by_group[place < size - size % self.k].reshape(-1, self.k)
        mix = shuffled(len(bunches), "grouped bunches", self.seed, epoch) if len(bunches) else np.empty(0, np.int64)
        keys = [(int(code),) for code in self._code_N[bunches[:, 0]]]
        made = fill(mix.tolist(), keys, self.batch_size // self.k)
        return [bunches[b].reshape(-1) for b in made if len(b) * self.k == self.batch_size or not self.drop_last]

    def spec(self) -> dict[str, Any]:
        """What the order depends on."""
        return {"kind": "grouped", "n": self.n, "k": self.k, "seed": self.seed, "batch_size": self.batch_size, "groups": self._group_hash}
