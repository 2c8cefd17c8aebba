"""TIP-X: a cache that also compares images by their distributions over the class texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features
from pairwright.heads import inputs
from pairwright.heads.cache.signature import log_signature, scaling, signature_votes
from pairwright.heads.cache.tip_adapter import ALPHAS, BETAS
from pairwright.heads.cache.votes import votes

CARD = Card(
    name="TIP-X (SuS-X)",
    symbol="TipX",
    paper="sus-x",
    title="SuS-X: Training-Free Name-Only Transfer of Vision-Language Models",
    year=2023,
    arxiv="2211.16198",
    where="section 3.2",
    equation="logits = scale z W^T + alpha exp(-beta (1 - z K^T)) Y + gamma A Y,  A = -KL(s(z) || s(K)) rescaled to the span of the "
    "cosines, s(x) = softmax(x W^T / temperature)",
    says="Image-image cosines of CLIP are not what it was trained for; comparing images through the class texts gives a better cache.",
    needs="support features with labels (few shots, or retrieved and generated images of each class) + class text",
    cost="that of Tip-Adapter, and one product of C-wide signatures with all support rows",
    use_when="images vary strongly along directions in which no text differs; a support set found by name only, with no labelled images",
    not_when="class texts that are wrong or few: a signature sees nothing else",
    aliases=("SuS-X", "TIP-X", "TipX", "KL signature", "name-only transfer"),
    neighbours=("heads/cache/tip_adapter", "heads/cache/mixed_keys", "heads/cache/ape"),
    deviations=(
        "A is rescaled by the range over the support rows; the paper takes the range over all test rows at once, so that its scores "
        "depend on which rows are tested together. Effect unknown",
        "A is shifted to 0 at the largest divergence of two support rows, where the paper's is negative: the same decisions for equal "
        "numbers of shots, and classes with fewer or no support rows are not preferred",
        "without val: alpha and beta of Tip-Adapter and gamma=1; the paper always searches them on val. With val: 5 x 7 x 6 log points, "
        "the paper's grid is linear with 200,000",
    ),
    checks=("mechanism:tip_x", "mechanism:sus_x_retrieved"),
)

GAMMAS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass
class TipX:
    """Few-shot or name-only classifier without training: Tip-Adapter plus votes by the KL divergence of image signatures.

    alpha, beta: weight and sharpness of the cosine votes. gamma: weight of the signature votes. temperature: of the signatures (the
    paper's 0.5). Where `val` is given, alpha, beta and gamma are chosen on it (smallest gamma, then smallest alpha, among equals), into
    alpha_, beta_, gamma_. alpha = gamma = 0, or no support, is zero-shot; gamma = 0 is Tip-Adapter.
    """

    alpha: float = 1.0
    beta: float = 5.5
    gamma: float = 1.0
    temperature: float = 0.5

    needs: ClassVar[frozenset[str]] = frozenset({"train", "text"})
    neutral: ClassVar[dict[str, float] | None] = {"alpha": 0.0, "gamma": 0.0}

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> TipX:
        text = inputs.class_text_of(text, self)
        train, self.labels_, _ = inputs.labelled(train, text, self)
        self.text_, self.encoder_, self.scale_ = text.W_CD, train.encoder or text.encoder, text.scale
        self.alpha_, self.beta_, self.gamma_ = self.alpha, self.beta, self.gamma
        self.signature_ = log_signature(train.z_ND, self.text_, self.temperature)
        self._key(train.z_ND, train.z_ND)
        if val is not None:
            val, y_V, _ = inputs.labelled(val, text, self)
            self._take(self._search(val.z_ND, y_V))
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Class scores of rows of features (array, tensor or Features)."""
        inputs.fitted(self, "keys_")
        z_ND = inputs.rows(z_ND, self.text_.shape[1], self.encoder_, self)
        return self._zero_shot(z_ND) + self.alpha_ * self._votes(z_ND, self.beta_) + self.gamma_ * self._signature_votes(z_ND)

    def _key(self, keys_KD: Tensor, rows_KD: Tensor) -> None:
        self.keys_ = keys_KD
        self.slope_, self.far_ = scaling(self.signature_, rows_KD, keys_KD)

    def _search(self, z_VD: Tensor, y_V: Tensor) -> tuple[float, ...]:
        """(accuracy, -gamma, -alpha, -beta) of the best point of the grid."""
        zero_shot, signed = self._zero_shot(z_VD), self._signature_votes(z_VD)
        found = []
        for beta in BETAS[::2]:
            voted = self._votes(z_VD, beta)
            for gamma in GAMMAS:
                base = zero_shot + gamma * signed
                found += [(inputs.accuracy(base + alpha * voted, y_V), -gamma, -alpha, -beta) for alpha in ALPHAS[::2]]
        return max(found)

    def _take(self, found: tuple[float, ...]) -> None:
        self.gamma_, self.alpha_, self.beta_ = (-v for v in found[1:4])

    def _zero_shot(self, z_ND: Tensor) -> Tensor:
        return self.scale_ * z_ND @ self.text_.T

    def _votes(self, z_ND: Tensor, beta: float) -> Tensor:
        return votes(z_ND, self.keys_, self.labels_, len(self.text_), beta)

    def _signature_votes(self, z_ND: Tensor) -> Tensor:
        log_p_NC = log_signature(z_ND, self.text_, self.temperature)
        return signature_votes(log_p_NC, self.signature_, self.labels_, len(self.text_), self.slope_, self.far_)
