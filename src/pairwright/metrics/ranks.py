"""Where the relevant items stand in each query's ranking: the one thing that every retrieval metric needs.

A relevant item's place is the pair (above, tied): how many items score higher, and how many score the same, itself included. Metrics
take the expected value over random orders of tied items, so a constant score earns chance and never 1. Scores tie when they are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pairwright.core.features import as_tensor
from pairwright.metrics.inputs import matrix

_SORT_FROM = 32  # relevant items per query from which sorting a row beats comparing it once for each


@dataclass(frozen=True)
class Ranks:
    """Places of R relevant (query, item) pairs: query_R, above_R, tied_R, gain_R (1 unless graded), for Q queries over K items."""

    query_R: np.ndarray
    above_R: np.ndarray
    tied_R: np.ndarray
    gain_R: np.ndarray
    queries: int
    items: int

    def count_Q(self) -> np.ndarray:
        """How many relevant items each query has."""
        return np.bincount(self.query_R, minlength=self.queries)

    def groups(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Relevant pairs joined by ties, best first within a query: query_G, above_G, tied_G, relevant_G (how many), gain_G (their sum)."""
        order = np.lexsort((self.above_R, self.query_R))
        q, a = self.query_R[order], self.above_R[order]
        first = np.ones(len(q), bool)
        first[1:] = (q[1:] != q[:-1]) | (a[1:] != a[:-1])
        at = np.flatnonzero(first)
        size = np.diff(np.append(at, len(q)))
        gain = np.add.reduceat(self.gain_R[order], at) if len(at) else np.zeros(0)
        return q[at], a[at], self.tied_R[order][at], size, gain


def ranks(scores_QK: Any, relevant: Any) -> Ranks:
    """Ranks from a full score matrix (Q queries, K items). relevant: see `relevant_pairs`."""
    scores_QK = matrix(scores_QK)
    pairs = relevant_pairs(relevant, *scores_QK.shape)
    above_R, tied_R = _places(scores_QK, pairs[0], pairs[1])
    return Ranks(pairs[0], above_R, tied_R, pairs[2], *scores_QK.shape)


