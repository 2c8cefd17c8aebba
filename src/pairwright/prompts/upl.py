"""UPL: prompts learned without labels, from the rows of each class that zero-shot is surest of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.encoded import Encoded
from pairwright.core.features import Features
from pairwright.core.numerics import unit
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent, rows_of, scores
from pairwright.prompts.tokens import encode_with, hand_text, prompt_ids

CARD = Card(
    name="UPL (unsupervised prompt learning)",
    symbol="UPL",
    paper="upl",
    title="Unsupervised Prompt Learning for Vision-Language Models",
    year=2022,
    arxiv="2204.03649",
    where="sections 3.2 and 3.3",
    equation="rows_c = the k rows of largest p_c among those with argmax p = c, p = softmax(scale z T^T);  CoOp on (rows_c, c);  "
    "W = unit(mean over runs)",
    says="Top-k pseudo-labels for each class keep classes balanced; prompts learned from them beat hand-written ones without labels.",
    needs="unlabelled features + class names + the text tower + a hand-written template",
    cost="that of CoOp on k rows a class, once for each run",
    use_when="there are images of the classes but no labels, and they look different from what the model was trained on",
    not_when="zero-shot hardly knows some classes (nothing right to learn from); images in the model's own domain (nothing to gain)",
    aliases=("unsupervised prompt learning", "pseudo-label prompt learning", "UPL*"),
    neighbours=("prompts/coop",),
    deviations=(
        "runs are joined by the mean of their class text; the paper averages their predictions. Effect unknown",
        "trained on stored features, without the random crops of the paper; effect unknown",
    ),
    checks=("mechanism:upl",),
)


@dataclass
class UPL(CoOp):
    """Prompt learning from unlabelled images: pseudo-labels are the k rows of each class that zero-shot is surest of.

    k: rows a class; 0 leaves the start. runs: prompts learned from different seeds, whose class text is averaged. template: the
    hand-written prompt (or several) that makes the pseudo-labels. The rest as in CoOp.

    `fit` ignores labels. Better pseudo-labels, such as the mean of several encoders' (the paper's ensemble) or a stronger encoder's (UPL*),
    are given as `probs_NC`, class probabilities of the same rows. ``context_`` is (runs, M, E); `rows_` and `labels_` were learned from.
    """

    k: int = 16
    runs: int = 4
    template: str | Sequence[str] = "a photo of a {}."
    how: Descent = field(default_factory=lambda: Descent(epochs=50))

    def fit(self, model: Any, names: Sequence[str], train: Features, *, probs_NC: Tensor | None = None) -> UPL:
        """Learn from unlabelled features of `model`."""
        if self.per_class or self.runs < 1:
            raise ValueError(
                f"UPL shares its context between classes and takes at least one run; got per_class={self.per_class}, runs={self.runs}"
            )
        prompt_ids(model, names, self.context)  # refuses names before anything is embedded
        z_ND = rows_of(train, model, self)
        if probs_NC is None:
            hand_CD = hand_text(model, names, self.template).cpu()
            probs_NC = scores(hand_CD, z_ND, float(model.scale.detach())).softmax(-1)
        if probs_NC.shape != (len(train), len(names)):
            raise ValueError(f"probs_NC must have the shape {(len(train), len(names))} (rows, classes), got {tuple(probs_NC.shape)}")
        self.rows_, self.labels_ = top_per_class(probs_NC, self.k)
        chosen = replace(train.rows(self.rows_), y_N=self.labels_)
        own = [CoOp(self.context, False, self.seed + r, self.how).fit(model, names, chosen) for r in range(self.runs)]
        self.encoder_ = own[0].encoder_
        self.context_ = torch.stack([run.context_ for run in own])
        self.losses_ = torch.stack([run.losses_ for run in own]).mean(0)
        return self

    def class_text(self, model: Any, ids_CL: Int[Tensor, "C L"], image: Encoded | None = None) -> Float[Tensor, "C D"]:
        """Unit mean over runs of the class embeddings, (C, D)."""
        return unit(torch.stack([encode_with(model, ids_CL, run).z_BD for run in self.context_]).mean(0))


def top_per_class(probs_NC: Float[Tensor, "N C"], k: int) -> tuple[Int[Tensor, " K"], Int[Tensor, " K"]]:
    """Rows and labels of the k most probable rows of each class, among the rows whose most probable class it is; sorted by row.

    A class that wins fewer rows gets what there are; the lower row wins ties. Unlike a threshold it keeps the classes balanced.
    """
    sure_N, label_N = probs_NC.max(1)
    best = torch.argsort(sure_N, descending=True, stable=True)
    mine_NC = label_N[best, None] == torch.arange(probs_NC.shape[1], device=probs_NC.device)
    place_N = mine_NC.cumsum(0).gather(1, label_N[best, None]).squeeze(1)
    rows = best[place_N <= k].sort().values
    return rows, label_N[rows]
