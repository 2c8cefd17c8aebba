"""Prompt ensembling in embedding space: one class vector from many prompts."""

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

CARD = Card(
    name="prompt ensemble",
    symbol="PromptEnsemble",
    paper="extra:clip",
    title="Learning Transferable Visual Models From Natural Language Supervision",
    year=2021,
    arxiv="2103.00020",
    where="section 3.1.4",
    equation="logits = scale * z unit(mean_p t_cp)^T,  t_cp unit embedding of prompt p of class c",
    says="Averaging the embeddings of 80 hand-written prompts of a class gains 3.5 points on ImageNet over a single prompt, at no cost.",
    needs="class text with its single prompts",
    cost="P text embeddings per class, once; then that of zero-shot",
    use_when="always, when several templates or sentences for a class are at hand (80 templates, or generated sentences as in CuPL)",
    not_when="the prompts of a class mean different things: then average scores (description_ensemble)",
    aliases=("prompt ensembling", "80 templates", "CuPL", "template averaging"),
    also=("extra:cupl",),
    neighbours=("heads/zero_shot/classifier", "heads/zero_shot/description_ensemble"),
    checks=("mechanism:zero_shot_ensemble",),
)


def mean_of_prompts(prompts_CPD: Float[Tensor, "C P D"]) -> Float[Tensor, "C D"]:
    """Unit mean of the unit prompt embeddings of each class; rows of zeros are padding and do not count."""
    return unit(unit(prompts_CPD).sum(1))


@dataclass
class PromptEnsemble:
    """Zero-shot classifier whose class vector is the unit mean of the class's unit prompt embeddings.

    fit needs `text.prompts_CPD` (class_text makes it). One prompt per class gives plain zero-shot; identical prompts change nothing.
    scale: logit scale; None takes that of the class text.

    >>> text = ClassText(torch.eye(2), prompts_CPD=torch.tensor([[[1.0, 0], [0, 1]], [[0, 1], [0, 0]]]))  # the last row is padding
    >>> PromptEnsemble(scale=1.0).fit(None, text).logits(torch.tensor([[0.0, 1.0]])).mul(1e4).round().tolist()
    [[7071.0, 10000.0]]
    """

    scale: float | None = None

    needs: ClassVar[frozenset[str]] = frozenset({"text"})
    neutral: ClassVar[dict[str, float] | None] = None  # no strength: with one prompt per class it is zero-shot (tested with the method)

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> PromptEnsemble:
        prompts_CPD = single_prompts(text, self)
        self.text_, self.encoder_ = mean_of_prompts(prompts_CPD), text.encoder
        self.scale_ = text.scale if self.scale is None else self.scale
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Class scores of rows of features (array, tensor or Features)."""
        inputs.fitted(self, "text_")
        return self.scale_ * inputs.rows(z_ND, self.text_.shape[1], self.encoder_, self) @ self.text_.T


def single_prompts(text: ClassText | None, who: object) -> Float[Tensor, "C P D"]:
    """The prompts of each class, refused where they are missing."""
    text = inputs.class_text_of(text, who)
    if text.prompts_CPD is None:
        raise ValueError(
            f"{type(who).__name__} needs the single prompts: build the text with class_text(model, names, templates), which keeps them"
        )
    if not torch.isfinite(text.prompts_CPD).all():
        raise ValueError("prompt embeddings hold NaN or infinities: embed the class text again")
    empty = (text.prompts_CPD == 0).all(-1).all(-1)
    if empty.any():
        raise ValueError(f"class {text.names[int(empty.nonzero()[0])]!r} has no prompt: give it at least one")
    return text.prompts_CPD
