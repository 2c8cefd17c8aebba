"""Retrieval metrics against scikit-learn, brute force over all tie orders, and slow loops; blocks against the full matrix."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, ndcg_score

from pairwright.metrics.average_precision import average_precision
from pairwright.metrics.ndcg import ndcg
from pairwright.metrics.ranks import ranks, ranks_of, relevant_pairs
from pairwright.metrics.recall_at_k import recall_at_k
from pairwright.metrics.retrieval import retrieval


def slow_hit(order: list[int], relevant: set[int], k: int) -> float:
    return float(any(i in relevant for i in order[:k]))


def slow_fraction(order: list[int], relevant: set[int], k: int) -> float:
    return len(relevant & set(order[:k])) / len(relevant)


def slow_ap(order: list[int], relevant: set[int], k: int) -> float:
    hits, total = 0, 0.0
    for place, item in enumerate(order, 1):
        if item in relevant:
            hits += 1
            total += hits / place
    return total / len(relevant)


def slow_ndcg(order: list[int], relevant: set[int], k: int) -> float:
    dcg = sum(1 / np.log2(p + 1) for p, item in enumerate(order, 1) if item in relevant and p <= k)
    return dcg / sum(1 / np.log2(p + 1) for p in range(1, min(k, len(relevant)) + 1))


OURS = {
    slow_hit: lambda s, r, k: recall_at_k(s, r, k, items=True),
    slow_fraction: lambda s, r, k: recall_at_k(s, r, k, every=True, items=True),
    slow_ap: lambda s, r, k: average_precision(s, r, items=True),
    slow_ndcg: lambda s, r, k: ndcg(s, r, k, items=True),
}


@pytest.mark.parametrize("slow", list(OURS))
@pytest.mark.parametrize("k", [1, 2, 4])
def test_ties_are_the_mean_over_all_orders(slow, k):
    """Every permutation of six items that the scores allow, weighted equally: exact, not sampled."""
    rng = np.random.default_rng(0)
    scores = rng.integers(-2, 1, (12, 6)).astype(float)
    relevant = rng.random((12, 6)) < 0.4
    relevant[:, 1] |= ~relevant.any(1)
    ours = OURS[slow](scores, relevant, k)
    for q in range(12):
        orders = [o for o in itertools.permutations(range(6)) if all(scores[q, a] >= scores[q, b] for a, b in itertools.pairwise(o))]
        values = [slow(list(o), set(np.flatnonzero(relevant[q])), k) for o in orders]
        assert ours[q] == pytest.approx(np.mean(values), abs=1e-10)


def test_average_precision_and_ndcg_are_scikit_learns():
    rng = np.random.default_rng(1)
    scores, relevant = rng.standard_normal((20, 50)), rng.random((20, 50)) < 0.2
    assert average_precision(scores, relevant) == pytest.approx(np.mean([average_precision_score(r, s) for r, s in zip(relevant, scores)]))
    graded = rng.integers(0, 4, (20, 50))
    tied = np.round(2 * scores)
    assert ndcg(tied, graded) == pytest.approx(ndcg_score(graded, tied), abs=1e-10)  # ties averaged by scikit-learn too
    assert ndcg(scores, graded, 10) == pytest.approx(ndcg_score(graded, scores, k=10), abs=1e-10)


def test_many_captions_per_image_and_many_images_per_caption():
    """5 captions an image, two images the same: image -> text hits on any own caption, text -> image on either of the twins."""
    image_of_caption = np.repeat(np.arange(6), 5)
    scores = np.random.default_rng(2).standard_normal((6, 30))
    by_ids = recall_at_k(scores, (np.arange(6), image_of_caption), 3, items=True)
    for i in range(6):
        assert by_ids[i] == any(image_of_caption[j] == i for j in np.argsort(-scores[i])[:3])
    scene = np.array([0, 1, 2, 3, 4, 4])  # images 4 and 5 show the same scene
    back = recall_at_k(scores.T, (scene[image_of_caption], scene), 1, items=True)
    for j in range(30):
        assert back[j] == (scene[np.argmax(scores.T[j])] == scene[image_of_caption[j]])


def test_all_negative_cosines_ranked_perfectly_are_perfect():
    scores = np.full((4, 4), -0.9) + 0.5 * np.eye(4)
    assert recall_at_k(scores, np.arange(4)) == average_precision(scores, np.arange(4)) == ndcg(scores, np.arange(4)) == 1.0


def test_forms_of_relevance_agree():
    rng = np.random.default_rng(3)
    q_ids, k_ids = rng.integers(0, 5, 8), rng.integers(0, 5, 12)
    matrix = q_ids[:, None] == k_ids[None, :]
    lists = [np.flatnonzero(row).tolist() for row in matrix]
    expected = set(zip(*np.nonzero(matrix)))
    for form in (matrix, torch.from_numpy(matrix), lists, (q_ids, k_ids), (q_ids.astype(str), k_ids.astype(str))):
        q, k, gain = relevant_pairs(form, 8, 12)
        assert set(zip(q.tolist(), k.tolist())) == expected
        assert len(q) == len(expected)
        assert (gain == 1).all()
    assert relevant_pairs([3, 1], 2, 4)[1].tolist() == [3, 1]


def test_queries_without_a_relevant_item_are_left_out():
    values = recall_at_k([[1.0, 0.0], [1.0, 0.0]], [[0], []], items=True)
    assert values[0] == 1
    assert np.isnan(values[1])
    assert recall_at_k([[1.0, 0.0], [1.0, 0.0]], [[0], []]) == 1.0


@pytest.mark.parametrize("block", [1, 100, 2**24])
@pytest.mark.parametrize("relevant_per_query", [1, 5, 40])
def test_blocks_give_the_same_ranks_as_the_matrix(block, relevant_per_query):
    """40 relevant items per query takes the sorting way, 1 and 5 the comparing way. Integer vectors: products are exact, ties many."""
    rng = np.random.default_rng(4)
    z_q, z_k = rng.integers(-2, 3, (15, 6)).astype(np.float32), rng.integers(-2, 3, (90, 6)).astype(np.float32)
    relevant = [rng.choice(90, relevant_per_query, replace=False) for _ in range(15)]
    ours, scores = ranks_of(z_q, z_k, relevant, block=block), z_q @ z_k.T
    for q, key, above, tied in zip(ours.query_R, relevant_pairs(relevant, 15, 90)[1], ours.above_R, ours.tied_R):
        assert above == (scores[q] > scores[q, key]).sum()
        assert tied == (scores[q] == scores[q, key]).sum()
    whole = ranks(scores, relevant)
    assert average_precision(ours) == pytest.approx(average_precision(whole), abs=1e-12)
    table = retrieval(z_q, z_k, relevant, ks=(1, 7), block=block)
    assert table.keys() == {"recall@1", "recall@7", "map", "ndcg"}
    assert table["recall@7"] == pytest.approx(recall_at_k(scores, relevant, 7), abs=1e-12)
    assert table["ndcg"] == pytest.approx(ndcg(scores, relevant), abs=1e-12)


def test_a_tie_of_everything_is_chance_even_in_a_large_collection():
    """100,000 equal scores, one relevant: recall@10 is 10/K, and AP its closed form H(K)/K."""
    K = 100_000
    scores = np.zeros((1, K), np.float32)
    assert recall_at_k(scores, [3], 10) == pytest.approx(10 / K, rel=1e-6)
    assert average_precision(scores, [3]) == pytest.approx((1 / np.arange(1, K + 1)).sum() / K, rel=1e-9)


def test_clear_errors():
    scores = np.zeros((2, 3))
    for bad, message in (
        ([0, 3], "0 … 2"),
        ([[0]], "lists of relevant items"),
        (([0], [0, 1, 2]), "ids for 1 queries"),
        (-np.ones((2, 3)), "negative"),
    ):
        with pytest.raises(ValueError, match=message):
            recall_at_k(scores, bad)
    with pytest.raises(ValueError, match="one model"):
        ranks_of(np.ones((2, 3)), np.ones((2, 4)), [0, 1])
    with pytest.raises(ValueError, match="at least 1"):
        recall_at_k(scores, [0, 1], 0)
