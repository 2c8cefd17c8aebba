"""Linear probe: multinomial logistic regression on cached features."""

from __future__ import annotations

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
    name="logistic regression (linear probe)",
    symbol="Logistic",
    paper="extra:linear-probe",
    title="Learning Transferable Visual Models From Natural Language Supervision",
    year=2021,
    arxiv="2103.00020",
    where="section 3.2 and appendix A.3",
    equation="min_{W,b} sum_n -log softmax_{y_n}(z_n W^T + b) + l2/2 |W|^2",
    says="A linear classifier on frozen features shows how good they are; zero-shot CLIP matches one trained on 4 images per class.",
    needs="labelled features; no text",
    cost="tens to hundreds of passes over the features (Newton steps with conjugate gradients)",
    use_when="plenty of labels (from 16 a class), or class names that say nothing to the model",
    not_when="one to four shots with good class names: heads that keep the text (gda, tip_adapter) are better",
    aliases=("linear probe", "logistic regression", "softmax regression", "linear classifier"),
    neighbours=("heads/linear/gda", "heads/cache/tip_adapter"),
    deviations=(
        "without val, l2 follows a rule from the training rows; the paper sweeps it on val. Effect: within 3 points of the best on digits",
        "rows are unit length and centred; the paper's are as the encoder made them. The bias absorbs the centring",
    ),
    checks=("mechanism:logistic",),
)

GRID = tuple(10 ** (i / 2) for i in range(4, -5, -1))  # multiples of the rule's l2 that are tried on val, strongest first


