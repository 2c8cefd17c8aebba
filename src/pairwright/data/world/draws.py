"""Random numbers that are a pure function of (seed, name, id): any range of samples can be drawn anywhere, in any order, in any pieces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pairwright.core.numerics import seed_of

Array = np.ndarray
_STEP = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Draw:
    """Independent named streams for the rows `ids_N` (non-negative int64). Two names never share a stream."""

    seed: int
    ids_N: Array
    scope: str = ""

    def under(self, scope: str) -> Draw:
        """The streams of a switch: none of them meets a stream of the world or of another switch."""
        return Draw(self.seed, self.ids_N, f"{self.scope}/{scope}")

    def uniform(self, name: str, k: int | None = None) -> Array:
        """float64 in [0, 1), shape (N,) or (N, k)."""
        key = np.uint64(seed_of("world", self.seed, self.scope, name))
        with np.errstate(over="ignore"):
            x = _mix(_mix(np.asarray(self.ids_N).astype(np.int64).view(np.uint64) * _STEP + key) + key)
            if k is not None:
                x = _mix(x[:, None] + _STEP * np.arange(1, k + 1, dtype=np.uint64))
        return (x >> np.uint64(11)).astype(np.float64) / 2**53

    def integers(self, name: str, high: int | Array, k: int | None = None) -> Array:
        """int64 in [0, high)."""
        return (self.uniform(name, k) * high).astype(np.int64)

    def race(self, name: str, weight_V: Array, k: int) -> Array:
        """k distinct values per row, (N, k); the first has probability weight / sum(weight) (an exponential race).

        Equal weights give the same draw whatever their size, so a prior of ones is the absence of a prior.
        """
        time_NV = -np.log1p(-self.uniform(name, len(weight_V))) / np.maximum(weight_V / weight_V.max(), 1e-300)
        return np.argsort(time_NV, axis=1, kind="stable")[:, :k]


def _mix(x: Array) -> Array:
    """The splitmix64 finaliser."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def fold(values_NK: Array) -> Array:
    """Integers of a row -> one int64 (>= 0) that is equal where the rows are equal."""
    with np.errstate(over="ignore"):
        x = np.full(len(values_NK), 0x243F6A8885A308D3, dtype=np.uint64)
        for column in values_NK.T:
            x = _mix((x ^ column.astype(np.int64).view(np.uint64)) * _STEP)
    return (x >> np.uint64(1)).astype(np.int64)