def ranks_of(z_QD: Any, z_KD: Any, relevant: Any, *, block: int = 2**24) -> Ranks:
    """Ranks from embeddings, without a full score matrix: score = dot product, `block` scores at a time (64 MB).

    z_QD, z_KD: arrays, tensors or Features of one encoder.
    """
    z_QD, z_KD = as_tensor(z_QD), as_tensor(z_KD)
    if z_QD.shape[1] != z_KD.shape[1]:
        raise ValueError(f"queries have width {z_QD.shape[1]} and items {z_KD.shape[1]}: embed both with one model")
    Q, K = len(z_QD), len(z_KD)
    query_R, key_R, gain_R = relevant_pairs(relevant, Q, K)
    order = np.argsort(query_R, kind="stable")
    query_R, key_R, gain_R = query_R[order], key_R[order], gain_R[order]
    above_R, tied_R = np.zeros(len(query_R), np.int64), np.zeros(len(query_R), np.int64)
    step = max(1, block // K)
    for start in range(0, Q, step):
        lo, hi = np.searchsorted(query_R, [start, start + step])
        scores = matrix(z_QD[start : start + step] @ z_KD.T)
        above_R[lo:hi], tied_R[lo:hi] = _places(scores, query_R[lo:hi] - start, key_R[lo:hi])
    return Ranks(query_R, above_R, tied_R, gain_R, Q, K)


def as_ranks(scores: Any, relevant: Any) -> Ranks:
    """Pass `Ranks` through; make them from scores and relevance otherwise."""
    return scores if isinstance(scores, Ranks) else ranks(scores, relevant)


def mean_over_queries(value_Q: np.ndarray) -> float:
    """The mean over queries that have a relevant item."""
    if np.isnan(value_Q).all():
        raise ValueError("no query has a relevant item: check `relevant`")
    return float(np.nanmean(value_Q))


def relevant_pairs(relevant: Any, Q: int, K: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Relevance in any usual form -> (query_R, key_R, gain_R).

    relevant: a (Q, K) array or tensor (bool, or graded gains: 0 = irrelevant); or a list of Q lists of item indices; or Q integers, one
    item each; or a pair of id arrays ((Q,), (K,)) where equal ids match (class labels, image ids of captions).
    """
    if isinstance(relevant, tuple) and len(relevant) == 2 and np.ndim(relevant[0]) == 1 and np.ndim(relevant[1]) == 1:
        q_ids, k_ids = (np.asarray(r) for r in relevant)
        if len(q_ids) != Q or len(k_ids) != K:
            raise ValueError(f"ids for {len(q_ids)} queries and {len(k_ids)} items, but there are {Q} and {K}")
        order = np.argsort(k_ids, kind="stable")
        lo, hi = np.searchsorted(k_ids[order], q_ids, "left"), np.searchsorted(k_ids[order], q_ids, "right")
        query_R = np.repeat(np.arange(Q), hi - lo)
        offset_R = np.arange(len(query_R)) - np.repeat(np.cumsum(hi - lo) - (hi - lo), hi - lo)
        key_R = order[np.repeat(lo, hi - lo) + offset_R]
        return query_R, key_R, np.ones(len(query_R))
    if isinstance(relevant, Sequence) and len(relevant) and np.ndim(relevant[0]) == 1:
        if len(relevant) != Q:
            raise ValueError(f"{len(relevant)} lists of relevant items for {Q} queries")
        sets = [np.unique(np.asarray(r, dtype=np.int64)) for r in relevant]
        query_R = np.repeat(np.arange(Q), [len(s) for s in sets])
        return query_R, _in_range(np.concatenate(sets), K), np.ones(len(query_R))
    array = np.asarray(relevant)
    if array.ndim == 1 and np.issubdtype(array.dtype, np.integer):
        if len(array) != Q:
            raise ValueError(f"{len(array)} relevant items for {Q} queries")
        return np.arange(Q), _in_range(array.astype(np.int64), K), np.ones(Q)
    if array.shape != (Q, K):
        raise ValueError(f"relevance is a ({Q}, {K}) matrix, {Q} index lists, {Q} indices, or a pair of id arrays; got shape {array.shape}")
    if (array < 0).any():
        raise ValueError("gains must not be negative")
    query_R, key_R = np.nonzero(array)
    return query_R, key_R, array[query_R, key_R].astype(np.float64)


def _in_range(key_R: np.ndarray, K: int) -> np.ndarray:
    if len(key_R) and (key_R.min() < 0 or key_R.max() >= K):
        raise ValueError(f"relevant item indices must lie in 0 … {K - 1}, got {key_R.min()} … {key_R.max()}")
    return key_R


def _places(scores_QK: Tensor, query_R: np.ndarray, key_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(above, tied) of each pair."""
    above_R, tied_R = np.zeros(len(query_R), np.int64), np.zeros(len(query_R), np.int64)
    if not len(query_R):
        return above_R, tied_R
    order = np.argsort(query_R, kind="stable")
    q, k = torch.from_numpy(query_R[order]), torch.from_numpy(key_R[order])
    own = scores_QK[q, k]
    slot = torch.arange(len(q)) - torch.searchsorted(q, q)  # the how-manieth relevant item of its query
    if int(slot.max()) >= _SORT_FROM:
        rows, inverse = torch.unique(q, return_inverse=True)
        wanted = scores_QK.new_zeros(len(rows), int(slot.max()) + 1)
        wanted[inverse, slot] = own
        ascending = scores_QK[rows].sort(1).values
        right = torch.searchsorted(ascending, wanted, right=True)[inverse, slot]
        left = torch.searchsorted(ascending, wanted)[inverse, slot]
        above, tied = scores_QK.shape[1] - right, right - left
    else:
        above, tied = torch.zeros(len(q), dtype=torch.int64), torch.zeros(len(q), dtype=torch.int64)
        for s in range(int(slot.max()) + 1):
            at = slot == s
            rows = scores_QK if int(at.sum()) == len(scores_QK) else scores_QK[q[at]]
            above[at] = (rows > own[at, None]).sum(1)
            tied[at] = (rows == own[at, None]).sum(1)
    above_R[order], tied_R[order] = above.numpy(), tied.numpy()
    return above_R, tied_R
