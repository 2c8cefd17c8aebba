"""APE: a cache on the channels that tell classes apart, with weighted votes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import unit
from pairwright.heads import inputs
from pairwright.heads.cache.tip_adapter import ALPHAS, BETAS
from pairwright.heads.cache.votes import votes

CARD = Card(
    name="APE (adaptive prior refinement)",
    symbol="APE",
    paper="extra:ape",
    title="Not All Features Matter: Enhancing Few-shot CLIP with Adaptive Prior Refinement",
    year=2023,
    arxiv="2304.01195",
    where="sections 3.1 and 3.2",
    equation="J_d = -w1 mean_{c != c'} W_cd W_c'd + w2 var_c W_cd, keep the largest; logits = scale z W^T + alpha exp(-beta (1 - z' "
    "K'^T)) diag(R) Y, R_n = exp(gamma KL(y_n || softmax(k'_n W'^T)))",
    says="Half of CLIP's channels carry little that tells classes apart; a cache on the others, with trust in each key, beats "
    "Tip-Adapter untrained.",
    needs="few labelled features + class text",
    cost="that of Tip-Adapter on a part of the channels",
    use_when="images vary along axes on which the class texts do not differ (and those lie along channels, as they do in trained encoders)",
    not_when="channels all matter, or nuisance lies across channels: nothing is dropped that should be (use gda)",
    aliases=("APE", "adaptive prior refinement", "channel selection", "feature selection adapter"),
    neighbours=("heads/cache/tip_adapter", "heads/cache/tip_x"),
    deviations=(
        "channels are scored from the class text alone, as the text of the paper says; the released training-free script adds the "
        "shots. Effect unknown",
        "with val: a log grid of 4 shares x 3 gammas x 5 betas x 7 alphas, where the released one is linear and finer, at a fixed share "
        "a data set",
    ),
    checks=("mechanism:ape",),
)

SHARES = (0.25, 0.5, 0.75, 1.0)
GAMMAS = (0.0, 0.1, 0.3)


@dataclass
class APE:
    """Few-shot classifier without training: Tip-Adapter on the channels that tell classes apart, each key weighted by how hard it is.

    share: part of the channels that is kept, those with the largest criterion J. similarity, variance: weights w1, w2 of J. alpha, beta:
    weight and sharpness of the votes. gamma: a key whose label its text does not predict votes with weight up to exp(gamma KL). Defaults
    are those released for ImageNet and need no validation; where `val` is given, share, gamma, beta and alpha are chosen on it (smallest
    alpha among equals). alpha=0, or no shots, is zero-shot; share=1 with gamma=0 is Tip-Adapter.
    """

    alpha: float = 2.0
    beta: float = 1.0
    gamma: float = 0.1
    share: float = 0.5
    similarity: float = 0.7
    variance: float = 0.3

    needs: ClassVar[frozenset[str]] = frozenset({"train", "text"})
    neutral: ClassVar[dict[str, float] | None] = {"alpha": 0.0}

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> APE:
        text = inputs.class_text_of(text, self)
        train, y_N, _ = inputs.labelled(train, text, self)
        if not 0 < self.share <= 1:
            raise ValueError(f"share is the part of the channels to keep, between 0 and 1: got {self.share}")
        self.text_, self.encoder_, self.scale_ = text.W_CD, train.encoder or text.encoder, text.scale
        self.labels_ = y_N
        self.alpha_, self.beta_, self.gamma_ = self.alpha, self.beta, self.gamma
        if val is None:
            self._keep(train.z_ND, self.share)
            return self
        val, y_V, _ = inputs.labelled(val, text, self)
        zero_shot, best = self._zero_shot(val.z_ND), (-1.0,)
        for share in SHARES:
            self._keep(train.z_ND, share)
            for gamma in GAMMAS:
                for beta in BETAS[::2]:
                    voted = self._votes(val.z_ND, beta, gamma)
                    best = max(best, *((inputs.accuracy(zero_shot + a * voted, y_V), -a, share, -gamma, -beta) for a in ALPHAS[::2]))
        _, alpha, share, gamma, beta = best
        self.alpha_, self.beta_, self.gamma_ = -alpha, -beta, -gamma
        self._keep(train.z_ND, share)
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Class scores of rows of features (array, tensor or Features)."""
        inputs.fitted(self, "keys_")
        z_ND = inputs.rows(z_ND, self.text_.shape[1], self.encoder_, self)
        return self._zero_shot(z_ND) + self.alpha_ * self._votes(z_ND, self.beta_, self.gamma_)

    def _zero_shot(self, z_ND: Tensor) -> Tensor:
        return self.scale_ * z_ND @ self.text_.T

    def _keep(self, z_ND: Tensor, share: float) -> None:
        """Keys on the best channels, and how far (in bits) each is from being classified by its text there."""
        J_D = criterion(self.text_, self.similarity, self.variance)
        self.channels_ = J_D.topk(max(1, round(share * len(J_D)))).indices.sort().values
        self.keys_ = unit(z_ND[:, self.channels_])
        log_p_NC = (self.keys_ @ unit(self.text_[:, self.channels_]).T).log_softmax(1)
        self.hardness_ = -log_p_NC.gather(1, self.labels_[:, None]).squeeze(1) / torch.log(torch.tensor(2.0))

    def _votes(self, z_ND: Tensor, beta: float, gamma: float) -> Tensor:
        weight_K = (gamma * self.hardness_).exp()
        return votes(unit(z_ND[:, self.channels_]), self.keys_, self.labels_, len(self.text_), beta, weight_K)


def criterion(text_CD: Float[Tensor, "C D"], similarity: float, variance: float) -> Float[Tensor, " D"]:
    """J of each channel: low mean product between different classes, high variance over classes. One class: zeros."""
    text_CD, classes = text_CD.double(), len(text_CD)
    if classes < 2:
        return text_CD.new_zeros(text_CD.shape[1])
    between_D = (text_CD.sum(0).square() - text_CD.square().sum(0)) / (classes * (classes - 1))
    return variance * text_CD.var(0) - similarity * between_D
