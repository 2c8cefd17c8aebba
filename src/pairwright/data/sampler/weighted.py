"""Batches in which rows come as often as their weights say: mix sources, repeat rare classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pairwright.core.io import hash_json
from pairwright.core.numerics import hash_uniform, seed_of
from pairwright.data.sampler.plain import check_sizes, shuffled


class Weighted:
    """Shuffled global batches; row i comes about rows_per_epoch * weight_i / sum(weight) times in an epoch.

    Systematic resampling: each row comes the whole number of times just below or above that, and in the mean over epochs exactly that
    often. A weight of 0 leaves a row out.
    """

    def __init__(
        self, weight_N: np.ndarray, batch_size: int, *, rows_per_epoch: int | None = None, seed: int = 0, drop_last: bool = True
    ) -> None:
        weight_N = np.asarray(weight_N, np.float64)
        self.n, self.batch_size, self.seed, self.drop_last = len(weight_N), batch_size, seed, drop_last
        self.rows_per_epoch = self.n if rows_per_epoch is None else rows_per_epoch
        check_sizes(min(self.n, self.rows_per_epoch), batch_size, drop_last=False)
        check_sizes(self.rows_per_epoch, batch_size, drop_last)
        if not np.isfinite(weight_N).all() or (weight_N < 0).any() or weight_N.sum() <= 0:
            raise ValueError("weights must be finite and not negative, with at least one above 0")
        self._edges_N = np.cumsum(weight_N / weight_N.sum())
        self._edges_N[weight_N.nonzero()[0][-1] :] = 1.0  # rounding must not leave a gap at the end
        self._weight_hash = hash_json(weight_N.tolist())[:16]

    def batches(self, epoch: int) -> list[np.ndarray]:
        """The global batches of an epoch, int64 row numbers."""
        start = float(hash_uniform(torch.tensor([epoch]), salt=seed_of("weighted", self.seed))[0])
        points = (np.arange(self.rows_per_epoch) + start) / self.rows_per_epoch
        rows = np.searchsorted(self._edges_N, points, side="right")
        rows = rows[shuffled(len(rows), "weighted", self.seed, epoch)]
        stop = len(rows) - len(rows) % self.batch_size if self.drop_last else len(rows)
        return [rows[i : i + self.batch_size] for i in range(0, stop, self.batch_size)]

    def spec(self) -> dict[str, Any]:
        """What the order depends on."""
        return {"kind": "weighted", "n": self.n, "rows_per_epoch": self.rows_per_epoch, "seed": self.seed, "weights": self._weight_hash}
