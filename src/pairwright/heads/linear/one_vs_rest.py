"""One-vs-rest logistic regression beside zero-shot: any number of classes for an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features, check_finite, check_same_encoder
from pairwright.heads import inputs

CARD = Card(
    name="one-vs-rest logistic regression with a zero-shot prior",
    symbol="OneVsRest",
    paper="extra:linear-probe",
    title="The Regression Analysis of Binary Sequences",
    year=1958,
    arxiv="",
    where="the logistic model, one for each class, with the zero-shot score as a further input shared by all classes",
    equation="p_c = sigmoid(a s_c + (z - m) . v_c + b_c),  s_c = standardised z . W_c;  V, b, a minimise the log loss + l2/2 |V|^2 + "
    "1/2 (|b - b0|^2 + (a - 1)^2)",
    says="Presence of each class is a question of its own; a few labels correct what the class text says about it.",
    needs="labelled features, one class or any number for each row + class text",
    cost="one eigendecomposition D x D, and tens of passes over the features (L-BFGS)",
    use_when="an image may show several classes, or none of them",
    not_when="exactly one class for each image: a softmax head (gda, logistic) uses that knowledge",
    aliases=("multi-label classifier", "binary relevance", "one versus rest", "sigmoid probe", "multi-hot"),
    neighbours=("heads/linear/logistic", "heads/linear/gda"),
    deviations=(
        "biases and the weight of zero-shot have a weak Gaussian prior (variance 1, around the log-odds of the class's share and 1): so "
        " a class with only positive or only negative rows has an optimum",
    ),
    checks=("mechanism:one_vs_rest",),
)


@dataclass
class OneVsRest:
    """Multi-label classifier: one logistic regression for each class on features, with the zero-shot score as prior knowledge.

    l2: weight of the penalty on the weights of features; large leaves zero-shot with a bias for each class. text: use the zero-shot score.
    Labels are (N,) or multi-hot (N, C). Logits are log-odds: sigmoid gives the probability of each class by itself.
    """

    l2: float = 1.0
    text: bool = True

    needs: ClassVar[frozenset[str]] = frozenset({"train", "text"})
    neutral: ClassVar[dict[str, float] | None] = None
    multi_hot: ClassVar[bool] = True

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> OneVsRest:
        text = inputs.class_text_of(text, self)
        if not self.l2 > 0:
            raise ValueError(f"l2 must be positive (separable classes have no optimum without a penalty), got {self.l2}")
        y_NC = self._labels(train, text)
        z_ND = train.z_ND.double()
        self.encoder_, self.text_ = train.encoder or text.encoder, text.W_CD
        centre_D = z_ND.mean(0)
        zero_NC = z_ND @ text.W_CD.double().T
        mean_C = zero_NC.mean(0)
        self.spread_ = max(float((zero_NC - mean_C).square().mean().sqrt()), 1e-6)
        s_NC = (zero_NC - mean_C) / self.spread_
        share_C = (y_NC.sum(0) + 0.5) / (len(y_NC) + 1)
        start_C = share_C.logit()
        # in these coordinates the problem is about round, and takes tens of steps, not hundreds: W = V R, R^2 near 1 / curvature
        x_ND = z_ND - centre_D
        eigen_D, axes_DD = torch.linalg.eigh(x_ND.T @ x_ND)
        root_D = (eigen_D.clamp_min(0) / 4 + self.l2).rsqrt()
        u_ND = x_ND @ (axes_DD * root_D)
        step_b, step_a = (len(z_ND) / 4 + 1) ** -0.5, (float(s_NC.square().sum()) / 4 + 1) ** -0.5
        v_CD, b_C, a = (torch.zeros(shape, dtype=torch.float64, requires_grad=True) for shape in ((len(text), len(root_D)), len(text), ()))
        free = [v_CD, b_C, a] if self.text else [v_CD, b_C]
        solver = torch.optim.LBFGS(free, max_iter=200, history_size=20, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            solver.zero_grad()
            logits_NC = u_ND @ v_CD.T + start_C + step_b * b_C + ((1 + step_a * a) * s_NC if self.text else 0.0)
            value = F.binary_cross_entropy_with_logits(logits_NC, y_NC, reduction="sum") + 0.5 * self.l2 * (root_D * v_CD).square().sum()
            value = value + 0.5 * (step_b * b_C).square().sum() + 0.5 * (step_a * a).square()
            value.backward()
            return value

        with torch.enable_grad():
            solver.step(loss)
        a, weight_CD, bias_C = 1 + step_a * a.detach(), (v_CD.detach() * root_D) @ axes_DD.T, start_C + step_b * b_C.detach()
        self.prior_ = float(a) / self.spread_ if self.text else 0.0
        self.weight_ = weight_CD.float().contiguous()
        self.bias_ = (bias_C - weight_CD @ centre_D - self.prior_ * mean_C).float()
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Log-odds of each class for rows of features (array, tensor or Features)."""
        inputs.fitted(self, "weight_")
        z_ND = inputs.rows(z_ND, self.text_.shape[1], self.encoder_, self)
        return z_ND @ self.weight_.T + self.prior_ * (z_ND @ self.text_.T) + self.bias_

    def _labels(self, train: Features | None, text: ClassText) -> Tensor:
        if train is None or train.y_N is None or train.y_N.ndim == 1:
            _, y_N, classes = inputs.labelled(train, text, self)
            y_NC = F.one_hot(y_N, classes)
        else:
            check_finite(train.z_ND)
            check_same_encoder(train, text)
            y_NC = train.y_N
            if y_NC.shape[1] != len(text) or not ((y_NC == 0) | (y_NC == 1)).all():
                raise ValueError(f"multi-hot labels hold 0 and 1 for each of the {len(text)} classes; these have shape {tuple(y_NC.shape)}")
        if len(y_NC) == 0:
            raise ValueError("one-vs-rest needs at least one labelled row: with none, use ZeroShot")
        return y_NC.double()
