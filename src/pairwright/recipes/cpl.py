"""CPL: prompts with the visual concepts that an image shares with training images, and a projector that moves them towards the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
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
    equation="keys of concept v = the K training rows of largest z T_v;  words(z) = concepts of the nearest keys;  t_c = text(words(z), "
    "name c);  W_c = unit(t_c + alpha relu(norm(t_c + softmax(t_c Q (h K)^T) h V) A) B),  h the features of z at several levels",
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
        "the projector is one decoder layer of one head whose output starts at zero, on stored features; without `levels` it sees the "
        "last feature only, the paper reads several. In the check the prompts are no worse without it: they carry the gain",
        "number of keys, number of words and the strength of the projector are this file's own defaults",
    ),
    checks=("mechanism:cpl",),
)

_CHUNK = 2**21  # elements of class text by row in memory at once


@dataclass
class CPL:
    """Concept-guided prompts: each image gets class text that names the visual concepts (colour, texture, size …) it shows.

    keys: training images kept for each concept. words: how many concepts a prompt names, the surest first; 0 leaves the class name alone.
    template: of the prompt; words stand in front of the class name. alpha: strength of the learned projector (0: prompts alone). levels:
    names in `Features.side` of features of other layers, which the projector reads beside the last. hidden, lr, epochs: of the projector,
    trained by AdamW in batches of 64 rows at most 500 steps; 0 epochs leave the prompts as they are. seed: of its start.

    `fit` learns ``keys_`` (K, D), ``concept_`` (K,) and ``projector_``, its matrices by name. Use `logits` to classify: there is no class
    text for all images.
    """

    keys: int = 8
    words: int = 1
    template: str = "a photo of a {}."
    alpha: float = 0.1
    levels: tuple[str, ...] = ()
    hidden: int = 64
    lr: float = 1e-3
    epochs: int = 20
    seed: int = 0

    def fit(self, model: Any, names: Sequence[str], train: Features, concepts: Sequence[str] = ()) -> CPL:
        """Learn from labelled features of `model`; label c is names[c]. concepts: the words, such as ``("red", "striped", "small")``."""
        z_ND, y_N = rows_of(train, model, self).to(model.device), labels_of(train, len(names), self).to(model.device)
        if self.words < 0 or self.words > len(concepts) > 0:
            raise ValueError(f"words={self.words} of {len(concepts)} concepts in a prompt: give more concepts, or name fewer")
        self.encoder_, self.concepts_ = model.fingerprint, tuple(concepts) if self.words and len(z_ND) else ()
        if self.concepts_:
            self.keys_, self.concept_ = concept_keys(z_ND, hand_text(model, self.concepts_, self.template), self.keys)
        levels = self._levels(train, z_ND)
        self.projector_ = self._start(levels)
        if self.alpha and self.epochs and len(z_ND):
            text_UCD, prompt_N = self.prompts(model, names, z_ND)
            scale, parts = model.scale.detach(), [p.requires_grad_() for p in self.projector_.values()]

            def loss(at: Tensor) -> Tensor:
                W_BCD = self._moved(text_UCD[prompt_N[at]], [h[at] for h in levels])
                return cross_entropy(scores(W_BCD, z_ND[at], scale), y_N[at])

            descend(parts, loss, len(z_ND), lr=self.lr, epochs=self.epochs, batch=64, most_steps=500, decay=0.01, key="cpl")
            self.projector_ = {name: p.detach() for name, p in self.projector_.items()}
        return self

    @torch.no_grad()
    def logits(self, model: Any, names: Sequence[str], x: Features) -> Float[Tensor, "N C"]:
        """Class scores of image features for any class names, each row against prompts with its own concepts."""
        check_fitted(self, model)
        z_ND = rows_of(x, model, self).to(model.device)
        levels, (text_UCD, prompt_N) = self._levels(x, z_ND), self.prompts(model, names, z_ND)
        found = [torch.zeros(0, len(names))]
        for at in torch.arange(len(z_ND), device=z_ND.device).split(max(1, _CHUNK // text_UCD[0].numel())):
            W_BCD = self._moved(text_UCD[prompt_N[at]], [h[at] for h in levels])
            found.append(scores(W_BCD, z_ND[at], model.scale).cpu())
        return torch.cat(found)

    def concepts_of(self, z_ND: Float[Tensor, "N D"]) -> Int[Tensor, "N T"]:
        """The places in the list of concepts of the words that each row's prompts name, the surest first."""
        return shared_concepts(z_ND, self.keys_, self.concept_, len(self.concepts_), self.words)

    def prompts(self, model: Any, names: Sequence[str], z_ND: Float[Tensor, "N D"]) -> tuple[Tensor, Tensor]:
        """Class text (U, C, D) of the U distinct sets of words among the rows, and the set (N,) of each row."""
        if not (self.concepts_ and len(z_ND)):
            return hand_text(model, names, self.template)[None], torch.zeros(len(z_ND), dtype=torch.int64, device=z_ND.device)
        sets_UT, set_N = self.concepts_of(z_ND).unique(dim=0, return_inverse=True)
        said = [" ".join(self.concepts_[v] for v in row) for row in sets_UT.tolist()]
        rows = [f"{words} {name}" for words in said for name in names]
        return hand_text(model, rows, self.template).view(len(said), len(names), -1), set_N

    def _levels(self, x: Features, z_ND: Tensor) -> list[Tensor]:
        if missing := [name for name in self.levels if name not in x.side]:
            raise ValueError(f"the features hold no side features {missing[0]!r}: embed the same rows at that level too")
        side = [x.side[name].to(z_ND) for name in self.levels]
        for h_NE in side:
            check_finite(h_NE)
        return [z_ND, *map(unit, side)]

    def _start(self, levels: Sequence[Tensor]) -> dict[str, Tensor]:
        """The projector's matrices: random, but for the last, which is zero."""
        D, like = levels[0].shape[1], levels[0]

        def draw(name: str, rows: int, columns: int) -> Tensor:
            rng = generator("cpl projector", self.seed, name)
            return (rows**-0.5 * torch.randn(rows, columns, generator=rng)).to(like)

        parts = {"query": draw("query", D, self.hidden), "in": draw("in", D, self.hidden)}
        for name, h_NE in zip(("last", *self.levels), levels):
            parts[f"key {name}"] = draw(f"key {name}", h_NE.shape[1], self.hidden)
            parts[f"value {name}"] = draw(f"value {name}", h_NE.shape[1], D)
        return {**parts, "out": like.new_zeros(self.hidden, D)}

    def _moved(self, text_BCD: Tensor, levels: Sequence[Tensor]) -> Float[Tensor, "B C D"]:
        """Class text after one decoder layer: each class asks the levels of the image, and is moved by what comes out."""
        p, names = self.projector_, ("last", *self.levels)
        key_BLH = torch.stack([h @ p[f"key {n}"] for n, h in zip(names, levels)], 1)
        value_BLD = torch.stack([h @ p[f"value {n}"] for n, h in zip(names, levels)], 1)
        weight_BCL = (text_BCD @ p["query"] @ key_BLH.mT / self.hidden**0.5).softmax(-1)
        asked_BCD = layer_norm(text_BCD + weight_BCL @ value_BLD, text_BCD.shape[-1:])
        return unit(text_BCD + self.alpha * ((asked_BCD @ p["in"]).relu() @ p["out"]))
