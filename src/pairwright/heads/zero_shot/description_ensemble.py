"""Classification by description: the mean score of a class's descriptions."""

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
from pairwright.heads.zero_shot.prompt_ensemble import single_prompts

CARD = Card(
    name="classification by description",
    symbol="DescriptionEnsemble",
    paper="dclip-classification-by-description",
    title="Visual Classification via Description from Large Language Models",
    year=2023,
    arxiv="2210.07183",
    where="section 2, equation 1",
    equation="s(c, z) = scale * 1/|D(c)| sum_{d in D(c)} z . t_cd,  t_cd unit embedding of '{class} which has {d}'",
    says="Asking for descriptive features instead of the bare name raises accuracy, explains decisions, and reaches unknown names.",
    needs="class text made from descriptions (one prompt per description)",
    cost="that of zero-shot; scores of single descriptions on request",
    use_when="the model does not know the name but knows what the thing looks like; a decision has to be explained or edited",
    not_when="descriptions are generic or wrong: random ones are worse than the name alone",
    aliases=("DCLIP", "descriptors", "classification by description", "VisDesc"),
    neighbours=("heads/zero_shot/prompt_ensemble", "heads/zero_shot/classifier"),
    checks=("mechanism:description_ensemble",),
)


@dataclass
class DescriptionEnsemble:
    """Zero-shot classifier that scores every description of a class by itself and takes the mean.

    Differs from PromptEnsemble by the length of the class mean: a class whose descriptions disagree gets smaller scores. fit needs
    `text.prompts_CPD` (class_text with descriptions makes it); rows of zeros are padding. `scores` explains a decision: the logit of a
    class is exactly the mean of its description scores. scale: logit scale; None takes that of the class text.
    """

    scale: float | None = None

    needs: ClassVar[frozenset[str]] = frozenset({"text"})
    neutral: ClassVar[dict[str, float] | None] = (
        None  # no strength: with one description per class it is zero-shot (tested with the method)
    )

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> DescriptionEnsemble:
        prompts_CPD = single_prompts(text, self)
        self.prompts_ = unit(prompts_CPD)
        self.count_ = (prompts_CPD != 0).any(-1).sum(1)
        self.encoder_ = text.encoder
        self.scale_ = text.scale if self.scale is None else self.scale
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """Class scores of rows of features (array, tensor or Features)."""
        inputs.fitted(self, "prompts_")
        mean_CD = self.prompts_.sum(1) / self.count_[:, None]
        return self.scale_ * inputs.rows(z_ND, mean_CD.shape[1], self.encoder_, self) @ mean_CD.T

    def scores(self, z_ND: Any) -> Float[Tensor, "N C P"]:
        """Score of every single description, NaN where a class has fewer: their mean over descriptions is the class's logit."""
        inputs.fitted(self, "prompts_")
        z_ND = inputs.rows(z_ND, self.prompts_.shape[2], self.encoder_, self)
        scores_NCP = self.scale_ * torch.einsum("nd,cpd->ncp", z_ND, self.prompts_)
        return scores_NCP.masked_fill((self.prompts_ == 0).all(-1), float("nan"))
