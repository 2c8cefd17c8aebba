"""What AD-CLIP and IP-CLIP share: beside each labelled batch of one domain, rows of another domain with their style and class text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pairwright.core.encoded import Encoded
from pairwright.core.features import Features
from pairwright.core.numerics import generator, unit
from pairwright.prompts.fit import Step, rows_of, scores
from pairwright.prompts.style_features import encoded
from pairwright.prompts.style_tokens import StyleTokens
from pairwright.prompts.tokens import prompt_ids


@dataclass(frozen=True)
class Seen:
    """Rows of the other domain in one step: class text text_BCD, logits_BC, style tokens style_BJE, and rows_B, their places."""

    text_BCD: Tensor
    logits_BC: Tensor
    style_BJE: Tensor
    rows_B: Tensor


@dataclass(frozen=True)
class Other:
    """Another domain's rows beside those of a step. learner: its tokens as they are when it is called."""

    learner: StyleTokens
    model: Any
    ids_CL: Int[Tensor, "C L"]
    images: Encoded

    @staticmethod
    def of(learner: StyleTokens, model: Any, names: Any, x: Features, who: object) -> Other:
        """Checked: rows of the same model, at least one."""
        rows_of(x, model, who)
        if not len(x):
            raise ValueError(f"{type(who).__name__} learns from rows of two domains, and the second has none: give it some")
        return Other(learner, model, prompt_ids(model, names, learner.context)[0], encoded(x, model))

    def __call__(self, step: Step) -> Seen:
        """As many rows as the step has, drawn by the rows of the step: the same step sees the same ones."""
        rng = generator("other domain", self.learner.seed, *step.rows_B.tolist())
        rows_B = torch.randint(len(self.images), (len(step.y_B),), generator=rng).to(self.images.z_BD.device)
        image = self.images.rows(rows_B)
        text_BCD = self.learner.class_text(self.model, self.ids_CL, image)
        return Seen(text_BCD, scores(text_BCD, image.z_BD, self.model.scale), self.learner.style(image), rows_B)


def apart(style_BJE: Float[Tensor, "B J E"], other_BJE: Float[Tensor, "B J E"]) -> Float[Tensor, ""]:
    """Mean squared difference of two batches' style tokens."""
    return (style_BJE - other_BJE).square().mean()


def balanced_entropy(logits_BC: Float[Tensor, "B C"]) -> Float[Tensor, ""]:
    """Mean over rows of -sum_c p_c log p_c, where p is the softmax with each class scaled to unit length over the batch.

    The scale lifts classes that the batch hardly shows, so that sureness is not bought by calling everything one class.
    """
    p_BC = unit(logits_BC.softmax(1), dim=0)
    return -(p_BC * (p_BC + 1e-8).log()).sum(1).mean()


def text_divergence(text_BCD: Float[Tensor, "B C D"], other_BCD: Float[Tensor, "B C D"]) -> Float[Tensor, ""]:
    """KL(other || text) of each dimension's softmax over classes, summed over dimensions, mean over rows."""
    log_BCD, other_log_BCD = text_BCD.log_softmax(1), other_BCD.log_softmax(1)
    return (other_log_BCD.exp() * (other_log_BCD - log_BCD)).sum((1, 2)).mean()
