"""Mean average precision of retrieval."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pairwright.core.card import Card
from pairwright.metrics.ranks import as_ranks, mean_over_queries

CARD = Card(
    name="mean average precision",
    symbol="average_precision",
    paper="extra:clip",
    title="Computing Information Retrieval Performance Measures Efficiently in the Presence of Tied Scores",
    year=2008,
    arxiv="",
    where="section 2.3 (expected average precision under ties)",
    equation="AP_q = 1/R sum over relevant places i of (relevant among the first i) / i;  mAP = mean_q AP_q, expectation over tied orders",
    says="One number for the whole ranking: high only when all relevant items stand before the irrelevant ones.",
    needs="scores (queries x items) and which items are relevant",
    cost="one comparison of a row per relevant item",
    use_when="several relevant items per query, all of them wanted; also multi-label classification (queries = classes)",
    not_when="a single relevant item that has to be on the first page: recall_at_k",
    aliases=("mAP", "AP", "MAP", "area under precision-recall"),
    neighbours=("metrics/recall_at_k", "metrics/ndcg"),
)
PERFECT = 1.0


def average_precision(scores_QK: Any, relevant: Any = None, *, items: bool = False) -> Any:
    """mAP: mean over queries of the average precision of the ranking.

    Arguments as in recall_at_k. For multi-label classification pass the transposes, (C, N), so that each class is a query. Queries
    without a relevant item are left out. Ties: the expected value over random orders. items: one value per query, NaN where it has no
    relevant item.

    >>> average_precision([[3.0, 2.0, 1.0]], [[0, 2]])
    0.8333333333333333
    """
    r = as_ranks(scores_QK, relevant)
    query_G, above_G, tied_G, relevant_G, _ = r.groups()
    # relevant items of the query that stand before the group: a running sum that restarts with each query
    running_G = np.cumsum(relevant_G) - relevant_G
    before_G = running_G - running_G[np.searchsorted(query_G, query_G)] if len(query_G) else running_G
    # In a group of n items at places above+1 … above+n, r relevant, a place is relevant with chance r/n and then has before + 1 +
    # (i-1)(r-1)/(n-1) relevant items up to it. Summed over i in closed form with harmonic numbers H, since
    # (i-1)/(above+i) = 1 - (above+1)/(above+i).
    h_G = _harmonic(above_G + tied_G) - _harmonic(above_G)
    slope_G = (relevant_G - 1) / np.maximum(tied_G - 1, 1)
    sum_G = (before_G + 1) * h_G + slope_G * (tied_G - (above_G + 1) * h_G)
    sum_G = np.where(tied_G == 1, (before_G + 1) / (above_G + 1), sum_G)  # exact where nothing is tied
    count_Q = r.count_Q()
    value_Q = np.bincount(query_G, weights=relevant_G / tied_G * sum_G, minlength=r.queries) / np.maximum(count_Q, 1)
    value_Q = np.where(count_Q > 0, value_Q, np.nan)
    return value_Q if items else mean_over_queries(value_Q)


def _harmonic(n: np.ndarray) -> np.ndarray:
    """1 + 1/2 + … + 1/n up to a constant (the digamma function at n + 1)."""
    return torch.digamma(torch.from_numpy(n + 1.0)).numpy()
