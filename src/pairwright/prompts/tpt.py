"""TPT: the context is tuned on each test image by itself, so that its confident views agree, and then forgotten."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import check_finite
from pairwright.prompts.fit import scores
from pairwright.prompts.tokens import check_fitted, encode_with, frozen, prompt_ids, start_tokens

CARD = Card(
    name="TPT (test-time prompt tuning)",
    symbol="TPT",
    paper="extra:tpt",
    title="Test-Time Prompt Tuning for Zero-Shot Generalization in Vision-Language Models",
    year=2022,
    arxiv="2209.07511",
    where="section 3.2, equations 2 to 4",
    equation="v' = v - AdamW step on H(mean_a p(. | view_a, v)) over the views of lowest entropy;  y = argmax p(. | image, v')",
    says="One step on one image's own augmented views, without labels, adapts the prompt to it and makes zero-shot more robust.",
    needs="class names + the text tower + augmented views of each image",
    cost="image tower on A views, text tower forward and backward on one row a class, for every image",
    use_when="no labels, no other test images, and the image model is less sure on plain images than on some of their views",
    not_when="throughput matters, or several images come from one domain (stream heads share what they learn); the mean class "
    "probability of the confident views alone is often as good or better, without any tuning",
    aliases=("test-time prompt tuning", "marginal entropy minimisation", "confidence selection"),
    neighbours=("prompts/coop",),
    deviations=(
        "in our check (cluttered images, views that keep a share of the clutter) the step gains 5 points over zero-shot at the paper's "
        "rate, but nothing beyond averaging confident views: their mean, untuned, is right about nearly all images",
        "where views are the image with other noise, and the image has a look unseen in pretraining, a step at the paper's rate changes "
        "hardly any answer, and rates of 0.02 and 0.05 gain nothing or lose 4 points",
    ),
    checks=("mechanism:tpt",),
)


@dataclass
class TPT:
    """Test-time prompt tuning: one step on the views of a single unlabelled image, before it is classified.

    context: a template whose words are the start, or a number of random tokens. keep: share of the views that counts, those of lowest
    entropy (at least one). steps: of AdamW at rate `lr`; 0 is zero-shot. seed: of a random start. Defaults are the paper's (64 views).

    `fit(model, names)` sets the classes; each `step(model, views)` begins at the same context.
    """

    context: int | str = "a photo of a {}."
    keep: float = 0.1
    steps: int = 1
    lr: float = 5e-3
    seed: int = 0

    def fit(self, model: Any, names: Sequence[str]) -> TPT:
        """Remember the model's classes and the context that every image starts from."""
        self.ids_, M = prompt_ids(model, names, self.context)
        self.first_ = start_tokens(model, self.ids_, M, self.context, False, self.seed)
        self.encoder_ = model.fingerprint
        self.reset()
        return self

    def step(self, model: Any, x_A3HW: Float[Tensor, "A 3 H W"] | Float[Tensor, "A D"]) -> Float[Tensor, " C"]:
        """Class scores of one image. x: its preprocessed views, the plain image first; or their embeddings (A, D), made by this model."""
        check_fitted(self, model)
        self.reset()
        with frozen(model):
            with torch.no_grad():
                z_AD = model.image(x_A3HW).z_BD if x_A3HW.ndim == 4 else x_A3HW.to(model.device)
            check_finite(z_AD)
            context_ME, kept = self.first_.clone().requires_grad_(), None
            optimiser = torch.optim.AdamW([context_ME], self.lr)
            for _ in range(self.steps):
                logits_AC = scores(encode_with(model, self.ids_, context_ME).z_BD, z_AD, model.scale)
                kept = confident(logits_AC, self.keep) if kept is None else kept
                (context_ME.grad,) = torch.autograd.grad(marginal_entropy(logits_AC[kept]), [context_ME])
                optimiser.step()
            self.context_ = context_ME.detach()
            with torch.no_grad():
                return scores(encode_with(model, self.ids_, self.context_).z_BD, z_AD[:1], model.scale)[0].cpu()

    def reset(self) -> None:
        """Forget the last image."""
        self.context_ = self.first_


def confident(logits_AC: Float[Tensor, "A C"], keep: float) -> Tensor:
    """The views of lowest entropy: their share `keep`, at least one."""
    log_p = logits_AC.detach().log_softmax(-1)
    return (-(log_p.exp() * log_p).sum(-1)).argsort(stable=True)[: max(1, int(keep * len(log_p)))]


def marginal_entropy(logits_AC: Float[Tensor, "A C"]) -> Float[Tensor, ""]:
    """Entropy of the mean class distribution of the views."""
    log_p = logits_AC.log_softmax(-1).logsumexp(0) - math.log(len(logits_AC))
    return -(log_p.exp() * log_p).sum()
