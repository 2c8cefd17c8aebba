"""Many methods on the same items at once: intervals, differences and paired tests that share their draws, so that each costs a product.

The same estimates as `intervals.bootstrap` and `intervals.compare` give one at a time (clusters of items and seeds are resampled together,
in every exam of a problem), for hundreds of methods in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pairwright.core.numerics import numpy_rng

Array = NDArray[np.float64]
Derive = Callable[[Mapping[str, Array]], Mapping[str, Array]]


class Together:
    """Scores of K methods in the exams of one problem.

    scores: exam -> (K, S, N): method, seed, item. groups: exam -> N names of what items share. derive: further scores from those of the
    exams (a harmonic mean). value[name]: (K,); draw[name]: (R, K), the same values in R resamples of groups and seeds.
    """

    def __init__(
        self,
        scores: Mapping[str, Array],
        groups: Mapping[str, Sequence[str]],
        derive: Derive = lambda v: {},
        *,
        draws: int = 1000,
        seed: int = 0,
    ) -> None:
        K, S = next(iter(scores.values())).shape[:2]
        w_RS = numpy_rng("together", seed, "seeds").multinomial(S, np.full(S, 1 / S), size=draws) / S
        self.sums: dict[str, Array] = {}  # of each method's mean over seeds, by group
        value, draw = {}, {}
        for exam, score_KSN in scores.items():
            code_N = np.unique(np.asarray(groups[exam]), return_inverse=True)[1].ravel()
            G = int(code_N.max()) + 1
            size_G = np.bincount(code_N).astype(float)
            order = np.argsort(code_N, kind="stable")
            sum_KSG = np.add.reduceat(score_KSN[:, :, order], np.searchsorted(code_N[order], np.arange(G)), axis=2)
            self.sums[exam] = sum_KSG.mean(1)
            value[exam] = score_KSN.mean((1, 2))
            w_RG = numpy_rng("together", seed, exam).multinomial(G, np.full(G, 1 / G), size=draws).astype(float)
            mean_RKS = (w_RG @ sum_KSG.reshape(K * S, G).T).reshape(draws, K, S) / (w_RG @ size_G)[:, None, None]
            draw[exam] = np.einsum("rks,rs->rk", mean_RKS, w_RS)
        self.value: dict[str, Array] = {**value, **derive(value)}
        self.draw: dict[str, Array] = {**draw, **derive(draw)}
        self._seed, self._draws = seed, 2 * draws
        self._flipped: dict[str, Array] = {}

    def interval(self, name: str, level: float = 0.95) -> tuple[Array, Array]:
        """Lower and upper end for each method (the exact binomial limit where every draw gives the same 0 or 1)."""
        low_K, high_K = np.quantile(self.draw[name], [(1 - level) / 2, (1 + level) / 2], axis=0)
        if name in self.sums:
            miss = 1 - ((1 - level) / 2) ** (1 / self.sums[name].shape[1])
            stuck_K = low_K == high_K
            low_K = np.where(stuck_K & (self.value[name] == 1), 1 - miss, low_K)
            high_K = np.where(stuck_K & (self.value[name] == 0), miss, high_K)
        return low_K, high_K

    def difference(self, name: str, k: int, level: float = 0.95) -> tuple[Array, Array, Array]:
        """Of each method from method k, on the same items and draws: (value, low, high)."""
        diff_RK = self.draw[name] - self.draw[name][:, [k]]
        low_K, high_K = np.quantile(diff_RK, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return self.value[name] - self.value[name][k], low_K, high_K

    def p_values(self, name: str, k: int) -> Array:
        """Two-sided p of each method against method k: sign flips by group for an exam, the paired bootstrap for a derived score.

        The observed labelling counts among the draws, so p is never 0; a method that answers like k has p = 1.
        """
        if name not in self.sums:
            diff_RK = self.draw[name] - self.draw[name][:, [k]]
            side_K = np.minimum((diff_RK <= 0).sum(0), (diff_RK >= 0).sum(0))
            return np.minimum(1.0, 2 * (side_K + 1) / (len(diff_RK) + 1))
        sum_KG, flip_RK = self.sums[name], self._flips(name)
        total_K = np.abs(sum_KG.sum(1) - sum_KG[k].sum())
        extreme_K = (np.abs(flip_RK - flip_RK[:, [k]]) >= total_K - 1e-9).sum(0)
        return np.where((sum_KG != sum_KG[k]).any(1), (extreme_K + 1) / (len(flip_RK) + 1), 1.0)

    def _flips(self, name: str) -> Array:
        """(R, K): each method's total with the signs of groups flipped at random; differences of columns are flipped differences."""
        if name not in self._flipped:
            sum_KG = self.sums[name]
            signs_RG = 2.0 * numpy_rng("flip", self._seed, name).integers(0, 2, (self._draws, sum_KG.shape[1])) - 1
            self._flipped[name] = signs_RG @ sum_KG.T
        return self._flipped[name]


def holm(p_M: Sequence[float]) -> Array:
    """p values adjusted for M tests at once (Holm 1979): where they are compared with a level, any false alarm has at most that chance."""
    p = np.asarray(p_M, dtype=float)
    order = np.argsort(p, kind="stable")
    out = np.empty_like(p)
    out[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return out
