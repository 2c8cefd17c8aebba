"""DMN: a memory of test images from which every image reads class prototypes of its own."""

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
from pairwright.heads.stream.views import confident, entropy, views_of

CARD = Card(
    name="DMN (dynamic memory)",
    symbol="PrototypeMemory",
    paper="extra:dmn",
    title="Dual Memory Networks: A Versatile Adaptation Approach for Vision-Language Models",
    year=2024,
    arxiv="2403.17589",
    where="section 3.2, the dynamic memory without training",
    equation="logits = scale (z W^T + alpha z . f_c(z)),  f_c = unit(W_c exp(-beta (1 - z . W_c)) + sum_k m_ck exp(-beta (1 - z . m_ck)))",
    says="Prototypes read from a memory of test images with attention to the image at hand adapt to what the stream shows, untrained.",
    needs="class text; test images one after another",
    cost="one product with at most size x C remembered rows per image",
    use_when="a long stream from a new domain; classes made of several looks (an image reads the memory near it)",
    not_when="few images, or zero-shot guesses that are mostly wrong: the memory then repeats them",
    aliases=("DMN", "DMN-ZS", "dual memory", "dynamic memory", "test-time prototypes"),
    neighbours=("heads/stream/dynamic_cache", "heads/cache/tip_adapter"),
    deviations=(
        "scores are summed as logits, the released code sums probabilities; effect unknown",
        "an image is stored before it is scored, as in the released code, and so votes for its own guess; with the published beta=5.5 and "
        "cosines that spread over 1 that vote drowns all others (gain 0 in the check), with beta 1 or 0 the gain is 14 and 23 points: "
        "lower beta where cosines spread more than those of CLIP",
        "alpha=1 without val, where the paper searches the weight; the trained projections and the static memory of labelled shots are not "
        "here (tip_adapter is that memory without training)",
    ),
    checks=("mechanism:prototype_memory",),
)


@dataclass
class PrototypeMemory:
    """Test-time adapter without training: class prototypes read, with attention to the image, from a memory of the images so far.

    step(views) stores the image under its zero-shot class (`size` places a class, the most doubtful is replaced), then scores it. The
    class text is always one of the memories. alpha: weight beside zero-shot (0 = zero-shot). beta: sharpness of the attention. keep: of
    several views only this share, the surest, are averaged. The order of the images matters.
    """

    alpha: float = 1.0
    beta: float = 5.5
    size: int = 50
    keep: float = 0.1

    needs: ClassVar[frozenset[str]] = frozenset({"text"})
    neutral: ClassVar[dict[str, float] | None] = {"alpha": 0.0}

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> PrototypeMemory:
        text = inputs.class_text_of(text, self)
        if self.size < 1:
            raise ValueError(f"size is the number of remembered images a class, at least 1: got {self.size}")
        self.text_, self.encoder_, self.scale_ = text.W_CD, text.encoder, text.scale
        self.reset()
        return self

    def reset(self) -> None:
        """Forget all images."""
        inputs.fitted(self, "text_")
        self.memory_ = self.text_[:, None].repeat(1, self.size + 1, 1)  # the text stays in the last place
        self.doubt_ = self.text_.new_full((len(self.text_), self.size), torch.inf)

    def step(self, views_AD: Any) -> Float[Tensor, " C"]:
        """Class scores of one image, given as its views (A, D)."""
        inputs.fitted(self, "text_")
        z_AD = views_of(views_AD, self.text_.shape[1], self.encoder_, self)
        logits_AC = self.scale_ * z_AD @ self.text_.T
        kept = confident(logits_AC, self.keep)
        z_D, logits_C = unit(z_AD[kept].mean(0)), logits_AC[kept].mean(0)
        doubt, c = entropy(logits_C), int(logits_C.argmax())
        k = int(self.doubt_[c].argmax())
        if doubt < self.doubt_[c, k]:
            self.memory_[c, k], self.doubt_[c, k] = z_D, doubt
        weight_CK = torch.exp(-self.beta * (1 - self.memory_ @ z_D))
        weight_CK[:, :-1] *= self.doubt_ < torch.inf
        prototype_CD = unit(torch.einsum("ck,ckd->cd", weight_CK, self.memory_))
        return logits_C + self.alpha * self.scale_ * prototype_CD @ z_D
