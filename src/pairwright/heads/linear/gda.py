"""GDA: Gaussian discriminant analysis on features, blended with zero-shot."""

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
from pairwright.heads.linear.spread import spread

CARD = Card(
    name="GDA (a hard-to-beat baseline)",
    symbol="GDA",
    paper="gda-clip",
    title="A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation",
    year=2024,
    arxiv="2402.04087",
    where="section 3.2, equations 4 to 7; new classes: section 3.3",
    equation="logits = scale z W^T + alpha (z P m_c - m_c^T P m_c / 2 - log C),  P = D ((N-1) S + tr(S) I)^-1,  S within-class covariance",
    says="A closed-form classifier from class means and one shrunk covariance, added to zero-shot, matches trained few-shot methods.",
    needs="few labelled features + class text (classes without any labelled row are welcome)",
    cost="one D x D Cholesky factorisation; then that of a linear classifier",
    use_when="2 or more shots, unbalanced classes too; images vary along directions that all classes share (style, background, framing)",
    not_when="one shot per class (it becomes nearest class mean); classes made of several distinct looks (tip_adapter)",
    aliases=(
        "LDA",
        "linear discriminant analysis",
        "Gaussian discriminant",
        "hard-to-beat baseline",
        "training-free linear probe",
        "base-to-new",
    ),
    neighbours=("heads/cache/tip_adapter", "heads/linear/logistic", "heads/transport/gda_em"),
    deviations=(
        "without val, alpha follows a rule (see default_alpha); the paper always searches it on val. On simulated features "
        "with 2 to 16 shots it stays 0 to 11 points below the best alpha, most where class text is very poor: give val if you have it",
        "no two rows of one class: the total variance, as a round covariance, stands in for the within-class one, which the paper makes "
        "from augmented copies of the shots",
        "new classes share the covariance of the labelled rows; the released script gives them one of their own, from each text's 64 rows "
        "around it. Measured on simulated features with a shared within-class variation: that one falls 20 points below zero-shot on new "
        "classes, the shared one gains 30 (see the check), and scores of old and new classes stay comparable",
    ),
    checks=("mechanism:gda", "mechanism:gda_new_classes"),
)

ALPHAS = (0.0, *(10 ** (i / 2 - 4) for i in range(13)))
_TEXTS = 16  # how often the text of a new class counts beside its neighbours


