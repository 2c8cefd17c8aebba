"""Tip-Adapter: a key-value cache of the few labelled images, blended with zero-shot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features
from pairwright.heads import inputs

CARD = Card(
    name="Tip-Adapter",
    symbol="TipAdapter",
    paper="extra:tip-adapter",
    title="Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification",
    year=2022,
    arxiv="2111.03930",
    where="equations 4 to 6",
    equation="logits = scale z W^T + alpha exp(-beta (1 - z K^T)) Y,  K the support rows, Y their one-hot labels",
    says="A cache of 16 labelled images per class adds several points over zero-shot CLIP on eleven data sets, without any training.",
    needs="few labelled features + class text",
    cost="one product with all support rows per query; memory of the support rows",
    use_when="1 to 16 shots; classes made of several looks (a cache is not linear); labels that grow while in use (append rows)",
    not_when="many shots (a linear head is better and smaller); a shared within-class variation that hides the class (use gda)",
    aliases=("tip adapter", "cache model", "key-value cache", "training-free adapter"),
    neighbours=("heads/linear/gda", "heads/linear/logistic", "heads/zero_shot/classifier"),
    deviations=(
        "with val, alpha and beta come from a log grid of 9 x 13 points, the paper's is linear and ten times finer; effect unknown",
    ),
    checks=("mechanism:tip_adapter",),
)

BETAS = tuple(0.5 * 2 ** (i / 1.5) for i in range(9))
ALPHAS = (0.0, *(10 ** (i / 3 - 2) for i in range(12)))
_BLOCK = 2**24  # affinities in memory at once (64 MB)


@dataclass
class TipAdapter:
    """Few-shot classifier without training: zero-shot logits plus votes of the labelled images that look alike.

    alpha: weight of the votes (0 = zero-shot). beta: sharpness; the vote of a support row falls as exp(-beta (1 - cosine)). Both are
    the paper's defaults; where `val` is given, fit chooses them on it instead (smallest alpha among equals), into alpha_ and beta_.
    A class without shots keeps its text alone. Without any shots this is zero-shot.
    """

    alpha: float = 1.0
    beta: float = 5.5

    needs: ClassVar[frozenset[str]] = frozenset({"train", "text"})
    neutral: ClassVar[dict[str, float] | None] = {"alpha": 0.0}

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> TipAdapter:
        text = inputs.class_text_of(text, self)
        train, y_N, _ = inputs.labelled(train, text, self)
        self.text_, self.encoder_, self.scale_ = text.W_CD, train.encoder or text.encoder, text.scale
        self.keys_, self.labels_ = train.z_ND, y_N
        self.alpha_, self.beta_ = self.alpha, self.beta
        if val is not None:
            val, y_V, _ = inputs.labelled(val, text, self)
            zero_shot = self._zero_shot(val.z_ND)
            grid = [(b, a, votes) for b in BETAS for votes in [self._votes(val.z_ND, b)] for a in ALPHAS]
            scored = [(inputs.accuracy(zero_shot + a * votes, y_V), -a, -b) for b, a, votes in grid]
            _, minus_alpha, minus_beta = max(scored)
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
        votes_NC = z_ND.new_zeros(len(z_ND), len(self.text_))
        step = max(1, _BLOCK // max(len(self.keys_), 1))
        for i in range(0, len(z_ND), step):
            affinity = torch.exp(-beta * (1 - z_ND[i : i + step] @ self.keys_.T))
            votes_NC[i : i + step].index_add_(1, self.labels_, affinity)
        return votes_NC
