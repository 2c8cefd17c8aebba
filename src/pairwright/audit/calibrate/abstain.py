"""Abstention at a stated risk: the confidence below which a classifier should say nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from pairwright.core.card import Card

CARD = Card(
    name="abstention with a bound on the risk",
    symbol="Abstain",
    paper="extra:selective-risk",
    title="Selective Classification for Deep Neural Networks",
    year=2017,
    arxiv="1705.08500",
    where="section 3 (selection with guaranteed risk), by a fixed sequence of binomial tests instead of a binary search",
    equation="theta = confidence of the k-th surest row, k the last of k_1 < k_2 < … with P(Bin(k_j, risk) <= errors among the k_j surest) "
    "<= delta for all j up to it",
    says="Answer only where the classifier is sure enough that its error rate stays under a wanted risk, and prove it from held-out rows.",
    needs="confidence of held-out rows, and whether each answer was right",
    cost="one sort",
    use_when="a wrong answer costs more than none; 'none of these' has to be a possible answer",
    not_when="fewer than log(delta) / log(1 - risk) held-out rows (22 at risk 0.1 and delta 0.1): nothing can be promised; inputs of "
    "another distribution than the held-out rows",
    aliases=("selective classification", "reject option", "selective risk", "none of these", "risk control"),
    neighbours=("audit/calibrate/temperature",),
    deviations=(
        "coverages are tested from small to large, each at level delta, up to the first failure, in place of a binary search whose bound is"
        " divided by the number of its steps: valid for the same reason, and it answers more",
    ),
    checks=("mechanism:abstain",),
)


@dataclass
class Abstain:
    """Choose the confidence threshold that keeps the error rate of the answers that are given under a wanted risk.

    risk: largest error rate among the answers. delta: chance that the promise is broken, over draws of the held-out rows. steps: how many
    coverages are tried, evenly spaced. `fit` takes the confidence (N,) of held-out rows and whether they were right (N,), and learns
    threshold_ (rows at or above it are answered; inf where nothing can be promised), coverage_ and errors_, the share of the held-out
    rows that are answered, and how many of those are wrong.

    >>> a = Abstain(risk=0.2).fit([0.9] * 30 + [0.1] * 30, [True] * 30 + [False] * 30)
    >>> (a.threshold_, a.coverage_, a.errors_)
    (0.9, 0.5, 0)
    """

    risk: float = 0.05
    delta: float = 0.1
    steps: int = 20

    def fit(self, confidence_N: Any, correct_N: Any) -> Abstain:
        for name, value in (("risk", self.risk), ("delta", self.delta)):
            if not 0 < value < 1:
                raise ValueError(f"{name} lies between 0 and 1, got {value}")
        if self.steps < 1:
            raise ValueError(f"steps is 1 or more, got {self.steps}")
        sure_N = torch.as_tensor(confidence_N, dtype=torch.float64)
        right_N = torch.as_tensor(correct_N).bool()
        if sure_N.ndim != 1 or sure_N.shape != right_N.shape:
            raise ValueError(f"one confidence and one truth for each row, got shapes {tuple(sure_N.shape)} and {tuple(right_N.shape)}")
        if torch.isnan(sure_N).any():
            raise ValueError("a confidence is NaN: mend the scores first")
        order = sure_N.argsort(descending=True, stable=True)
        sure_N, wrong_N = sure_N[order], (~right_N[order]).long().cumsum(0)
        self.threshold_, self.coverage_, self.errors_ = math.inf, 0.0, 0
        N = len(sure_N)
        fewest = math.ceil(math.log(self.delta) / math.log1p(-self.risk))
        for step in range(1, self.steps + 1):
            k = math.ceil(N * step / self.steps)
            if k < fewest:
                continue
            k = int((sure_N >= sure_N[k - 1]).sum())  # rows of equal confidence are answered together
            errors = int(wrong_N[k - 1])
            if binomial_tail(errors, k, self.risk) > self.delta:
                break
            self.threshold_, self.coverage_, self.errors_ = float(sure_N[k - 1]), k / N, errors
        return self

    def answers(self, confidence_N: Any) -> torch.Tensor:
        """Which rows (N,) are sure enough to be answered."""
        if not hasattr(self, "threshold_"):
            raise ValueError("this Abstain is not fitted yet: call fit(confidence, correct) first")
        return torch.as_tensor(confidence_N, dtype=torch.float64) >= self.threshold_


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(Bin(n, p) <= k)."""
    start, odds = math.lgamma(n + 1), (math.log(p), math.log1p(-p))
    each = (start - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * odds[0] + (n - i) * odds[1] for i in range(k + 1))
    return min(1.0, math.fsum(map(math.exp, each)))
