"""CPL: prompts with the visual concepts that an image shares with training images, and a projector that moves them towards the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy, layer_norm

from pairwright.core.card import Card
from pairwright.core.features import Features, check_finite
from pairwright.core.numerics import generator, unit
from pairwright.heads.cache.concept_cache import concept_keys, shared_concepts
from pairwright.heads.descent import descend
from pairwright.prompts.fit import labels_of, rows_of, scores
from pairwright.prompts.tokens import check_fitted, hand_text

CARD = Card(
    name="CPL (concept-guided prompt learning)",
    symbol="CPL",
    paper="cpl",
    title="Concept-Guided Prompt Learning for Generalization in Vision-Language Models",
    year=2024,
    arxiv="2401.07457",
    where="section 3",
    equation="keys of concept v = the K training rows of largest z T_v;  words(z) = the concepts of the nearest keys;  t_c = text(template of "
    "words(z) and name c);  W_c = unit(t_c + alpha F(t_c + softmax(t_c Q (h K)^T) h V)),  h the features of z at several levels",
    says="Colours, shapes and sizes carry over to new classes. Prompts that name what the image shows, kept near CLIP's own knowledge, "
    "beat CoOp and CoCoOp on new classes and other data.",
    needs="few labelled features + class names + a list of concept words; features of other layers in `side` where there are some",
    cost="the text tower once for each distinct set of words and class, none in training; then one small decoder layer a row and class",
    use_when="images of a class differ in what words can name (colour, texture, material), and new classes share these words",
    not_when="no list of words fits the images, or captions in pretraining named the class alone (the plain prompt does as well)",
    aliases=("concept-guided prompts", "visual concept cache", "concept cache"),
    neighbours=("prompts/cocoop", "prompts/coop", "heads/cache/tip_adapter"),
    deviations=(
        "the task adapter beside the prompts is left out: it learns the training classes alone. Effect unknown",
        "the projector is one decoder layer of one head, whose output starts at zero, on stored features; without `levels` it sees the last "
        "feature only. The paper reads several levels of the image tower. Effect unknown",
        "number of keys, number of words and the strength of the projector are this file's own defaults",
    ),
    checks=("mechanism:cpl",),
)  # fmt: skip

_CHUNK = 2**21  # elements of class text by row in memory at once


@dataclass
class CPL:
    """Concept-guided prompts: each image gets class text that names the visual concepts (colour, texture, size …) it shows.

    keys: training images kept for each concept. words: how many concepts a prompt names, the surest first; 0 leaves the class name alone.
    template: of the prompt; words stand in front of the class name. alpha: strength of the learned projector (0: prompts alone). levels:
    names in `Features.side` of features of other layers, which the projector reads beside the last. hidden, lr, epochs: of the projector,
    trained by AdamW in batches of 64 rows at most 500 steps; 0 epochs leave the prompts as they are. seed: of its start.

    `fit` learns ``keys_`` (K, D), ``concept_`` (K,) and the projector's matrices. Use `logits` to classify: class text is each image's own.
    """

    keys: int = 8
    words: int = 1
    template: str = "a photo of a {}."
    alpha: float = 1.0
    levels: tuple[str, ...] = ()
    hidden: int = 64
    lr: float = 1e-3
    epochs: int = 50
    seed: int = 0

    def fit(self, model: Any, names: Sequence[str], train: Features, concepts: Sequence[str] = ()) -> CPL:
        """Learn from labelled features of `model`; label c is names[c]. concepts: the words, such as ``("red", "striped", "small")``."""
        z_ND, y_N = rows_of(train, model, self).to(model.device), labels_of(train, len(names), self).to(model.device)
        if self.words > len(concepts) > 0 or self.words < 0:
            raise ValueError(f"words={self.words} of {len(concepts)} concepts in a prompt: give more concepts, or name fewer")
        self.encoder_, self.concepts_ = model.fingerprint, tuple(concepts) if self.words else ()
        if self.concepts_:
            concepts_VD = hand_text(model, self.concepts_, self.template)
            self.keys_, self.concept_ = concept_keys(z_ND, concepts_VD, self.keys)
        text_NCD, levels = self._prompts(model, names, z_ND), self._levels(train, z_ND)
        self._start(z_ND, levels)
        if self.alpha and self.epochs and len(z_ND):
            parts = [p.requires_grad_() for p in self._parts()]

            def loss(at: Tensor) -> Tensor:
                W_BCD = self._moved(text_NCD[0][text_NCD[1][at]], [h[at] for h in levels])
                return cross_entropy(scores(W_BCD, z_ND[at], model.scale.detach()), y_N[at])

            descend(parts, loss, len(z_ND), lr=self.lr, epochs=self.epochs, batch=64, most_steps=500, decay=0.01, key="cpl")
            for p in parts:
                p.requires_grad_(False)
        return self
