"""CoOp: context tokens learned in front of the class name, one set for all classes or one for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.encoded import Encoded
from pairwright.core.features import ClassText, Features
from pairwright.prompts.fit import Descent, GradientRule, Term, fit_tokens, labels_of, rows_of
from pairwright.prompts.tokens import check_fitted, encode_with, frozen, prompt_ids, start_tokens

CARD = Card(
    name="CoOp (context optimization)",
    symbol="CoOp",
    paper="extra:coop",
    title="Learning to Prompt for Vision-Language Models",
    year=2022,
    arxiv="2109.01134",
    where="section 3.2, equations 2 to 4",
    equation="W_c = text([start] v_1 ... v_M [name of c] [end]),  v by cross-entropy of scale z W^T; one v for all classes, or v_c",
    says="A few learned context tokens in place of hand-written words beat prompt engineering from two shots on, by a wide margin at 16.",
    needs="few labelled features + class names + the text tower",
    cost="text tower forward and backward on one row a class in each step; then that of zero-shot",
    use_when="labels of some classes are at hand and the classifier has to extend to new class names that share their domain",
    not_when="wrong labels (kgcoop, prograd), or a closed set of classes: heads on features are quicker there (gda, class_penalty)",
    aliases=("context optimization", "prompt learning", "soft prompts", "learned context"),
    neighbours=("prompts/kgcoop", "prompts/prograd", "prompts/cocoop", "prompts/upl", "heads/linear/text_residual"),
    deviations=(
        "trained on stored features, without the random crops of the paper; effect unknown",
        "a number of tokens is followed by the bare name, as in the paper's text; the released code adds a full stop (a template may)",
        "the class name stands at the end; the paper's middle position, which it finds to be no better on average, is not offered",
        "at most 2,000 steps, which cuts the epochs short beyond 320 rows at 200 epochs; effect unknown",
    ),
    checks=("mechanism:coop",),
)


@dataclass
class CoOp:
    """Learned text prompt: context tokens in front of the class name, trained on few labelled image features, the model frozen.

    context: how many tokens, drawn from N(0, 0.02^2), or a template whose words in front of the name are the start (those behind it stay).
    per_class: every class has tokens of its own, which then fit no other classes. seed: of start and batches. how: the descent; all
    defaults are the paper's and need no validation.

    `fit` learns ``context_`` (M, E), or (C, M, E); `text` makes the `ClassText` of any class names, seen in training or new, that zero-shot
    and few-shot heads take.
    """

    context: int | str = 16
    per_class: bool = False
    seed: int = 0
    how: Descent = field(default_factory=Descent)

    def fit(self, model: Any, names: Sequence[str], train: Features) -> CoOp:
        """Learn from labelled features of `model`; label c is names[c]. No rows leave the start as it is."""
        ids_CL, M = prompt_ids(model, names, self.context)
        z_ND, y_N = rows_of(train, model, self), labels_of(train, len(names), self)
        self.encoder_ = model.fingerprint
        self.context_ = start_tokens(model, ids_CL, M, self.context, self.per_class, self.seed).requires_grad_()
        self.losses_ = fit_tokens(
            self,
            model,
            ids_CL,
            z_ND,
            y_N,
            self.parameters(model),
            terms=self.terms(model, names),
            rule=self.rule(),
            how=self.how,
            seed=self.seed,
        )
        self.context_ = self.context_.detach()
        return self

    def class_text(self, model: Any, ids_CL: Int[Tensor, "C L"], image: Encoded | None = None) -> Float[Tensor, "C D"]:
        """Unit class embeddings (C, D) of token rows whose places 1 … M are filled with the learned tokens."""
        if self.context_.ndim == 3 and len(self.context_) != len(ids_CL):
            raise ValueError(
                f"these tokens belong to the {len(self.context_)} classes they were learned on, not to {len(ids_CL)}: use per_class=False"
            )
        return encode_with(model, ids_CL, self.context_).z_BD

    def deep(self, tower: str) -> list[Tensor]:
        """No tokens inside the towers."""
        return []

    def text(self, model: Any, names: Sequence[str]) -> ClassText:
        """The learned class text of some class names, for heads."""
        with torch.no_grad(), frozen(model):
            W_CD = self.class_text(model, self.ids(model, names))
        return ClassText(W_CD.float().cpu(), tuple(names), encoder=model.fingerprint, scale=float(model.scale.detach()))

    def ids(self, model: Any, names: Sequence[str]) -> Int[Tensor, "C L"]:
        """Token rows of class names with places for the learned tokens; refuses a model that these were not learned for."""
        check_fitted(self, model)
        return prompt_ids(model, names, self.context)[0]

    def parameters(self, model: Any) -> list[Tensor]:
        """The leaves that descent moves; called once, when `context_` has its start."""
        return [self.context_]

    def terms(self, model: Any, names: Sequence[str]) -> tuple[Term, ...]:
        """What is added to the cross-entropy."""
        return ()

    def rule(self) -> GradientRule | None:
        """How gradients of the parts are combined; None: their sum."""
        return None
