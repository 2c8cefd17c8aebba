"""Prompts tuned on a model's own labels: chosen once, refreshed every round, or growing until every unlabelled row is used."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import Features
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import rows_of, scores
from pairwright.prompts.images import Images, encode_all
from pairwright.prompts.tokens import frozen, hand_text
from pairwright.prompts.upl import top_per_class

CARD = Card(
    name="pseudolabel prompt tuning (FPL, IFPL, GRIP)",
    symbol="PseudolabelTuning",
    paper="clip-pseudolabel-prompt-tuning",
    title="Enhancing CLIP with CLIP: Exploring Pseudolabeling for Limited-Label Prompt Tuning",
    year=2023,
    arxiv="2306.01669",
    where="sections 3.1 to 3.3",
    equation="P_t = the k_t surest rows of each class under the prompts of round t-1 (zero-shot at t=1);  "
    "prompts_t learned anew on L + P_t;  fixed: t=1, k;  refresh: k_t = k;  grow: k_t = floor(t N / (T C))",
    says="Semi-supervised, transductive and unsupervised tuning are one loss. Refined pseudolabels raise accuracy and, unlike a threshold "
    "on confidence, make it more even between classes.",
    needs="unlabelled features + class names + any prompt learner; labelled features where there are some",
    cost="fixed: the learner's own; refresh and grow: that once for each round",
    use_when="many unlabelled images of the classes, few or no labels, and class names that the model knows unevenly well",
    not_when="classes are very uneven in the pool (grow takes as many rows of each); zero-shot near chance (nothing to start from)",
    aliases=("FPL", "IFPL", "GRIP", "few pseudolabels", "iterative refinement of few pseudolabels", "grow and refine pseudolabels",
             "self-training of prompts", "transductive zero-shot"),
    neighbours=("prompts/upl", "prompts/coop"),
    deviations=(
        "a row serves only the class that it is surest of; the released code lets rows that find their class full fill other classes, in "
        "an order that depends on the file names. Effect unknown",
        "labelled and pseudolabelled rows count equally, by repeating the rarer kind; the released code weighs the two losses by the ratio "
        "of their sizes. Effect unknown",
        "no pseudolabelled rows are set aside to choose an epoch; the last one is kept. Effect unknown",
    ),
    checks=("mechanism:pseudolabel_tuning",),
)  # fmt: skip


@dataclass
class PseudolabelTuning:
    """Tune prompts on unlabelled images, with some labels or none: pseudolabels of the surest rows of each class, refined in rounds.

    learner: any prompt learner, textual, visual or both; each round fits a fresh copy. strategy: ``fixed`` takes the k rows of each class
    that zero-shot is surest of (FPL); ``refresh`` chooses k anew every round by the tuned prompts (IFPL); ``grow`` does so with more rows
    every round, until all are used (GRIP; k is not read). rounds: of the latter two. template: the zero-shot prompt of the first round.

    `fit` takes the unlabelled rows (labels on them are ignored) and optionally labelled ones. Unsupervised: none. Semi-supervised: few
    rows of every class. Transductive zero-shot: all rows of seen classes, and ``among`` = the numbers of the unseen classes, the only ones
    a pseudolabel may name. probs_NC: probabilities for the first round instead of zero-shot's. Learned: ``learner_``; ``rows_`` and
    ``labels_`` of the last round; ``counts_``, the number of pseudolabels of each round.
    """

    learner: Any = field(default_factory=CoOp)
    strategy: Literal["fixed", "refresh", "grow"] = "grow"
    k: int = 16
    rounds: int = 10
    template: str | Sequence[str] = "a photo of a {}."

    def fit(
        self,
        model: Any,
        names: Sequence[str],
        pool: Features | Images,
        *,
        labelled: Features | Images | None = None,
        among: Sequence[int] | None = None,
        probs_NC: Tensor | None = None,
    ) -> PseudolabelTuning:
        """Learn from unlabelled features of `model` (`Images` for visual learners), and from labelled ones where they are given."""
        if self.strategy not in ("fixed", "refresh", "grow"):
            raise ValueError(f"unknown strategy {self.strategy!r}: choose fixed, refresh or grow")
        if self.rounds < 1 or self.k < 0:
            raise ValueError(f"rounds must be at least 1 and k at least 0, got {self.rounds} and {self.k}")
        if (not among and among is not None) or any(not 0 <= c < len(names) for c in among or ()):
            raise ValueError(f"among={among} must be numbers of classes, 0 … {len(names) - 1}")
        allowed_C = torch.zeros(len(names), dtype=torch.bool)
        allowed_C[list(range(len(names)) if among is None else among)] = True
        if probs_NC is None:
            hand_CD = hand_text(model, names, self.template)
            z_ND = plain(pool, model) if isinstance(pool, Images) else rows_of(pool, model, self)
            probs_NC = scores(hand_CD.cpu(), z_ND, float(model.scale.detach())).softmax(-1)
        if probs_NC.shape != (len(pool), len(names)):
            raise ValueError(f"probs_NC must have the shape {(len(pool), len(names))} (rows, classes), got {tuple(probs_NC.shape)}")
        rounds = 1 if self.strategy == "fixed" else self.rounds
        self.counts_ = []
        for t in range(1, rounds + 1):
            if t > 1:
                probs_NC = class_scores(self.learner_, model, names, pool).softmax(-1)
            total_N1 = probs_NC[:, allowed_C].sum(1, keepdim=True).clamp_min(1e-30)
            share_NC = torch.where(allowed_C, probs_NC / total_N1, -1.0)
            k = t * len(pool) // (rounds * int(allowed_C.sum())) if self.strategy == "grow" else self.k
            self.rows_, self.labels_ = top_per_class(share_NC, k)
            self.counts_.append(len(self.rows_))
            train = both(labelled, replace(pool.rows(self.rows_), y_N=self.labels_))
            self.learner_ = copy.deepcopy(self.learner).fit(model, names, train)
        return self

    def logits(self, model: Any, names: Sequence[str], x: Features | Images) -> Float[Tensor, "N C"]:
        """Class scores of rows under the prompts of the last round."""
        if not hasattr(self, "learner_"):
            raise ValueError("this PseudolabelTuning is not fitted yet: call fit(model, names, pool) first")
        return class_scores(self.learner_, model, names, x)


def class_scores(learner: Any, model: Any, names: Sequence[str], x: Features | Images) -> Float[Tensor, "N C"]:
    """Scaled scores of rows under a fitted prompt learner: its own `logits` where class text depends on the image, else its class text
    against features, which a learner with tokens in the image tower makes itself."""
    if hasattr(learner, "logits"):
        return learner.logits(model, names, x)
    text = learner.text(model, names)
    if hasattr(learner, "image_features"):
        return scores(text.W_CD, learner.image_features(model, x).z_ND, text.scale)
    return scores(text.W_CD, rows_of(x, model, learner), text.scale)


def both(labelled: Features | Images | None, guessed: Features | Images) -> Features | Images:
    """Labelled and pseudolabelled rows together, the rarer kind repeated until there are as many (to the whole number below)."""
    if labelled is None or not len(labelled):
        return guessed
    if labelled.y_N is None:
        raise ValueError("labelled rows need labels: give them with y_N, or leave labelled=None")
    if not len(guessed):
        return labelled
    if isinstance(labelled, Images) != isinstance(guessed, Images):
        raise ValueError("labelled and unlabelled rows must be of one kind: both Features, or both Images")
    few, many = sorted((labelled, guessed), key=len)
    parts = [many, few.rows(repeats(len(few), len(many) // len(few)))]
    y_N = torch.cat([p.y_N for p in parts])
    if isinstance(many, Images):
        return Images(torch.cat([p.batch(torch.arange(len(p))) for p in parts]), y_N)
    return Features(torch.cat([p.z_ND for p in parts]), y_N, encoder=labelled.encoder or guessed.encoder)


@torch.no_grad()
def plain(images: Images, model: Any) -> Float[Tensor, "N D"]:
    """Features of images under the model without learned tokens."""
    with frozen(model):
        return encode_all(images, lambda x_B3HW: model.image(x_B3HW).z_BD, model).float().cpu()


def repeats(n: int, times: int) -> Int[Tensor, " K"]:
    """0 … n - 1, `times` times over."""
    return torch.arange(n).repeat(times)
