"""ProKeR: kernel ridge regression of what zero-shot gets wrong, a proximal step from CLIP."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features
from pairwright.heads import inputs

CARD = Card(
    name="ProKeR",
    symbol="ProKeR",
    paper="proker",
    title="ProKeR: A Kernel Perspective on Few-Shot Adaptation of Large Vision-Language Models",
    year=2025,
    arxiv="2501.11175",
    where="section 4, the closed form of the proximal problem",
    equation="logits = scale (z W^T + strength k(z, K) (k(K, K) + ridge I)^-1 (Y - K W^T)),  k(a, b) = exp(-beta (1 - a . b))",
    says="Tip-Adapter is a local smoother that lacks global information; ridge regression in the same kernel's space, pulled to "
    "zero-shot, beats it.",
    needs="few labelled features + class text",
    cost="one Cholesky factorisation of the N x N kernel (N^3 / 3; 16,000 rows need 1 GB and a quarter of a minute); then that of a cache",
    use_when="few shots of which many look alike (near duplicates, unequal numbers a class): the solve discounts copies, a vote counts "
    "them",
    not_when="more than about 20,000 shots (use gda); wrong labels among the shots with a small ridge",
    aliases=("proximal kernel ridge regression", "kernel ridge", "RKHS adapter", "KRR"),
    neighbours=("heads/cache/tip_adapter", "heads/linear/gda"),
    deviations=(
        "strength=None multiplies the correction by the ridge, as the released code does (it solves (K / ridge + I) a = Y - f0); "
        "strength=1 is the textbook proximal step. The published settings belong to the former. On simulated features without val, 1, 4 "
        "and 16 shots: None .62 .64 .68, 1 .65 .73 .85; with a common mean as CLIP's features have it: None .62 .67 .77, 1 .43 .64 .83",
        "scores are multiplied by the model's logit scale, so that strength 0 is zero-shot; decisions do not change",
        "with val: a log grid of 6 betas x 8 ridges; the released one is linear, its range set for each data set",
    ),
    checks=("mechanism:proker",),
)

RELEASED = ((1, 3.0, 0.05), (2, 2.6, 0.05), (4, 1.5, 0.05), (8, 1.66, 0.07), (16, 1.7, 0.1))
"""(shots, beta, ridge): chosen by the authors on ImageNet's val rows, and used by them for every data set without val."""
BETAS = tuple(0.5 * 2.0**i for i in range(6))
RIDGES = tuple(0.01 * 10 ** (i / 2) for i in range(8))
_EXACT = 8192  # up to so many rows the solve is float64


@dataclass
class ProKeR:
    """Few-shot classifier without training: zero-shot plus kernel ridge regression on its residuals.

    beta: sharpness of the kernel. ridge: lambda of the ridge regression. None takes the values that the authors published for this number
    of shots (`RELEASED`, no validation needed), or chooses on `val` where that is given; the ones used are beta_ and ridge_. strength:
    weight of the correction, 0 is zero-shot, 1 the textbook proximal step, None the released code's, which is equal to the ridge. A class
    without shots keeps its text, less what the shots of others say against it. Without any shots this is zero-shot.
    """

    beta: float | None = None
    ridge: float | None = None
    strength: float | None = None

    needs: ClassVar[frozenset[str]] = frozenset({"train", "text"})
    neutral: ClassVar[dict[str, float] | None] = {"strength": 0.0}

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> ProKeR:
        text = inputs.class_text_of(text, self)
        train, y_N, classes = inputs.labelled(train, text, self)
        if self.ridge is not None and not self.ridge > 0:
            raise ValueError(f"ridge must be positive, got {self.ridge}: use strength=0 to switch the correction off")
        self.text_, self.encoder_, self.scale_ = text.W_CD, train.encoder or text.encoder, text.scale
        self.keys_ = train.z_ND
        wanted_NC = torch.nn.functional.one_hot(y_N, classes) - train.z_ND @ self.text_.T
        shots = len(train) / max(len(y_N.unique()), 1)
        _, beta, ridge = min(RELEASED, key=lambda r: abs(math.log(r[0] / max(shots, 1))))
        if val is None or len(train) == 0:
            self.beta_ = beta if self.beta is None else self.beta
            self.ridge_ = ridge if self.ridge is None else self.ridge
        else:
            self._tune(wanted_NC, *inputs.labelled(val, text, self)[:2])
        self.dual_ = self._weight(self.ridge_) * solve(self.keys_, wanted_NC, self.beta_, [self.ridge_])[0]
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Class scores of rows of features (array, tensor or Features)."""
        inputs.fitted(self, "dual_")
        z_ND = inputs.rows(z_ND, self.text_.shape[1], self.encoder_, self)
        return self.scale_ * (z_ND @ self.text_.T + kernel(z_ND, self.keys_, self.beta_) @ self.dual_)

    def _weight(self, ridge: float) -> float:
        return ridge if self.strength is None else self.strength

    def _tune(self, wanted_NC: Tensor, val: Features, y_V: Tensor) -> None:
        zero_shot, found = val.z_ND @ self.text_.T, []
        ridges = RIDGES if self.ridge is None else (self.ridge,)
        for beta in BETAS if self.beta is None else (self.beta,):
            k_VK = kernel(val.z_ND, self.keys_, beta)
            for ridge, dual_KC in zip(ridges, solve(self.keys_, wanted_NC, beta, ridges)):
                accuracy = inputs.accuracy(zero_shot + self._weight(ridge) * k_VK @ dual_KC, y_V)
                found.append((accuracy, -beta, -ridge))  # among equals the smoothest kernel, and the smallest released correction
        _, minus_beta, minus_ridge = max(found)
        self.beta_, self.ridge_ = -minus_beta, -minus_ridge


def kernel(a_ND: Tensor, b_KD: Tensor, beta: float) -> Float[Tensor, "N K"]:
    """exp(-beta (1 - a . b)): a Gaussian kernel of unit rows, since |a - b|^2 = 2 (1 - a . b)."""
    return torch.exp(-beta * (1 - a_ND @ b_KD.T))


def solve(keys_KD: Tensor, wanted_KC: Tensor, beta: float, ridges: Any) -> list[Float[Tensor, "K C"]]:
    """(k(K, K) + ridge I)^-1 wanted for each ridge, in float64 up to 8,192 rows."""
    dtype = torch.float64 if len(keys_KD) <= _EXACT else torch.float32
    gram_KK = kernel(keys_KD.to(dtype), keys_KD.to(dtype), beta)
    found, added = [], 0.0
    for ridge in ridges:
        gram_KK.diagonal().add_(ridge - added)
        added = ridge
        found.append(torch.cholesky_solve(wanted_KC.to(dtype), torch.linalg.cholesky(gram_KK)).float().contiguous())
    return found
