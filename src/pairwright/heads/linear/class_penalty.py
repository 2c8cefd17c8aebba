"""CLAP: a linear probe held near the class text, each class as tightly as its text deserves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import unit
from pairwright.heads import inputs
from pairwright.heads.descent import by_content, descend, precision

CARD = Card(
    name="CLAP (class-adaptive linear probe)",
    symbol="ClassPenalty",
    paper="extra:clap",
    title="A Closer Look at the Few-Shot Adaptation of Large Vision-Language Models",
    year=2024,
    arxiv="2312.12730",
    where="section 4.2, equations 6 to 9",
    equation="min_w CE(scale z unit(w)^T, y) + strength mean_c lambda_c |scale (w_c - W_c)|^2,  lambda_c = mean zero-shot probability "
    "of class c on its own shots",
    says="With penalties set by how well zero-shot does on each class, a linear probe needs no validation set and beats adapters that "
    "use one.",
    needs="few labelled features + class text",
    cost="at most 1,500 small steps; then that of zero-shot",
    use_when="no validation rows; class names of uneven quality, 2 or more shots",
    not_when="one shot: the penalty is estimated on the row that is learned",
    aliases=("CLAP", "class adaptive linear probe", "constrained linear probe", "ZS-LP"),
    neighbours=("heads/linear/text_residual", "heads/linear/blend_probe"),
    deviations=(
        "distances are measured in logits, and strength=0.01: the released code penalises with 1 the squared distance of vectors taken "
        "as 10 long, at a scale of 100, which is the same as 0.01 here, and this way the balance with the cross-entropy holds for any "
        "scale",
        "Adam with a cosine schedule on stored features; the released code uses SGD with momentum on 20 augmented views. Effect unknown",
        "multipliers stay as first estimated, the released default; the augmented-Lagrangian update of them is not here",
        "a class without shots, which the paper has not, is held with lambda = 1",
    ),
    checks=("mechanism:class_penalty",),
)


@dataclass
class ClassPenalty:
    """Few-shot linear probe from the class text, with a penalty for leaving it that adapts to each class.

    strength: weight of the penalties (0: a text-initialised probe; very large: zero-shot). adaptive: False gives every class the mean of
    the penalties. epochs, lr: Adam with a cosine schedule, batches of 256; epochs=0 is zero-shot. max_steps: ceiling on the number of
    steps. Needs no validation, which is its point: `val` is not used. penalty_ holds the lambda of each class.
    """

    strength: float = 0.01
    adaptive: bool = True
    epochs: int = 300
    lr: float = 2e-3
    max_steps: int = 1500

    needs: ClassVar[frozenset[str]] = frozenset({"train", "text"})
    neutral: ClassVar[dict[str, float] | None] = {"epochs": 0}

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> ClassPenalty:
        text = inputs.class_text_of(text, self)
        train, y_N, classes = inputs.labelled(train, text, self)
        self.encoder_, self.scale_ = train.encoder or text.encoder, text.scale
        order = by_content(train.z_ND)
        dtype = precision(len(train), *text.W_CD.shape)
        z_ND, y_N, W_CD = train.z_ND[order].to(dtype), y_N[order], text.W_CD.to(dtype)
        penalty_C = multipliers(self.scale_ * z_ND @ W_CD.T, y_N)
        if not self.adaptive:
            penalty_C = penalty_C.mean().expand(classes).clone()
        weight_CD = W_CD.clone().requires_grad_()

        def loss(rows: Tensor) -> Tensor:
            away_C = (self.scale_ * (weight_CD - W_CD)).square().sum(1)
            return cross_entropy(self.scale_ * z_ND[rows] @ unit(weight_CD).T, y_N[rows]) + self.strength * (penalty_C * away_C).mean()

        if len(train):
            descend([weight_CD], loss, len(train), lr=self.lr, epochs=self.epochs, most_steps=self.max_steps, key="class_penalty")
        self.weight_, self.penalty_ = unit(weight_CD.detach()).float(), penalty_C.float()
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Class scores of rows of features (array, tensor or Features)."""
        inputs.fitted(self, "weight_")
        return self.scale_ * inputs.rows(z_ND, self.weight_.shape[1], self.encoder_, self) @ self.weight_.T


def multipliers(zero_shot_NC: Float[Tensor, "N C"], y_N: Tensor) -> Float[Tensor, " C"]:
    """Mean zero-shot probability of each class on its own rows; 1 where it has none."""
    own_N = zero_shot_NC.softmax(1).gather(1, y_N[:, None]).squeeze(1)
    count_C = torch.bincount(y_N, minlength=zero_shot_NC.shape[1])
    sum_C = own_N.new_zeros(zero_shot_NC.shape[1]).index_add_(0, y_N, own_N)
    return torch.where(count_C > 0, sum_C / count_C.clamp_min(1), 1.0)
