"""Keep the augmented views of an image that the model is sure of, and average what they say (TPT's and DiffTPT's selection)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features
from pairwright.heads import inputs
from pairwright.heads.stream.views import confident, share, views_of

CARD = Card(
    name="confident views (TPT's selection)",
    symbol="ConfidentViews",
    paper="extra:tpt",
    title="Test-Time Prompt Tuning for Zero-Shot Generalization in Vision-Language Models",
    year=2022,
    arxiv="2209.07511",
    where="section 3.3, equation 4 (the marginal that is minimised)",
    equation="logits = log mean_a softmax(scale z_a W^T) over the keep share of views a with the lowest entropy, among the `similar` share "
    "nearest to the plain view",
    says="Of 64 random crops the sure ones show the object; their mean prediction is what prompts are tuned to make certain.",
    needs="class text; several augmented views of every image",
    cost="that of zero-shot on all views",
    use_when="objects are small or off centre, so that some crops show them well and others miss them (those are unsure)",
    not_when="views that miss the object are over-confident: the filter keeps just those (see zero_temperature)",
    aliases=("TPT view selection", "confidence selection", "DiffTPT", "marginal of views", "test-time augmentation", "entropy filter"),
    neighbours=("heads/stream/zero_temperature", "heads/stream/dynamic_cache"),
    deviations=(
        "no prompt is tuned here: this is the target of the tuning, on features; one step of it moves the answer towards the same class",
        "DiffTPT (2308.06038) is the point similar=0.8, keep=0.3, its generated images being the further views",
    ),
    checks=("mechanism:confident_views",),
)


@dataclass
class ConfidentViews:
    """Zero-shot classifier on many views of an image: the mean probability over the views with the least entropy.

    step(views): the first view is the plain image. keep: share of views that is averaged (at least one). similar: before that, keep
    this share of the further views, those most like the plain one. Remembers nothing. One view is zero-shot, keep=1 the mean of all.
    """

    keep: float = 0.1
    similar: float = 1.0

    needs: ClassVar[frozenset[str]] = frozenset({"text"})
    neutral: ClassVar[dict[str, float] | None] = None  # no strength: with one view it is zero-shot (tested with the method)

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> ConfidentViews:
        share(self.keep)
        share(self.similar, "similar")
        text = inputs.class_text_of(text, self)
        self.text_, self.encoder_, self.scale_ = text.W_CD, text.encoder, text.scale
        return self

    def reset(self) -> None:
        """Nothing is remembered between images."""
        inputs.fitted(self, "text_")

    def step(self, views_AD: Any) -> Float[Tensor, " C"]:
        """Log-probabilities of one image, given as its views (A, D)."""
        inputs.fitted(self, "text_")
        z_AD = like_the_first(views_of(views_AD, self.text_.shape[1], self.encoder_, self), self.similar)
        logits_AC = self.scale_ * z_AD @ self.text_.T
        log_p_KC = logits_AC[confident(logits_AC, self.keep)].log_softmax(1)
        return log_p_KC.logsumexp(0) - math.log(len(log_p_KC))


def like_the_first(z_AD: Float[Tensor, "A D"], similar: float) -> Float[Tensor, "K D"]:
    """The first view and the `similar` share of the others that are most like it."""
    others_AD = z_AD[1:]
    near = (others_AD @ z_AD[0]).argsort(descending=True, stable=True)[: math.ceil(similar * len(others_AD) - 1e-9)]
    return z_AD[[0, *(1 + near).tolist()]]
