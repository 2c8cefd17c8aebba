"""Tip-Adapter-F: the cache of Tip-Adapter with its keys fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features
from pairwright.heads import inputs
from pairwright.heads.cache.tip_adapter import ALPHAS, BETAS
from pairwright.heads.cache.votes import votes
from pairwright.heads.descent import by_content, descend, precision

CARD = Card(
    name="Tip-Adapter-F",
    symbol="TipAdapterF",
    paper="extra:tip-adapter-f",
    title="Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification",
    year=2022,
    arxiv="2111.03930",
    where="section 3.2",
    equation="logits = scale z W^T + alpha exp(-beta (1 - z K^T)) Y,  K learned by cross-entropy from the support rows",
    says="Twenty epochs of training the keys of the cache reach the accuracy of adapters that need ten times as many.",
    needs="few labelled features + class text",
    cost="at most 150 steps, each one product of 256 rows with all keys, forward and back; then that of Tip-Adapter",
    use_when="16 shots or so, and strong variation in the images that carries no class: trained keys can ignore it, fixed keys cannot",
    not_when="wrong labels among the shots (keys learn them); one shot; no time to train (tip_adapter)",
    aliases=("tip adapter f", "fine-tuned cache", "Tip-Adapter fine-tuned"),
    neighbours=("heads/cache/tip_adapter", "heads/cache/ape", "heads/linear/text_residual"),
    deviations=(
        "trained on stored features, where the paper draws new crops each epoch. That a row then meets its own key exactly does no harm: "
        "leaving it out while training moved the accuracy in the check by less than 1 point",
        "lr is multiplied by (1024 / D)^(1/2), so that a step turns a key as far as it does at the width of the paper's encoder; without "
        "it the data of the check (width 64) lose 6 points against fixed keys instead of gaining 9",
        "at most max_steps steps, which cuts the 20 epochs short beyond 1,920 rows; effect unknown",
        "the last keys are kept; the released script keeps the epoch that is best on the test rows",
    ),
    checks=("mechanism:tip_adapter_f",),
)


@dataclass
class TipAdapterF:
    """Few-shot classifier with a cache of labelled images whose keys are trained: Tip-Adapter, fine-tuned.

    alpha, beta: weight and sharpness of the votes while training and after it; where `val` is given, the two used after it are chosen
    there (smallest alpha among equals), into alpha_ and beta_. epochs, lr: AdamW on the keys with a cosine schedule, batches of 256; lr
    is for 1,024 channels and scaled to others. Values and class text stay fixed. max_steps: ceiling on the number of steps. Defaults are
    the paper's and need no validation. Without any shots, or with alpha=0, this is zero-shot; with epochs=0 it is Tip-Adapter.
    """

    alpha: float = 1.0
    beta: float = 5.5
    epochs: int = 20
    lr: float = 1e-3
    max_steps: int = 150

    needs: ClassVar[frozenset[str]] = frozenset({"train", "text"})
    neutral: ClassVar[dict[str, float] | None] = {"alpha": 0.0}

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> TipAdapterF:
        text = inputs.class_text_of(text, self)
        train, y_N, classes = inputs.labelled(train, text, self)
        self.text_, self.encoder_, self.scale_ = text.W_CD, train.encoder or text.encoder, text.scale
        order = by_content(train.z_ND)
        self.labels_ = y_N[order]
        self.keys_ = self._trained(train.z_ND[order], self.labels_, classes)
        self.alpha_, self.beta_ = self.alpha, self.beta
        if val is not None:
            val, y_V, _ = inputs.labelled(val, text, self)
            zero_shot = self._zero_shot(val.z_ND)
            grid = [(b, a, v) for b in BETAS for v in [self._votes(val.z_ND, b)] for a in ALPHAS]
            _, minus_alpha, minus_beta = max((inputs.accuracy(zero_shot + a * v, y_V), -a, -b) for b, a, v in grid)
            self.alpha_, self.beta_ = -minus_alpha, -minus_beta
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Class scores of rows of features (array, tensor or Features)."""
        inputs.fitted(self, "keys_")
        z_ND = inputs.rows(z_ND, self.text_.shape[1], self.encoder_, self)
        return self._zero_shot(z_ND) + self.alpha_ * self._votes(z_ND, self.beta_)

    def _zero_shot(self, z_ND: Tensor) -> Tensor:
        return self.scale_ * z_ND @ self.text_.T

    def _votes(self, z_ND: Tensor, beta: float) -> Tensor:
        return votes(z_ND, self.keys_, self.labels_, len(self.text_), beta)

    def _trained(self, z_ND: Tensor, y_N: Tensor, classes: int) -> Tensor:
        if len(z_ND) == 0 or self.alpha == 0:
            return z_ND
        z_ND = z_ND.to(precision(len(z_ND), len(z_ND), z_ND.shape[1]))
        keys_ND = z_ND.clone().requires_grad_()
        zero_shot_NC = self.scale_ * z_ND @ self.text_.to(z_ND.dtype).T

        def loss(rows: Tensor) -> Tensor:
            vote = torch.exp(-self.beta * (1 - z_ND[rows] @ keys_ND.T))
            voted = vote.new_zeros(len(rows), classes).index_add(1, y_N, vote)
            return cross_entropy(zero_shot_NC[rows] + self.alpha * voted, y_N[rows])

        lr = self.lr * (1024 / z_ND.shape[1]) ** 0.5
        descend([keys_ND], loss, len(z_ND), lr=lr, epochs=self.epochs, most_steps=self.max_steps, decay=0.01, eps=1e-4, key="tip_adapter_f")
        return keys_ND.detach().float()
