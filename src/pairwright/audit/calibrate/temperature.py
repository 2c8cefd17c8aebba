"""Temperature scaling: one number that makes a classifier's probabilities as sure as it is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.metrics.inputs import scores_and_labels

CARD = Card(
    name="temperature scaling",
    symbol="Temperature",
    paper="extra:calibration",
    title="On Calibration of Modern Neural Networks",
    year=2017,
    arxiv="1706.04599",
    where="section 4.2, equation 9",
    equation="p = softmax(logits / T),  T = argmin mean_n -log p_n(y_n), convex in 1 / T",
    says="Most of a network's miscalibration is one factor on its logits; a single number fitted on held-out rows removes it, and no "
    "answer changes.",
    needs="logits of rows that the classifier has not learned from, and their labels",
    cost="about 60 passes over the logits",
    use_when="probabilities are shown or thresholded; from some 20 held-out rows on",
    not_when="single classes are wrong in their own ways (vector scaling with many rows); logits of training rows (T is too small then)",
    aliases=("temperature", "calibrator", "Platt scaling with one parameter"),
    also=("clip-holistic-robustness",),
    neighbours=("audit/calibrate/abstain", "metrics/calibration_error"),
    deviations=(
        "smooth spreads a part of each label over all classes, as Platt's targets do: without it the optimum is T = 0 where every row is "
        "right, which few rows often are. 0, the default, is the paper's",
        "a row whose own class has the logit -inf is left out: no temperature can help it",
    ),
    checks=("mechanism:temperature",),
)

_RANGE = (-16.0, 16.0)
"""Natural logarithm of 1 / T times the spread of the logits, within which the optimum is looked for."""
_FLOOR = 1e4  # stands in for -inf, in units of the spread


@dataclass
class Temperature:
    """Calibrate class scores with one temperature: probabilities become as sure as the answers are right, and no answer changes.

    smooth in [0, 1): share of each label that is spread evenly over all classes that the classifier knows. `fit` learns temperature_ on
    held-out logits (N, C) and labels; `apply` gives probabilities.

    >>> import torch
    >>> t = Temperature().fit(torch.tensor([[4.0, 0.0]] * 4), [0, 0, 0, 1])
    >>> [round(p, 2) for p in t.apply(torch.tensor([[4.0, 0.0]]))[0].tolist()]
    [0.75, 0.25]
    """

    smooth: float = 0.0

    def fit(self, logits_NC: Any, y_N: Any) -> Temperature:
        if not 0 <= self.smooth < 1:
            raise ValueError(f"smooth is a share in [0, 1), got {self.smooth}")
        logits_NC, y_N = scores_and_labels(logits_NC, y_N)
        keep_N = logits_NC.gather(1, y_N[:, None]).squeeze(1) > -torch.inf
        if not keep_N.any():
            raise ValueError("no row gives its own class a chance (a logit above -inf): a temperature cannot be fitted")
        x_NC, y_N = logits_NC[keep_N].double(), y_N[keep_N]
        x_NC = x_NC - x_NC.max(1, keepdim=True).values
        finite = x_NC[x_NC > -torch.inf]
        spread = float(finite.std()) if finite.numel() > 1 else 0.0
        if spread < 1e-12:  # all classes alike: every temperature is the same
            self.temperature_ = 1.0
            return self
        there_NC = x_NC > -torch.inf
        x_NC = (x_NC / spread).clamp_min(-_FLOOR)
        even_N = (x_NC * there_NC).sum(1) / there_NC.sum(1)
        wanted_N = (1 - self.smooth) * x_NC.gather(1, y_N[:, None]).squeeze(1) + self.smooth * even_N
        low, high = _RANGE
        for _ in range(60):  # the slope of the loss in 1 / T rises, so halving finds where it is zero
            middle = (low + high) / 2
            slope = ((torch.softmax(x_NC * torch.tensor(middle).exp(), 1) * x_NC).sum(1) - wanted_N).mean()
            low, high = (middle, high) if slope < 0 else (low, middle)
        self.temperature_ = spread / float(torch.tensor((low + high) / 2).exp())
        return self

    def apply(self, logits_NC: Any) -> Float[Tensor, "N C"]:
        """Calibrated probabilities of logits (N, C)."""
        if not hasattr(self, "temperature_"):
            raise ValueError("this Temperature is not fitted yet: call fit(logits, labels) first")
        return torch.softmax(torch.as_tensor(logits_NC).double() / self.temperature_, 1)
