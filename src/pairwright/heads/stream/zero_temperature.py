"""ZERO: views of an image vote, which is their mean probability at temperature zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features
from pairwright.heads import inputs
from pairwright.heads.stream.views import confident, share, views_of

CARD = Card(
    name="ZERO (zero temperature)",
    symbol="ZeroTemperature",
    paper="extra:zero",
    title="Frustratingly Easy Test-Time Adaptation of Vision-Language Models",
    year=2024,
    arxiv="2405.18330",
    where="section 4, algorithm 1",
    equation="logits_c = log (n_c + mean_a p_ac) / (A' + 1),  n_c number of the A' = keep A surest views whose arg-max is c",
    says="Entropy minimisation hardly moves the arg-max of the marginal; voting, which ignores wrong confidence, does better at no cost.",
    needs="class text; several augmented views of every image",
    cost="that of zero-shot on all views",
    use_when="augmented views are right more often than not, but some are sure of the wrong thing",
    not_when="the sure views are the wrong ones: the filter keeps them (keep=1 votes with all); few views",
    aliases=("ZERO", "zero temperature", "majority vote of views", "frustratingly easy test-time adaptation"),
    neighbours=("heads/stream/confident_views", "heads/stream/dynamic_cache"),
    deviations=(
        "ties are broken by the mean probability of the voting views; the released code asks further views in turn. Effect unknown",
        "scores are logarithms of smoothed vote shares, so that a class without a vote is not minus infinity",
        "keep=0.3 as in the released code, which raised it from the paper's 0.1",
    ),
    checks=("mechanism:zero_temperature",),
)


@dataclass
class ZeroTemperature:
    """Zero-shot classifier on many views of an image: each of the surest views has one vote.

    step(views): the first view is the plain image. keep: share of the views that vote, those with the lowest entropy (1: all).
    Remembers nothing. One view gives the zero-shot class.
    """

    keep: float = 0.3

    needs: ClassVar[frozenset[str]] = frozenset({"text"})
    neutral: ClassVar[dict[str, float] | None] = None  # no strength: with one view it decides as zero-shot (tested with the method)

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> ZeroTemperature:
        share(self.keep)
        text = inputs.class_text_of(text, self)
        self.text_, self.encoder_, self.scale_ = text.W_CD, text.encoder, text.scale
        return self

    def reset(self) -> None:
        """Nothing is remembered between images."""
        inputs.fitted(self, "text_")

    def step(self, views_AD: Any) -> Float[Tensor, " C"]:
        """Log-shares of the votes on one image, given as its views (A, D)."""
        inputs.fitted(self, "text_")
        logits_AC = self.scale_ * views_of(views_AD, self.text_.shape[1], self.encoder_, self) @ self.text_.T
        voters_KC = logits_AC[confident(logits_AC, self.keep)]
        votes_C = torch.bincount(voters_KC.argmax(1), minlength=voters_KC.shape[1])
        # mean probabilities lie below 1, a vote counts 1: they decide between equals and nothing else
        return ((votes_C + voters_KC.softmax(1).mean(0)) / (len(voters_KC) + 1)).clamp_min(1e-30).log()
