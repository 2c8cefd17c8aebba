"""Classification metrics against scikit-learn, slow loops and hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, log_loss, top_k_accuracy_score

from pairwright.metrics.calibration_error import adaptive_ece, ece
from pairwright.metrics.mean_per_class import mean_per_class
from pairwright.metrics.proper_scores import brier, nll
from pairwright.metrics.topk_accuracy import topk_accuracy


def case(seed: int = 0, n: int = 300, c: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.choice(c, n, p=np.arange(1, c + 1) / (c * (c + 1) / 2))
    return rng.standard_normal((n, c)) + 1.5 * np.eye(c)[y], y


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x)
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_topk_is_scikit_learns(k):
    scores, y = case()
    assert topk_accuracy(scores, y, k) == pytest.approx(top_k_accuracy_score(y, scores, k=k, labels=range(6)))
    assert topk_accuracy(scores, y, 99) == 1.0


def test_mean_per_class_is_scikit_learns_balanced_accuracy():
    scores, y = case()
    assert mean_per_class(scores, y) == pytest.approx(balanced_accuracy_score(y, scores.argmax(1)))


def test_mean_per_class_leaves_empty_classes_out():
    scores, y = case()
    keep = y != 2
    values = mean_per_class(scores[keep], y[keep], items=True)
    assert np.isnan(values[2])
    assert mean_per_class(scores[keep], y[keep]) == pytest.approx(
        np.mean([np.mean(scores[y == c].argmax(1) == c) for c in (0, 1, 3, 4, 5)])
    )


def test_ties_by_hand():
    assert topk_accuracy([[1, 1, 0]], [0]) == 0.5
    assert topk_accuracy([[2, 1, 1]], [1], k=2) == 0.5
    assert topk_accuracy([[1, 1, 1]], [2], k=2) == pytest.approx(2 / 3)


def slow_ece(probs: np.ndarray, y: np.ndarray, bins: int) -> float:
    total = 0.0
    for b in range(bins):
        lower, upper = b / bins, (b + 1) / bins
        rows = [i for i in range(len(y)) if lower < probs[i].max() <= upper]
        if rows:
            accuracy = np.mean([probs[i].argmax() == y[i] for i in rows])
            total += len(rows) / len(y) * abs(accuracy - np.mean([probs[i].max() for i in rows]))
    return total


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_ece_is_the_loop_over_bins(bins):
    scores, y = case()
    probs = softmax(3 * scores)
    assert ece(probs, y, bins) == pytest.approx(slow_ece(probs, y, bins), abs=1e-12)


def test_adaptive_ece_is_the_loop_over_runs():
    scores, y = case(n=301)
    probs = softmax(3 * scores)
    order = np.argsort(probs.max(1), kind="stable")
    right, confidence = (probs.argmax(1) == y)[order], probs.max(1)[order]
    total = sum(len(r) / 301 * abs(right[r].mean() - confidence[r].mean()) for r in np.array_split(np.arange(301), 15))
    assert adaptive_ece(probs, y) == pytest.approx(total, abs=1e-12)
    assert adaptive_ece(probs[:4], y[:4]) >= 0  # fewer rows than bins


def test_ece_of_calibrated_probabilities_is_small_and_of_overconfident_ones_their_excess():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, 40_000)
    probs = np.stack([p, 1 - p], 1)
    y = (rng.random(40_000) > p).astype(int)
    assert ece(probs, y) < 0.01
    assert adaptive_ece(probs, y) < 0.01
    sure = np.tile([1.0, 0.0], (40_000, 1))
    assert ece(sure, y) == pytest.approx(y.mean(), abs=1e-12)


def test_uniform_probabilities_are_perfectly_calibrated_on_balanced_labels():
    assert ece(np.full((30, 3), 1 / 3), np.arange(30) % 3) == pytest.approx(0, abs=1e-12)


def test_nll_is_scikit_learns_log_loss_and_brier_the_sum_of_squares():
    scores, y = case()
    probs = softmax(scores)
    assert nll(probs, y) == pytest.approx(log_loss(y, probs, labels=range(6)))
    assert brier(probs, y) == pytest.approx(np.mean(((probs - np.eye(6)[y]) ** 2).sum(1)))
    assert nll([[1.0, 0.0]], [1]) == float("inf")
    assert brier([[1.0, 0.0]], [1]) == 2.0
