"""NoLA: from class descriptions and unlabelled images to tuned prompts, by way of a second encoder that sees more."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.features import ClassText, Features, check_finite, check_same_encoder
from pairwright.core.numerics import unit
from pairwright.heads.linear.logistic import Logistic
from pairwright.prompts.coop import CoOp
from pairwright.prompts.pseudolabel_tuning import class_scores
from pairwright.prompts.upl import top_per_class

CARD = Card(
    name="NoLA (no labels attached)",
    symbol="NoLA",
    paper="nola",
    title="CLIP meets DINO for Tuning Zero-Shot Classifier using Unlabeled Image Collections",
    year=2024,
    arxiv="2411.19346",
    where="section 3, steps 1 to 3",
    equation="rows_c = the k rows of largest softmax(scale z T^T)_c, T the mean of class descriptions;  head on s(rows) -> c, s the second "
    "encoder;  prompts by cross-entropy to argmax head(s) on all rows",
    says="Descriptions label a few rows well, a self-supervised encoder carries these labels to all rows better than CLIP itself "
    "would, and prompts tuned on them beat other label-free tuning.",
    needs="class text from descriptions + unlabelled features with a second encoder's features beside them + any prompt learner",
    cost="a logistic regression on k rows a class, then the prompt learner on all rows",
    use_when="a folder of unlabelled images, and a second encoder (DINO and its kin) that tells apart what CLIP's image tower mixes up",
    not_when="the second encoder sees no more than the first (pseudolabel_tuning does as well), or there are labels for all classes",
    aliases=("no labels attached", "CLIP meets DINO", "DINO-assisted pseudo-labels", "label-free prompt tuning"),
    neighbours=("prompts/upl", "prompts/pseudolabel_tuning", "heads/zero_shot/description_ensemble"),
    deviations=(
        "any prompt learner on stored features takes the place of visual prompts trained on strongly augmented views of each image; a "
        "visual learner may be given. Effect unknown",
        "the alignment module is a logistic regression; the released code trains a small network. Effect unknown",
    ),
    checks=("mechanism:nola",),
)


@dataclass
class NoLA:
    """Label-free tuning: descriptions label the surest rows, a head on a second encoder's features labels the rest, prompts learn from all.

    side: the name of the second encoder's features in ``Features.side``. k: rows a class that train the head. head: any
    classifier of labelled features. learner: any prompt learner. Both are fitted as copies.

    Learned: ``rows_`` and ``given_``, what the descriptions labelled; ``head_``; ``labels_``, the head's label of every row; ``learner_``.
    """

    side: str = "dino"
    k: int = 16
    head: Any = field(default_factory=Logistic)
    learner: Any = field(default_factory=CoOp)

    def fit(self, model: Any, names: Sequence[str], pool: Features, described: ClassText) -> NoLA:
        """Learn from unlabelled features of `model` with `side` features, and class text made from descriptions; labels are ignored."""
        side_ND = self._beside(pool)
        check_same_encoder(pool, described)
        check_finite(pool.z_ND)
        if len(described) != len(names):
            raise ValueError(f"{len(names)} class names but class text for {len(described)}: describe every class, in the same order")
        probs_NC = (described.scale * pool.z_ND @ described.W_CD.T).softmax(1)
        self.rows_, self.given_ = top_per_class(probs_NC, self.k)
        if not len(self.rows_):
            raise ValueError("no row to start from: give a pool with rows, and k of at least 1")
        beside = Features(side_ND, classes=tuple(names))
        self.head_ = copy.deepcopy(self.head).fit(replace(beside.rows(self.rows_), y_N=self.given_), None)
        scores_NC = self.head_.logits(beside)
        self.labels_ = scores_NC.argmax(1)
        self.learner_ = copy.deepcopy(self.learner).fit(model, names, replace(pool, y_N=self.labels_))
        return self

    def logits(self, model: Any, names: Sequence[str], x: Features) -> Float[Tensor, "N C"]:
        """Class scores of rows under the tuned prompts; the second encoder is not needed any more."""
        if not hasattr(self, "learner_"):
            raise ValueError("this NoLA is not fitted yet: call fit(model, names, pool, described) first")
        return class_scores(self.learner_, model, names, x)

    def _beside(self, x: Features) -> Tensor:
        if self.side not in x.side:
            have = ", ".join(x.side) or "none"
            raise ValueError(
                f"the features hold no side features {self.side!r} (they hold {have}): embed the same rows with that encoder too"
            )
        side_ND = x.side[self.side].float()
        check_finite(side_ND)
        return unit(side_ND)
