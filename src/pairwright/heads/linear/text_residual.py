"""TaskRes: class text plus a learned residual."""

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
    name="TaskRes (task residual)",
    symbol="TextResidual",
    paper="extra:taskres",
    title="Task Residual for Tuning Vision-Language Models",
    year=2023,
    arxiv="2211.10277",
    where="section 3.3, equation 4",
    equation="logits = scale z unit(W + alpha R)^T,  R (C, D) starts at 0 and is learned by cross-entropy",
    says="Adding learned residuals to fixed class text keeps CLIP's knowledge apart from the task's and beats prompts and adapters.",
    needs="few labelled features + class text",
    cost="at most 1,500 small steps; then that of zero-shot",
    use_when="the class text is a good start but not right: 2 to 16 shots",
    not_when="text that is right already, or plain wrong (training does not undo it, see the check); classes made of several looks (one "
    "vector a class)",
    aliases=("TaskRes", "task residual", "residual tuning", "text-initialised linear probe"),
    neighbours=("heads/linear/class_penalty", "heads/linear/clip_adapter", "heads/linear/blend_probe"),
    deviations=(
        "trained on stored features, without the random crops of the paper; effect unknown",
        "the base is the class text as it is given (unit rows); the paper's is not normalised, several times longer, so that the same "
        "lr turns it less. Effect unknown",
        "at most max_steps steps, which cuts the epochs short beyond 1,900 rows at 200 epochs",
    ),
    checks=("mechanism:text_residual",),
)


@dataclass
class TextResidual:
    """Few-shot linear classifier that starts at zero-shot: class text plus a residual learned by cross-entropy.

    alpha: scale of the residual (0 = zero-shot). epochs: None takes the paper's, 100 up to 4 shots a class and 200 above. lr: of Adam
    with a cosine schedule, batches of 256. max_steps: ceiling on the number of steps. All defaults are the paper's and need no
    validation; `val` is not used.
    """

    alpha: float = 0.5
    epochs: int | None = None
    lr: float = 2e-3
    max_steps: int = 1500

    needs: ClassVar[frozenset[str]] = frozenset({"train", "text"})
    neutral: ClassVar[dict[str, float] | None] = {"alpha": 0.0}

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> TextResidual:
        text = inputs.class_text_of(text, self)
        train, y_N, _ = inputs.labelled(train, text, self)
        self.encoder_, self.scale_ = train.encoder or text.encoder, text.scale
        self.weight_ = text.W_CD
        if len(train) == 0 or self.alpha == 0:
            return self
        order = by_content(train.z_ND)
        dtype = precision(len(train), *text.W_CD.shape)
        z_ND, y_N, W_CD = train.z_ND[order].to(dtype), y_N[order], text.W_CD.to(dtype)
        residual_CD = torch.zeros_like(W_CD, requires_grad=True)

        def loss(rows: Tensor) -> Tensor:
            return cross_entropy(self.scale_ * z_ND[rows] @ unit(W_CD + self.alpha * residual_CD).T, y_N[rows])

        epochs = (100 if len(train) <= 4 * len(y_N.unique()) else 200) if self.epochs is None else self.epochs
        descend([residual_CD], loss, len(train), lr=self.lr, epochs=epochs, most_steps=self.max_steps, key="text_residual")
        self.weight_ = unit(W_CD + self.alpha * residual_CD.detach()).float()
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Class scores of rows of features (array, tensor or Features)."""
        inputs.fitted(self, "weight_")
        return self.scale_ * inputs.rows(z_ND, self.weight_.shape[1], self.encoder_, self) @ self.weight_.T
