"""Normalised discounted cumulative gain of retrieval."""

from __future__ import annotations

from typing import Any

import numpy as np

from pairwright.core.card import Card
from pairwright.metrics.ranks import as_ranks, mean_over_queries

CARD = Card(
    name="nDCG",
    symbol="ndcg",
    paper="extra:clip",
    title="Cumulated gain-based evaluation of IR techniques",
    year=2002,
    arxiv="",
    where="equations 2 and 4 (base 2); ties averaged as by McSherry and Najork 2008",
    equation="DCG@k = sum over places i <= k of gain_i / log2(i + 1);  nDCG = DCG / DCG of the ideal order",
    says="Graded relevance counts, and counts less the further down an item stands.",
    needs="scores (queries x items) and gains (1 unless graded)",
    cost="one comparison of a row per relevant item",
    use_when="relevance has grades, or the order of the first results matters",
    not_when="one right answer is enough: recall_at_k",
    aliases=("normalized discounted cumulative gain", "DCG", "ndcg@10"),
    neighbours=("metrics/average_precision", "metrics/recall_at_k"),
)
PERFECT = 1.0


def ndcg(scores_QK: Any, relevant: Any = None, k: int | None = None, *, items: bool = False) -> Any:
    """nDCG: discounted gain of the k best items (all by default) over that of the ideal order, mean over queries.

    Arguments as in recall_at_k; a (Q, K) matrix of relevance may hold graded gains. Gains enter linearly. Queries without a relevant
    item are left out. Ties: the expected value over random orders. items: one value per query, NaN where it has no relevant item.

    >>> round(ndcg([[3.0, 2.0, 1.0]], [[2]]), 4)  # the one relevant item, index 2, in third place: 1 / log2(4)
    0.5
    """
    if k is not None and k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    r = as_ranks(scores_QK, relevant)
    discount_K = 1 / np.log2(np.arange(2, r.items + 2))
    discount_K[r.items if k is None else k :] = 0.0
    total_K = np.concatenate([[0.0], np.cumsum(discount_K)])  # total_K[i]: discount of the first i places
    query_G, above_G, tied_G, _, gain_G = r.groups()
    each_G = (total_K[above_G + tied_G] - total_K[above_G]) / tied_G  # mean discount over the places of a tie group
    each_G = np.where(tied_G == 1, discount_K[above_G], each_G)
    dcg_Q = np.bincount(query_G, weights=gain_G * each_G, minlength=r.queries)
    order = np.lexsort((-r.gain_R, r.query_R))
    query_R, gain_R = r.query_R[order], r.gain_R[order]
    place_R = np.arange(len(query_R)) - np.searchsorted(query_R, query_R)
    ideal_Q = np.bincount(query_R, weights=gain_R * discount_K[place_R], minlength=r.queries)
    value_Q = np.where(ideal_Q > 0, dcg_Q / np.where(ideal_Q > 0, ideal_Q, 1.0), np.nan)
    return value_Q if items else mean_over_queries(value_Q)
