"""The two kinds of problem: one class for each image, or any number of them. What is a good score, and when is an answer right?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pairwright.audit.calibrate.temperature import Temperature
from pairwright.metrics.average_precision import average_precision

FLOOR = -12.0
"""Lowest log-probability that a member of a committee may say: one that is sure and wrong does not silence the others."""


@dataclass(frozen=True)
class OneOf:
    """Each image belongs to exactly one class: labels (N,), probabilities by softmax."""

    name: str = "one"

    def calibrate(self, logits_NC: Tensor, y_N: Tensor) -> tuple[float, float]:
        """(slope, shift) that turn scores into logits of calibrated probabilities: slope * score + shift."""
        return 1 / Temperature(smooth=1 / (len(y_N) + 2)).fit(logits_NC, y_N).temperature_, 0.0

    def vote(self, logits_NC: Tensor) -> Tensor:
        """What a member of a committee says, (N, C): its log-probabilities, bounded."""
        return logits_NC.double().log_softmax(1).clamp_min(FLOOR)

    def probabilities(self, logits_NC: Tensor) -> Tensor:
        return logits_NC.double().softmax(1)

    def right(self, probs_NC: Tensor, y_N: Tensor, thresholds_C: Tensor | None = None) -> Tensor:
        """For each row 1 where the most probable class is the true one, else 0."""
        return (probs_NC.argmax(1) == y_N).double()

    def merit(self, logits_NC: Tensor, y_N: Tensor) -> float:
        """How candidates are compared: accuracy less a share of the log loss, which breaks the many ties of few rows."""
        return float(self.each(logits_NC, y_N).mean())

    def each(self, logits_NC: Tensor, y_N: Tensor) -> Tensor:
        """The merit of each row's answer, (N,)."""
        p_NC = self.probabilities(logits_NC)
        return self.right(p_NC, y_N) + 0.3 * p_NC.gather(1, y_N[:, None]).squeeze(1).clamp_min(1e-6).log()

    def strata(self, y_N: Tensor) -> list[int]:
        """The label by which rows are dealt into folds."""
        return y_N.tolist()


@dataclass(frozen=True)
class AnyOf:
    """Each image belongs to any number of classes: labels (N, C) of 0 and 1, a probability for each class by itself."""

    name: str = "any"

    def calibrate(self, logits_NC: Tensor, y_NC: Tensor) -> tuple[float, float]:
        """Slope and shift of one logistic regression over all rows and classes (Platt's scaling)."""
        x, y = logits_NC.double().flatten(), y_NC.double().flatten()
        centre, spread = x.mean(), x.std().clamp_min(1e-9)
        u = torch.stack([(x - centre) / spread, torch.ones_like(x)], 1)
        w = torch.zeros(2, dtype=torch.float64)
        for _ in range(25):
            p = torch.sigmoid(u @ w)
            slope = u.T @ (p - y) + 1e-3 * w
            curve = (u * (p * (1 - p))[:, None]).T @ u + (1e-3 + 1e-9 * len(u)) * torch.eye(2, dtype=torch.float64)
            step = torch.linalg.solve(curve, slope)
            w = w - step * min(1.0, 4.0 / float(step.norm().clamp_min(1e-12)))
        a = max(float(w[0]), 1e-6)
        return a / float(spread), float(w[1]) - a * float(centre / spread)

    def vote(self, logits_NC: Tensor) -> Tensor:
        return logits_NC.double().clamp(FLOOR, -FLOOR)

    def probabilities(self, logits_NC: Tensor) -> Tensor:
        return logits_NC.double().sigmoid()

    def right(self, probs_NC: Tensor, y_NC: Tensor, thresholds_C: Tensor | None = None) -> Tensor:
        """F1 of each row's set of classes; 1 where none is true and none is said."""
        said_NC = probs_NC >= (0.5 if thresholds_C is None else thresholds_C)
        both_N = (said_NC & (y_NC > 0)).sum(1)
        return torch.where(said_NC.sum(1) + y_NC.sum(1) == 0, 1.0, 2 * both_N / (said_NC.sum(1) + y_NC.sum(1)).clamp_min(1)).double()

    def merit(self, logits_NC: Tensor, y_NC: Tensor) -> float:
        """Mean average precision over the classes that have a positive row, less a share of the log loss."""
        loss = F.binary_cross_entropy_with_logits(logits_NC.double(), y_NC.double())
        there = y_NC.sum(0) > 0
        return float(average_precision(logits_NC.T[there], y_NC.T[there].bool()) - 0.3 * loss)

    def each(self, logits_NC: Tensor, y_NC: Tensor) -> Tensor:
        """The mean log-probability of the truth in each row, (N,): average precision has no rows."""
        return -F.binary_cross_entropy_with_logits(logits_NC.double(), y_NC.double(), reduction="none").mean(1)

    def strata(self, y_NC: Tensor) -> list[int]:
        """The rarest class of each row, so that rare classes are spread over the folds; -1 for a row without any."""
        order = y_NC.sum(0).argsort(stable=True)
        ranked_NC = y_NC[:, order] > 0
        first_N = ranked_NC.int().argmax(1)
        return torch.where(ranked_NC.any(1), order[first_N], -1).tolist()


Kind = OneOf | AnyOf


def best_thresholds(probs_NC: Tensor, y_NC: Tensor, precision: float | None = None) -> Tensor:
    """For each class the threshold of the highest F1 on held-out rows, or the lowest one that reaches a precision.

    A class without a positive row takes the median of the others (0.5 where there is none); one that never reaches the precision is
    never said: its threshold is above 1.
    """
    found: list[float | None] = []
    for p_N, y_N in zip(probs_NC.T, y_NC.T, strict=True):
        if not y_N.any():
            found.append(None)
            continue
        order = p_N.argsort(descending=True, stable=True)
        hits, k = (y_N[order] > 0).double().cumsum(0), torch.arange(1, len(order) + 1)
        last = torch.cat([p_N[order][1:] < p_N[order][:-1], torch.tensor([True])])  # rows of equal probability go together
        if precision is None:
            value = torch.where(last, 2 * hits / (k + y_N.sum()), -1.0)
            at = int(value.argmax())
            below = p_N[order][at + 1] if at + 1 < len(order) else torch.zeros(())
            found.append(float((p_N[order][at] + below) / 2))  # between the last row that is said and the next
        else:
            fine = (last & (hits / k >= precision)).nonzero()
            found.append(float(p_N[order][int(fine[-1])]) if len(fine) else 1.1)
    known = [t for t in found if t is not None]
    rest = sorted(known)[len(known) // 2] if known else 0.5
    return torch.tensor([rest if t is None else t for t in found], dtype=torch.float64)


def kind_of(y: Tensor) -> Kind:
    return OneOf() if y.ndim == 1 else AnyOf()


def class_counts(y: Tensor, classes: int) -> Sequence[int]:
    """Labelled rows of each class."""
    return (torch.bincount(y, minlength=classes) if y.ndim == 1 else y.sum(0)).tolist()
