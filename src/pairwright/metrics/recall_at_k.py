"""Recall@k of retrieval."""

from __future__ import annotations

from typing import Any

import numpy as np

from pairwright.core.card import Card
from pairwright.metrics.ranks import as_ranks, mean_over_queries

CARD = Card(
    name="recall@k",
    symbol="recall_at_k",
    paper="extra:clip",
    title="Framing Image Description as a Ranking Task",
    year=2013,
    arxiv="",
    where="section 4.2 (R@k); the measure of Flickr30k and COCO retrieval",
    equation="mean_q P(at least one relevant item of q is among its k best), ties broken at random",
    says="How often a user finds a right answer among the first k results.",
    needs="scores (queries x items) and which items are relevant",
    cost="one comparison of a row per relevant item",
    use_when="one right answer is enough: caption and image retrieval, with one or many right answers per query",
    not_when="all relevant items are wanted: average_precision, or every=True",
    aliases=("R@k", "R@1", "hit rate", "success@k", "recall@1"),
    neighbours=("metrics/average_precision", "metrics/ndcg"),
)
PERFECT = 1.0


def recall_at_k(scores_QK: Any, relevant: Any = None, k: int = 1, *, every: bool = False, items: bool = False) -> Any:
    """Recall@k: the share of queries with at least one relevant item among the k best (the field's R@k for image-text retrieval).

    scores_QK: similarities of queries and items, or `Ranks` (then `relevant` is not needed). relevant: bool matrix, index lists, one
    index per query, or a pair of id arrays (see metrics.ranks): many captions per image and many images per caption are counted right.
    every=True gives the share of a query's relevant items that are among the k best instead. Queries without a relevant item are left
    out. Ties: the expected value over random orders. items: one value per query (Q,), NaN where it has no relevant item.

    >>> recall_at_k([[-0.2, -0.9], [-0.5, -0.1]], [0, 0])
    0.5
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    r = as_ranks(scores_QK, relevant)
    query_G, above_G, tied_G, relevant_G, _ = r.groups()
    slots_G = np.clip(k - above_G, 0, tied_G)  # places of this tie group that are among the k best
    count_Q = r.count_Q()
    if every:
        value_Q = np.bincount(query_G, weights=slots_G * relevant_G / tied_G, minlength=r.queries) / np.maximum(count_Q, 1)
    else:
        # only one group of a query can straddle the cut, so the chance of missing all is a product of certain and one uncertain factor
        missed_Q = np.ones(r.queries)
        np.multiply.at(missed_Q, query_G, _miss(tied_G, relevant_G, slots_G))
        value_Q = 1 - missed_Q
    value_Q = np.where(count_Q > 0, value_Q, np.nan)
    return value_Q if items else mean_over_queries(value_Q)


def _miss(n: np.ndarray, r: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Probability that m draws without replacement from n items hit none of r: C(n - r, m) / C(n, m), as a product of min(m, r) factors."""
    few, many = np.minimum(m, r), np.maximum(m, r)  # the two are exchangeable
    miss = np.ones(len(n))
    for i in range(int(few.max(initial=0))):
        miss = np.where(i < few, miss * np.maximum(n - many - i, 0) / np.maximum(n - i, 1), miss)
    return miss
