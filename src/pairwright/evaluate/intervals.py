"""Confidence intervals and paired tests by the bootstrap, clustered: items that share a group are drawn together.

Two pictures of one concept succeed or fail together, so a bootstrap over pictures would claim too much; groups are drawn with replacement
instead (the cluster bootstrap, Davison and Hinkley 1997, section 3.8). Where a number is a mean over seeds, seeds are drawn as well
(crossed with the groups, Owen 2007), so the interval covers the luck of the training draw, too. A statistic is any function of item
weights: weights (R, M) -> (R,), one row per draw, which makes means, macro-averages and calibration errors matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pairwright.core.numerics import numpy_rng

Weights = NDArray[np.float64]
Statistic = Callable[[Weights], NDArray[np.float64]]
_BLOCK_CELLS = 4_000_000


@dataclass(frozen=True)
class Estimate:
    """A number, its interval, and on how many items and groups it stands. low and high are None where fewer than two groups exist."""

    value: float
    low: float | None
    high: float | None
    n: int
    groups: int


@dataclass(frozen=True)
class Difference:
    """b minus a on the same items: the mean difference, its interval, and two two-sided p values (bootstrap and sign flip)."""

    value: float
    low: float | None
    high: float | None
    p_bootstrap: float
    p_permutation: float
    n: int
    groups: int


def mean(values_M: ArrayLike) -> Statistic:
    """The mean over items."""
    v_M = np.asarray(values_M, dtype=np.float64)
    return lambda w_RM: (w_RM @ v_M) / w_RM.sum(1)


def macro(values_M: ArrayLike, class_M: ArrayLike) -> Statistic:
    """The mean over classes of the mean within each class (a class that a draw misses is left out of that draw)."""
    v_M = np.asarray(values_M, dtype=np.float64)
    codes_M = np.unique(np.asarray(class_M), return_inverse=True)[1]
    onehot_MC = np.eye(codes_M.max() + 1)[codes_M]

    def statistic(w_RM: Weights) -> NDArray[np.float64]:
        size_RC = w_RM @ onehot_MC
        hits_RC = w_RM @ (onehot_MC * v_M[:, None])
        there_RC = size_RC > 0
        return np.where(there_RC, hits_RC / np.maximum(size_RC, 1e-300), 0.0).sum(1) / there_RC.sum(1)

    return statistic


def calibration(confidence_M: ArrayLike, correct_M: ArrayLike, bins: int = 15) -> Statistic:
    """The expected calibration error over equal-width bins. (A resampled error is biased upwards, so its interval leans high.)"""
    p_M, c_M = np.asarray(confidence_M, dtype=np.float64), np.asarray(correct_M, dtype=np.float64)
    which_M = np.clip(np.ceil(p_M * bins).astype(int) - 1, 0, bins - 1)
    gap_MB = np.eye(bins)[which_M] * (c_M - p_M)[:, None]
    return lambda w_RM: np.abs(w_RM @ gap_MB).sum(1) / w_RM.sum(1)


def bootstrap(
    statistic: Statistic,
    group_M: ArrayLike,
    *,
    run_M: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """The value of a statistic and its percentile interval over `draws` resamples of the groups.

    group_M: one group per item (its own id where items are independent). run_M: which seed or training draw an item belongs to, where
    there are several: these are resampled, too. When every draw gives the same 0 or 1 (nothing failed, or nothing worked), the
    bootstrap is blind, and the exact binomial limit for that many groups is given instead.
    """
    group_M = np.unique(np.asarray(group_M), return_inverse=True)[1].ravel()
    if len(group_M) == 0:
        raise ValueError("no items to estimate from: the split is empty, or everything in it was dropped")
    value = float(statistic(np.ones((1, len(group_M))))[0])
    groups = int(group_M.max()) + 1
    if groups < 2:
        return Estimate(value, None, None, len(group_M), groups)
    stats_R = np.concatenate([statistic(w_RM) for w_RM in _weights(group_M, groups, run_M, draws, seed)])
    low, high = np.quantile(stats_R, [(1 - level) / 2, (1 + level) / 2])
    if low == high and value in (0.0, 1.0):
        miss = 1 - ((1 - level) / 2) ** (1 / groups)
        low, high = (0.0, miss) if value == 0.0 else (1 - miss, 1.0)
    return Estimate(value, float(low), float(high), len(group_M), groups)


def compare(a_M: ArrayLike, b_M: ArrayLike, group_M: ArrayLike, *, draws: int = 2000, seed: int = 0, level: float = 0.95) -> Difference:
    """Is b better than a on the same items? Paired bootstrap of the mean difference, and a sign-flip permutation test by group.

    The permutation p counts the observed labelling among the draws (Phipson and Smyth 2010), so it is never 0.
    """
    d_M = np.asarray(b_M, dtype=np.float64) - np.asarray(a_M, dtype=np.float64)
    group_M = np.unique(np.asarray(group_M), return_inverse=True)[1].ravel()
    est = bootstrap(mean(d_M), group_M, draws=draws, seed=seed, level=level)
    if est.groups < 2 or not d_M.any():
        return Difference(est.value, est.low, est.high, 1.0, 1.0, est.n, est.groups)
    draws_R = np.concatenate([mean(d_M)(w) for w in _weights(group_M, est.groups, None, draws, seed)])
    side = min((draws_R <= 0).sum(), (draws_R >= 0).sum())
    sum_G = np.bincount(group_M, weights=d_M)
    signs_RG = numpy_rng("flip", seed).choice(np.array([-1.0, 1.0]), size=(draws, est.groups))
    extreme = (np.abs(signs_RG @ sum_G) >= abs(sum_G.sum()) - 1e-12).sum()
    return Difference(
        est.value, est.low, est.high, min(1.0, 2 * (side + 1) / (draws + 1)), float((extreme + 1) / (draws + 1)), est.n, est.groups
    )


def _weights(group_M: NDArray[np.int64], groups: int, run_M: ArrayLike | None, draws: int, seed: int) -> Sequence[Weights]:
    """Blocks of item weights: how often each item's group (and run) was drawn. Block borders do not change the draws' distribution."""
    rng = numpy_rng("bootstrap", seed)
    runs_M = None if run_M is None else np.unique(np.asarray(run_M), return_inverse=True)[1].ravel()
    block = max(1, _BLOCK_CELLS // len(group_M))
    for start in range(0, draws, block):
        r = min(block, draws - start)
        w_RM = rng.multinomial(groups, np.full(groups, 1 / groups), size=r)[:, group_M].astype(np.float64)
        if runs_M is not None and (s := int(runs_M.max()) + 1) > 1:
            w_RM *= rng.multinomial(s, np.full(s, 1 / s), size=r)[:, runs_M]
        yield w_RM