@dataclass
class Logistic:
    """Linear probe: multinomial logistic regression with an L2 penalty on the weights (not on the bias), a closed set of labels.

    l2: weight of the penalty in sum_n CE_n + l2/2 |W|^2 (scikit-learn's C is 1 / l2). None needs no validation: weights are given the
    Gaussian prior whose variance is that of the optimal weights of round Gaussian classes with this within- and between-class spread,
    l2 = tr(S_w)^2 / (D tr(S_b)) (`default_l2`). None with `val` sweeps 9 multiples (1/100 to 100) of that and keeps the best val accuracy
    (then the best log-likelihood). max_iter: most Newton steps.

    Text is used only to know the classes: this head does not lean on zero-shot, so it has no limit in which it becomes it. A class
    without a training row is never predicted: its logit is -inf. Converges to the unique optimum; the same for any order of the rows.
    """

    l2: float | None = None
    max_iter: int = 100

    needs: ClassVar[frozenset[str]] = frozenset({"train"})
    neutral: ClassVar[dict[str, float] | None] = None

    def fit(self, train: Features | None, text: ClassText | None = None, *, val: Features | None = None) -> Logistic:
        train, y_N, classes = inputs.labelled(train, text, self)
        if len(train) == 0:
            raise ValueError("a linear probe needs at least one labelled row: with none, use ZeroShot")
        if self.l2 is not None and not self.l2 > 0:
            raise ValueError(f"l2 must be positive (a probe without penalty has no optimum on separable rows), got {self.l2}")
        self.encoder_ = train.encoder
        z_ND = train.z_ND.double()
        seen, local_N = torch.unique(y_N, return_inverse=True)
        centre_D = z_ND.mean(0)
        problem = _Problem(z_ND - centre_D, local_N, len(seen), self.max_iter)
        rule = default_l2(z_ND, local_N)
        if self.l2 is not None or val is None:
            self.l2_ = rule if self.l2 is None else self.l2
            best = problem.solve(self.l2_)
        else:
            val, y_V, _ = inputs.labelled(val, text, self)
            self.l2_, best = self._sweep(problem, [rule * g for g in GRID], val.z_ND.double() - centre_D, seen, y_V, classes)
        weight_SD, bias_S = best
        self.weight_ = torch.zeros(classes, z_ND.shape[1])
        self.bias_ = torch.full((classes,), -torch.inf)
        self.weight_[seen] = weight_SD.float()
        self.bias_[seen] = (bias_S - weight_SD @ centre_D).float()
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Class scores of rows of features (array, tensor or Features); -inf for classes without training rows."""
        inputs.fitted(self, "weight_")
        return inputs.rows(z_ND, self.weight_.shape[1], self.encoder_, self) @ self.weight_.T + self.bias_

    @staticmethod
    def _sweep(
        problem: _Problem, grid: list[float], z_VD: Tensor, seen: Tensor, y_V: Tensor, classes: int
    ) -> tuple[float, tuple[Tensor, Tensor]]:
        found, start = [], None
        for l2 in grid:
            start = problem.solve(l2, start)
            logits_VC = z_VD.new_full((len(z_VD), classes), -1e4)  # -inf would hide the likelihood of all other rows
            logits_VC[:, seen] = z_VD @ start[0].T + start[1]
            likelihood = logits_VC.log_softmax(1).gather(1, y_V[:, None]).mean()
            found.append((inputs.accuracy(logits_VC, y_V), float(likelihood), l2, start))
        *_, l2, best = max(found, key=lambda f: f[:3])
        return l2, best


def default_l2(z_ND: Float[Tensor, "N D"], y_N: Tensor) -> float:
    """The validation-free penalty l2 = tr(S_w)^2 / (D tr(S_b)), from unbiased within- and between-class spreads.

    For classes N(m_c, s^2 I) the optimal weights are m_c / s^2; over classes an entry of them has the variance (tr(S_b)/D) / s^4 with
    s^2 = tr(S_w)/D, and 1 / l2 is the prior variance of a weight. Where no class has two rows, both spreads are taken as half of the
    total. S_b is at least a twentieth of the total spread, so that hopeless problems are not shrunk to nothing.
    """
    found = spread(z_ND, y_N)
    within = found.total / 2 if found.within is None else found.within
    between = max(found.total - within, found.total / 20)
    return max(within, 1e-6) ** 2 / (z_ND.shape[1] * max(between, 1e-6))


class _Problem:
    """The convex problem in coordinates in which it is round: W = V R with R = (X^T X / S + l2 I)^(-1/2), S classes.

    Newton's method; each step solves for its direction by conjugate gradients. Values and gradients are float64 and fix the optimum;
    directions need only be good, so the products for them are float32.
    """

    def __init__(self, x_ND: Tensor, y_N: Tensor, classes: int, max_iter: int) -> None:
        self.x_ND, self.y_N, self.classes, self.max_iter = x_ND, y_N, classes, max_iter
        self.row_N = torch.arange(len(x_ND))
        self.eigen_D, self.axes_DD = torch.linalg.eigh(x_ND.T @ x_ND / classes)

    def solve(self, l2: float, start: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Weights (S, D) and mean-zero biases (S,), from zero or from the solution of a neighbouring l2."""
        N, D = self.x_ND.shape
        root_D = (self.eigen_D.clamp_min(0) + l2).rsqrt()
        u_NE = torch.cat([self.x_ND @ (self.axes_DD * root_D), self.x_ND.new_ones(N, 1)], 1)  # the last column carries the bias
        ridge_E = torch.cat([l2 * root_D.square(), torch.zeros(1, dtype=torch.float64)])
        theta_SE = torch.zeros(self.classes, D + 1, dtype=torch.float64)
        if start is not None:
            theta_SE = torch.cat([start[0] @ self.axes_DD / root_D, start[1][:, None]], 1)
        half_NE, half_E = u_NE.float(), ridge_E.float()
        value, p_NS = self._value(theta_SE, u_NE, ridge_E)
        for _ in range(self.max_iter):
            slope_NS = p_NS.clone()
            slope_NS[self.row_N, self.y_N] -= 1
            slope_SE = slope_NS.T @ u_NE + ridge_E * theta_SE
            if slope_SE.abs().max() <= 1e-8 * N:
                break
            step_SE = _direction(slope_SE.float(), p_NS.float(), half_NE, half_E).double()
            gain, length = (slope_SE * step_SE).sum(), 1.0
            while length > 1e-8:
                trial_SE = theta_SE + length * step_SE
                new_value, p_NS = self._value(trial_SE, u_NE, ridge_E)
                if new_value <= value + 1e-4 * length * gain:
                    break
                length /= 2
            else:  # no lower value at this precision: this is the optimum
                break
            theta_SE, value = trial_SE, new_value
        bias_S = theta_SE[:, D]
        return (theta_SE[:, :D] * root_D) @ self.axes_DD.T, bias_S - bias_S.mean()

    def _value(self, theta_SE: Tensor, u_NE: Tensor, ridge_E: Tensor) -> tuple[Tensor, Tensor]:
        """Objective and class probabilities (N, S)."""
        log_p = (u_NE @ theta_SE.T).log_softmax(1)
        return -log_p[self.row_N, self.y_N].sum() + 0.5 * (ridge_E * theta_SE.square()).sum(), log_p.exp_()


def _direction(slope_SE: Tensor, p_NS: Tensor, u_NE: Tensor, ridge_E: Tensor, most: int = 200) -> Tensor:
    """Newton direction -H^-1 slope by conjugate gradients, as exact as the distance to the optimum makes worth while."""
    length = slope_SE.norm()
    enough = length * float((length / len(u_NE)).sqrt().clamp(1e-3, 0.25))
    x_SE, residual_SE = torch.zeros_like(slope_SE), -slope_SE
    d_SE, square = residual_SE, residual_SE.square().sum()
    for _ in range(most):
        a_NS = u_NE @ d_SE.T
        a_NS = p_NS * (a_NS - (p_NS * a_NS).sum(1, keepdim=True))
        curved_SE = a_NS.T @ u_NE + ridge_E * d_SE
        curvature = (d_SE * curved_SE).sum()
        if curvature <= 0:  # rounding, along the shift of all biases that changes nothing
            break
        x_SE = x_SE + square / curvature * d_SE
        residual_SE = residual_SE - square / curvature * curved_SE
        new_square = residual_SE.square().sum()
        if new_square.sqrt() <= enough:
            break
        d_SE, square = residual_SE + new_square / square * d_SE, new_square
    return x_SE if x_SE.any() else -slope_SE