@dataclass
class GDA:
    """Few-shot linear classifier in closed form: class means and one shared, shrunk covariance, added to zero-shot.

    alpha: weight of the Gaussian part (0 = zero-shot). None needs no validation: `default_alpha` sets it from the training rows; None
    with `val` chooses it on that (smallest among equals, grid from 1e-4 to 100 and 0). The one used is alpha_. Class priors are uniform,
    as in the paper. Without any shots this is zero-shot. Solved in float64.

    A class that has text but no shots (a new class) gets its mean from the `near` labelled rows, of whatever class, that are nearest to
    its text, and from the text itself; 0 gives it the mean of all rows, so that its text alone decides.
    """

    alpha: float | None = None
    near: int = 64

    needs: ClassVar[frozenset[str]] = frozenset({"train", "text"})
    neutral: ClassVar[dict[str, float] | None] = {"alpha": 0.0}

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> GDA:
        text = inputs.class_text_of(text, self)
        train, y_N, _ = inputs.labelled(train, text, self)
        self.text_, self.encoder_, self.scale_ = text.W_CD, train.encoder or text.encoder, text.scale
        mean_CD = class_means(train.z_ND.double(), y_N, text.W_CD.double(), self.near)
        self.weight_, self.bias_ = gaussian(train.z_ND, y_N, mean_CD)
        if self.alpha is not None or val is None:
            self.alpha_ = default_alpha(train.z_ND, y_N) if self.alpha is None else self.alpha
        else:
            val, y_V, _ = inputs.labelled(val, text, self)
            zero_shot, gaussian_VC = self._parts(val.z_ND)
            self.alpha_ = -max((inputs.accuracy(zero_shot + a * gaussian_VC, y_V), -a) for a in ALPHAS)[1]
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Class scores of rows of features (array, tensor or Features)."""
        inputs.fitted(self, "weight_")
        zero_shot, gaussian_NC = self._parts(inputs.rows(z_ND, self.text_.shape[1], self.encoder_, self))
        return zero_shot + self.alpha_ * gaussian_NC

    def _parts(self, z_ND: Tensor) -> tuple[Tensor, Tensor]:
        return self.scale_ * z_ND @ self.text_.T, z_ND @ self.weight_.T + self.bias_


def default_alpha(z_ND: Float[Tensor, "N D"], y_N: Tensor) -> float:
    """The validation-free weight (N / D) r^2 of the Gaussian part.

    P is about D / N times the inverse covariance, so N / D makes the Gaussian part a log-likelihood. It is then trusted as far as class
    means can be trusted: r is the share of their spread that is not sampling noise (about 0.3 at 2 shots, 0.7 at 16, towards 1 with
    more). With one row a class that cannot be seen, and 0.1 stands in for r^2.
    """
    if len(z_ND) == 0:
        return 0.0
    r = spread(z_ND, y_N).reliability
    return len(z_ND) / z_ND.shape[1] * (0.1 if r is None else r**2)


def class_means(z_ND: Float[Tensor, "N D"], y_N: Tensor, text_CD: Float[Tensor, "C D"], near: int) -> Float[Tensor, "C D"]:
    """Mean row of each class. A class without rows: the mean of the `near` rows nearest to its text and of 16 copies of that text."""
    sum_CD, count_C = inputs.class_sums(z_ND, y_N, len(text_CD))
    new_C = count_C == 0
    if len(z_ND) and new_C.any():
        near = min(near, len(z_ND))
        nearest = (text_CD[new_C] @ z_ND.T).topk(near).indices
        sum_CD[new_C] = z_ND[nearest].sum(1) + _TEXTS * text_CD[new_C] if near else z_ND.mean(0)
        count_C[new_C] = near + _TEXTS if near else 1
    return sum_CD / count_C.clamp_min(1)[:, None]


def gaussian(z_ND: Float[Tensor, "N D"], y_N: Tensor, mean_CD: Float[Tensor, "C D"]) -> tuple[Float[Tensor, "C D"], Float[Tensor, " C"]]:
    """Weights and biases of the shared-covariance Gaussian classifier with uniform priors, from rows and the means of their classes.

    Zeros where the rows carry no information (none, or all the same). Without two rows of one class the total variance, as a round
    covariance, stands in for the one inside classes.
    """
    D = z_ND.shape[1]
    z_ND = z_ND.double()
    centred_ND = z_ND - mean_CD[y_N]
    scatter_DD = centred_ND.T @ centred_ND
    if scatter_DD.trace() < 1e-9:
        total = (z_ND - z_ND.mean(0)).square().sum() if len(z_ND) else 0.0
        if total < 1e-9:
            return mean_CD.new_zeros(mean_CD.shape).float(), mean_CD.new_zeros(len(mean_CD)).float()
        scatter_DD = torch.eye(D, dtype=torch.float64, device=z_ND.device) * total / D
    weight_CD, bias_C = discriminant(mean_CD, scatter_DD, len(z_ND))
    return weight_CD.float().contiguous(), bias_C.float()


def discriminant(
    mean_CD: Float[Tensor, "C D"], scatter_DD: Float[Tensor, "D D"], N: int
) -> tuple[Float[Tensor, "C D"], Float[Tensor, " C"]]:
    """m P and -m P m / 2 - log C of Gaussian classes with P = D ((N-1) S + tr(S) I)^-1, from the scatter (N-1) S of N rows.

    P is the empirical-Bayes ridge estimator of Kubokawa and Srivastava (2008), positive definite however few rows there are.
    """
    D = mean_CD.shape[1]
    ridge_DD = scatter_DD + scatter_DD.trace() / max(N - 1, 1) * torch.eye(D, dtype=scatter_DD.dtype, device=scatter_DD.device)
    weight_CD = D * torch.cholesky_solve(mean_CD.T.contiguous(), torch.linalg.cholesky(ridge_DD)).T
    # -log C is the same for all classes; it is kept so that the value is the paper's
    return weight_CD, -0.5 * (weight_CD * mean_CD).sum(1) - math.log(len(mean_CD))
