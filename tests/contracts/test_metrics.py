"""Laws of every metric: bounds, perfect, chance, ties against random orders, items, negative scores, one scale.

A metric is told apart by the name of its first argument: scores_NC (classes), probs_NC (probabilities) or scores_QK (retrieval).
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from discover import mechanisms

METRICS = mechanisms("metrics")
KIND = {"scores_NC": "class", "probs_NC": "probability", "scores_QK": "retrieval"}
N, C = 40, 7


def kind(f) -> str:
    return KIND[next(iter(inspect.signature(f).parameters))]


def perfect_value(f) -> float:
    return inspect.getmodule(f).PERFECT


def data(f, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(scores, truth) of the metric's kind, scores without ties."""
    rng = np.random.default_rng(seed)
    if kind(f) == "retrieval":
        relevant = rng.random((N, C)) < 0.3
        relevant[:, 0] |= ~relevant.any(1)
        return rng.standard_normal((N, C)), relevant
    y = rng.integers(0, C, N)
    y[:C] = np.arange(C)
    scores = rng.standard_normal((N, C))
    return (softmax(scores) if kind(f) == "probability" else scores), y


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def truth_matrix(truth: np.ndarray) -> np.ndarray:
    return truth if truth.ndim == 2 else np.eye(C, dtype=bool)[truth]


every_metric = pytest.mark.parametrize("f", METRICS)
ranking_metric = pytest.mark.parametrize("f", [p for p in METRICS if kind(p.values[0]) != "probability"])


@every_metric
def test_perfect_scores_reach_the_best_value_and_others_do_not(f):
    scores, truth = data(f)
    assert f(truth_matrix(truth).astype(float), truth) == pytest.approx(perfect_value(f), abs=1e-12)
    value = f(scores, truth)
    assert np.isfinite(value)
    assert value != pytest.approx(perfect_value(f), abs=1e-3)
    assert value >= 0
    assert value <= 1 or perfect_value(f) == 0


@every_metric
def test_numpy_torch_and_lists_agree(f):
    scores, truth = data(f)
    expected = f(scores, truth)
    assert isinstance(expected, float)
    assert f(torch.from_numpy(scores), torch.from_numpy(truth)) == expected
    if truth.ndim == 1:
        assert f(scores.tolist(), truth.tolist()) == pytest.approx(expected, rel=1e-5)


@every_metric
def test_order_of_rows_is_irrelevant_and_inputs_untouched(f):
    scores, truth = data(f)
    before = scores.copy(), truth.copy()
    order = np.random.default_rng(1).permutation(N)
    assert f(scores[order], truth[order]) == pytest.approx(f(scores, truth), abs=1e-12)
    assert np.array_equal(scores, before[0])
    assert np.array_equal(truth, before[1])


@every_metric
def test_items_average_to_the_value(f):
    if "items" not in inspect.signature(f).parameters:
        pytest.skip("not a mean over items")
    scores, truth = data(f)
    items = f(scores, truth, items=True)
    assert items.ndim == 1
    assert np.nanmean(items) == pytest.approx(f(scores, truth), abs=1e-12)


@ranking_metric
def test_only_the_order_counts_so_negative_scores_are_fine(f):
    scores, truth = data(f)
    expected = f(scores, truth)
    assert f(scores - 100, truth) == pytest.approx(expected, abs=1e-12)
    assert f(np.exp(scores) - 1e3, truth) == pytest.approx(expected, abs=1e-12)


@ranking_metric
def test_ties_give_the_mean_over_random_orders(f):
    scores, truth = data(f)
    coarse = np.round(scores)  # five values over seven items: many ties
    rng = np.random.default_rng(2)
    drawn = [f(coarse + 0.1 * rng.random(coarse.shape), truth) for _ in range(150)]
    error = np.std(drawn) / np.sqrt(len(drawn))
    assert abs(f(coarse, truth) - np.mean(drawn)) < 4 * error + 1e-9
    constant = f(np.zeros_like(scores), truth)
    drawn = [f(rng.random(scores.shape), truth) for _ in range(150)]
    assert abs(constant - np.mean(drawn)) < 4 * np.std(drawn) / np.sqrt(len(drawn)) + 1e-9


@every_metric
def test_bad_input_is_refused_with_the_reason(f):
    scores, truth = data(f)
    bad = scores.copy()
    bad[4, 1] = np.nan
    with pytest.raises(ValueError, match="row 4"):
        f(bad, truth)
    with pytest.raises(ValueError, match="matrix"):
        f(scores[0], truth)
    if truth.ndim == 1:
        with pytest.raises(ValueError, match="label 7"):
            f(scores, np.where(np.arange(N) == 5, 7, truth))
        with pytest.raises(ValueError, match="rows of scores"):
            f(scores, truth[:-1])
        with pytest.raises(ValueError, match="integers"):
            f(scores, truth.astype(float))
    else:
        with pytest.raises(ValueError, match="relevan"):
            f(scores, truth[:-1])
        with pytest.raises(ValueError, match="no query has a relevant item"):
            f(scores, np.zeros_like(truth))
    if kind(f) == "probability":
        with pytest.raises(ValueError, match="softmax"):
            f(5 * scores, truth)
