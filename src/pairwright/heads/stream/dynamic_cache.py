"""TDA: caches of sure and of unsure test images that grow while images come in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import unit
from pairwright.heads import inputs
from pairwright.heads.stream.views import confident, entropy, views_of

CARD = Card(
    name="TDA (training-free dynamic adapter)",
    symbol="DynamicCache",
    paper="extra:tda",
    title="Efficient Test-Time Adaptation of Vision-Language Models",
    year=2024,
    arxiv="2403.18293",
    where="section 3.2, equations 3 to 8",
    equation="logits = scale z W^T + alpha sum_k exp(-beta (1 - z . k)) onehot(c_k) - alpha_n sum_j exp(-beta_n (1 - z . j)) [p_j > floor],"
    " k the surest images of each predicted class, j moderately unsure ones",
    says="A small cache of confident test images, and one that says what unsure images are not, adapt without gradients or labels.",
    needs="class text; test images one after another",
    cost="one product with at most (positive + negative) x C cached rows per image",
    use_when="a long stream from a new domain whose images cluster tightly by class, while the class text is off",
    not_when="few images, or text that is right already; the order matters: judge it over several shuffles of the stream",
    aliases=("TDA", "dynamic adapter", "test-time cache", "positive and negative cache"),
    neighbours=("heads/stream/prototype_memory", "heads/cache/tip_adapter", "heads/stream/zero_temperature"),
    deviations=(
        "constants are those released for ImageNet; other data sets have their own there, found on test rows. With alpha=8 the stream of "
        "the check gains four times as much; the negative cache cost 0.2 and 0.6 points on two such streams",
        "the window of the negative cache is in units of H / log2 C, as in the released code; the paper calls that the normalised "
        "entropy, which would be H / ln C",
    ),
    checks=("mechanism:dynamic_cache",),
)


@dataclass
class DynamicCache:
    """Test-time adapter without training: a cache of the surest images of each predicted class, one of unsure ones, beside zero-shot.

    step(views) stores the image, then scores it. alpha, beta: weight and sharpness of the votes of sure images (`positive` a class, those
    of lowest entropy). alpha_n, beta_n: of the unsure ones (`negative` a class, with entropy within `low` … `high` times log2 C), which
    vote against every class to which they gave more than `floor`. keep: of several views only this share, the surest, are averaged.
    alpha = alpha_n = 0 is zero-shot. The order of the images matters.
    """

    alpha: float = 2.0
    beta: float = 5.0
    positive: int = 3
    alpha_n: float = 0.117
    beta_n: float = 1.0
    negative: int = 2
    low: float = 0.2
    high: float = 0.5
    floor: float = 0.03
    keep: float = 0.1

    needs: ClassVar[frozenset[str]] = frozenset({"text"})
    neutral: ClassVar[dict[str, float] | None] = {"alpha": 0.0, "alpha_n": 0.0}

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> DynamicCache:
        text = inputs.class_text_of(text, self)
        if min(self.positive, self.negative) < 1:
            raise ValueError("a cache holds at least one image a class: to switch one off set alpha or alpha_n to 0")
        self.text_, self.encoder_, self.scale_ = text.W_CD, text.encoder, text.scale
        self.reset()
        return self

    def reset(self) -> None:
        """Forget all images."""
        inputs.fitted(self, "text_")
        self.sure_, self.unsure_ = (_Slots(self.text_, size) for size in (self.positive, self.negative))

    def step(self, views_AD: Any) -> Float[Tensor, " C"]:
        """Class scores of one image, given as its views (A, D)."""
        inputs.fitted(self, "text_")
        z_AD = views_of(views_AD, self.text_.shape[1], self.encoder_, self)
        logits_AC = self.scale_ * z_AD @ self.text_.T
        kept = confident(logits_AC, self.keep)
        z_D, logits_C, probs_C = unit(z_AD[kept].mean(0)), logits_AC[kept].mean(0), logits_AC[kept].softmax(1).mean(0)
        doubt = float(entropy(probs_C.clamp_min(1e-30).log()))
        best, C = int(logits_C.argmax()), len(logits_C)
        self.sure_.offer(best, z_D, doubt, torch.nn.functional.one_hot(torch.tensor(best), C).to(z_D))
        if C > 1 and self.low < doubt / math.log2(C) < self.high:
            self.unsure_.offer(best, z_D, doubt, (probs_C > self.floor).to(z_D.dtype))
        return logits_C + self.alpha * self.sure_.votes(z_D, self.beta) - self.alpha_n * self.unsure_.votes(z_D, self.beta_n)


class _Slots:
    """`size` places for each class; a newcomer takes a free place, or that of the most doubtful if it is less doubtful itself."""

    def __init__(self, text_CD: Tensor, size: int) -> None:
        C, D = text_CD.shape
        self.key_CKD, self.value_CKC = text_CD.new_zeros(C, size, D), text_CD.new_zeros(C, size, C)
        self.doubt_CK = text_CD.new_full((C, size), torch.inf)

    def offer(self, c: int, key_D: Tensor, doubt: float, value_C: Tensor) -> None:
        k = int(self.doubt_CK[c].argmax())
        if doubt < self.doubt_CK[c, k]:
            self.key_CKD[c, k], self.value_CKC[c, k], self.doubt_CK[c, k] = key_D, value_C, doubt

    def votes(self, z_D: Tensor, beta: float) -> Tensor:
        full_CK = self.doubt_CK < torch.inf
        return torch.exp(-beta * (1 - self.key_CKD[full_CK] @ z_D)) @ self.value_CKC[full_CK]
