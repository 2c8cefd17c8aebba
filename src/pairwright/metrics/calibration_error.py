"""Calibration of class probabilities: expected calibration error with equal-width and with equal-mass bins."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pairwright.core.card import Card
from pairwright.metrics.inputs import probabilities

CARD = Card(
    name="expected calibration error",
    symbol="ece",
    paper="extra:calibration",
    title="On Calibration of Modern Neural Networks",
    year=2017,
    arxiv="1706.04599",
    where="equation 3",
    equation="sum over bins of (n_bin / N) |accuracy(bin) - confidence(bin)|,  confidence = the highest class probability",
    says="How far stated confidence is from the share of right answers at that confidence.",
    needs="class probabilities (not logits) and labels",
    cost="one pass",
    use_when="probabilities are shown or thresholded",
    not_when="comparing methods finely on little data: it is biased upwards with few rows per bin; look at nll and brier too",
    aliases=("ECE", "calibration error", "reliability", "adaptive ECE"),
    neighbours=("metrics/proper_scores",),
)
PERFECT = 0.0


def ece(probs_NC: Any, y_N: Any, bins: int = 15) -> float:
    """Expected calibration error with `bins` equal-width bins of confidence, (lower, upper]; 0 is perfect.

    Where several classes share the highest probability, the prediction is right with the chance of a random pick among them.

    >>> round(ece([[0.8, 0.2], [0.8, 0.2]], [0, 1]), 4)
    0.3
    """
    confidence_N, right_N = _confidence(probs_NC, y_N)
    edges = torch.linspace(0, 1, _checked(bins) + 1, dtype=torch.float64)
    bin_N = torch.bucketize(confidence_N.clamp(max=1.0), edges[1:-1])  # right=False: an edge belongs to the bin below it
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, bin_N, right_N - confidence_N)
    return float(gap.abs().sum() / len(confidence_N))


def adaptive_ece(probs_NC: Any, y_N: Any, bins: int = 15) -> float:
    """Calibration error with bins of equal mass: rows are sorted by confidence and cut into `bins` runs whose sizes differ by at most 1.

    Steadier than `ece` when most confidences are close to 1. Rows of equal confidence keep their order.
    """
    confidence_N, right_N = _confidence(probs_NC, y_N)
    order = confidence_N.argsort(stable=True)
    parts = torch.tensor_split((right_N - confidence_N)[order], min(_checked(bins), len(order)))
    return float(sum(part.sum().abs() for part in parts) / len(order))


def _confidence(probs_NC: Any, y_N: Any) -> tuple[Tensor, Tensor]:
    """Highest probability of each row, and whether the prediction is right (fractional where classes tie for it)."""
    probs_NC, y_N = probabilities(probs_NC, y_N)
    best_N = probs_NC.max(1).values
    tied_NC = probs_NC == best_N[:, None]
    right_N = tied_NC.gather(1, y_N[:, None]).squeeze(1).double() / tied_NC.sum(1)
    return best_N, right_N


def _checked(bins: int) -> int:
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    return bins
