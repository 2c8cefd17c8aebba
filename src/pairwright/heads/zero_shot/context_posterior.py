"""PerceptionCLIP: infer the context of an image (background, style …), then classify conditioned on it."""

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
    name="PerceptionCLIP",
    symbol="ContextPosterior",
    paper="perceptionclip",
    title="More Context, Less Distraction: Visual Classification by Inferring and Conditioning on Contextual Attributes",
    year=2024,
    arxiv="2308.01313",
    where="section 4, algorithm 1 (with the class)",
    equation="p(k|z) = softmax_k(log sum_c exp(scale z . w_ck / temperature)), p(c|z,k) = softmax_c(scale z . w_ck);  logits = log sum_k "
    "p(c|z,k) p(k|z), w_ck text of class c in context k",
    says="Naming the context that is inferred from the image keeps it from standing in for the class: worst groups gain most.",
    needs="class text with one prompt for each context, the same contexts in the same order for all classes",
    cost="K text embeddings per class, once; then K times zero-shot",
    use_when="classes come with typical surroundings in the training of the model (birds on water), and test images break that habit",
    not_when="contexts that the model cannot see, or that have nothing to do with the images: then their mean (prompt_ensemble) is as good",
    aliases=("PerceptionCLIP", "contextual attributes", "conditioning on context", "two-step zero-shot", "spurious background"),
    neighbours=("heads/zero_shot/prompt_ensemble", "heads/zero_shot/description_ensemble"),
    deviations=(
        "at temperature 1 the two steps are one: logits are then the log of the summed exponentials of a class's contexts",
        "the context is inferred with the classes (the paper's first variant); inferring it from texts without a class is not here",
        "logits are log-probabilities; without val the temperature is 1, where the paper tries several. Effect unknown",
    ),
    checks=("mechanism:context_posterior",),
)

TEMPERATURES = (1.0, 3.0, 10.0, 30.0, 100.0)
_BLOCK = 2**24  # scores of row, class and context in memory at once


@dataclass
class ContextPosterior:
    """Zero-shot classifier that first infers in which context an image was taken, then which class it shows in that context.

    fit needs `text.prompts_CPD`, prompt k of every class naming the same context k (recipes.perceptionclip builds it). temperature: of
    the context; a large one weighs all contexts alike. Where `val` is given it is chosen there from five (smallest among equals), into
    temperature_. logits are log p(c|z); `contexts` gives p(k|z). scale: logit scale; None takes that of the class text. One context is
    zero-shot.
    """

    temperature: float = 1.0
    scale: float | None = None

    needs: ClassVar[frozenset[str]] = frozenset({"text"})
    neutral: ClassVar[dict[str, float] | None] = None  # no strength: with one context it is zero-shot (tested with the method)

    def fit(self, train: Features | None, text: ClassText | None, *, val: Features | None = None) -> ContextPosterior:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}: use a large one to weigh all contexts alike")
        prompts_CKD = single_prompts(text, self)
        missing = (prompts_CKD == 0).all(-1)
        if missing.any():
            c, k = (int(i) for i in missing.nonzero()[0])
            raise ValueError(
                f"class {text.names[c]!r} has no prompt for context {k}: every class needs the same contexts in the same order"
            )
        self.prompts_, self.encoder_ = unit(prompts_CKD), text.encoder
        self.scale_ = text.scale if self.scale is None else self.scale
        self.temperature_ = self.temperature
        if val is not None:
            val, y_V, _ = inputs.labelled(val, text, self)
            right = {t: inputs.accuracy(self._log_class(val.z_ND, t), y_V) for t in TEMPERATURES}
            self.temperature_ = max(TEMPERATURES, key=lambda t: (right[t], -t))
        return self

    def logits(self, z_ND: Any) -> Float[Tensor, "N C"]:
        """log p(c|z) of rows of features (array, tensor or Features)."""
        return self._log_class(self._rows(z_ND), self.temperature_)

    def contexts(self, z_ND: Any) -> Float[Tensor, "N K"]:
        """p(k|z): how likely each row was taken in each context."""
        z_ND = self._rows(z_ND)
        parts = [log_context(scores, self.temperature_).exp() for scores in self._scores(z_ND)]
        return torch.cat(parts) if parts else z_ND.new_zeros(0, self.prompts_.shape[1])

    def _rows(self, z_ND: Any) -> Tensor:
        inputs.fitted(self, "prompts_")
        return inputs.rows(z_ND, self.prompts_.shape[2], self.encoder_, self)

    def _scores(self, z_ND: Tensor) -> Any:
        C, K, _ = self.prompts_.shape
        step = max(1, _BLOCK // (C * K))
        return (self.scale_ * torch.einsum("nd,ckd->nck", z_ND[i : i + step], self.prompts_) for i in range(0, len(z_ND), step))

    def _log_class(self, z_ND: Tensor, temperature: float) -> Tensor:
        parts = [(s.log_softmax(1) + log_context(s, temperature)[:, None]).logsumexp(2) for s in self._scores(z_ND)]
        return torch.cat(parts) if parts else z_ND.new_zeros(0, len(self.prompts_))


def log_context(scores_NCK: Float[Tensor, "N C K"], temperature: float) -> Float[Tensor, "N K"]:
    """log p(k|z), the classes summed out."""
    return (scores_NCK / temperature).logsumexp(1).log_softmax(1)
