"""Proper scores of class probabilities: negative log-likelihood and Brier score."""

from __future__ import annotations

from typing import Any

from pairwright.core.card import Card
from pairwright.metrics.inputs import answer, probabilities

CARD = Card(
    name="negative log-likelihood and Brier score",
    symbol="nll",
    paper="extra:calibration",
    title="Strictly Proper Scoring Rules, Prediction, and Estimation",
    year=2007,
    arxiv="",
    where="section 4 (logarithmic and quadratic score)",
    equation="nll = -mean_n log p_n(y_n);  brier = mean_n sum_c (p_n(c) - [c = y_n])^2",
    says="Lowest only for the true probabilities: they reward calibration and sharpness at once.",
    needs="class probabilities (not logits) and labels",
    cost="one pass",
    use_when="choosing a temperature, comparing probabilistic predictions",
    not_when="only the order of classes matters",
    aliases=("NLL", "log loss", "cross-entropy", "Brier score"),
    neighbours=("metrics/calibration_error",),
)
PERFECT = 0.0


def nll(probs_NC: Any, y_N: Any, *, items: bool = False) -> Any:
    """Negative log-likelihood (log loss, in nats) of the true classes; infinite where a true class was given probability 0.

    >>> round(nll([[0.5, 0.5]], [0]), 4)
    0.6931
    """
    probs_NC, y_N = probabilities(probs_NC, y_N)
    return answer(-probs_NC.gather(1, y_N[:, None]).squeeze(1).log() + 0.0, items)


def brier(probs_NC: Any, y_N: Any, *, items: bool = False) -> Any:
    """Multi-class Brier score: squared distance between the probabilities and the one-hot truth, in [0, 2].

    >>> brier([[0.5, 0.5]], [0])
    0.5
    """
    probs_NC, y_N = probabilities(probs_NC, y_N)
    wrong_N = probs_NC.square().sum(1) - 2 * probs_NC.gather(1, y_N[:, None]).squeeze(1) + 1
    return answer(wrong_N.clamp_min(0), items)
