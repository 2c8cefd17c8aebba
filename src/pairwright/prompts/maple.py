"""MaPLe: deep prompts in both towers, those of the images made from those of the text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.numerics import generator
from pairwright.prompts.deep_prefix import DeepPrefix
from pairwright.prompts.fit import Descent
from pairwright.prompts.tokens import start_tokens

CARD = Card(
    name="MaPLe (multi-modal prompt learning)",
    symbol="MaPLe",
    paper="maple",
    title="MaPLe: Multi-modal Prompt Learning",
    year=2023,
    arxiv="2210.03117",
    where="section 3.2, equations 4 to 8",
    equation="text block j reads t_j (P, E_text) in its places 1 ... P, image block j reads v_j = t_j A_j + b_j beside its patches,  j < J",
    says="Prompts in both towers, coupled block by block, adapt both sides together and keep new classes better than one-sided prompts.",
    needs="few labelled images + class names + a plain ViT and text transformer",
    cost="that of deep prompts in both towers; weights of J linear maps from the text tower's width to the image tower's",
    use_when="images and wording both differ from what the model was trained on",
    not_when="one side alone differs: deep_prefix for images, coop (on cached features, tens of times quicker) for wording",
    aliases=("multi-modal prompt learning", "coupled prompts", "vision-language prompting"),
    neighbours=("prompts/deep_prefix", "prompts/coop"),
    deviations=(
        "image tokens enter after the tower's first norm; in the released code those of the first block pass it. Effect unknown",
        "trained on the images as given, without the random crops of the paper; effect unknown",
        "in our check (shifted images, class names behind misleading words, each arm at the best of four rates of AdamW) it gains 8 points "
        "of H over the better side alone; independent prompts on both sides do as well (0.59 and 0.58), so that the coupling is not shown. "
        "At a quarter of the rate, with half as many classes and shots, or with names that drag along another object, VPT was as good",
    ),
    checks=("mechanism:maple",),
)


@dataclass
class MaPLe(DeepPrefix):
    """Multi-modal prompt learning: deep text prompts, and image prompts that are a learned linear map of them.

    context: a template, of which the first `length` words are learned, or a number of tokens drawn at random. layers: J, how many blocks
    get tokens of their own (at most the depth of the shallower tower); 0 is CoOp with the image tower as it is. Defaults are the paper's.

    `fit` learns ``context_`` (P, E), ``text_`` (J - 1, P, E), ``map_`` (J, E of text, E of image) and ``shift_`` (J, E of image).
    """

    towers: tuple[str, ...] = ("image", "text")
    length: int = 2
    layers: int | None = 9
    how: Descent = field(default_factory=lambda: Descent(lr=3.5e-3, epochs=5, batch=4))

    def start(self, model: Any, ids_CL: Int[Tensor, "C L"], M: int) -> dict[str, Tensor]:
        if set(self.towers) != {"image", "text"} or self.length < 1:
            raise ValueError(f"MaPLe has at least one token in both towers; got towers={self.towers}, length={self.length}")
        context_ME = start_tokens(model, ids_CL, M, self.context, False, self.seed)
        context_PE = context_ME[: self.length] if isinstance(self.context, str) else context_ME
        tower = model.towers["image"]
        J = min(tower.depth, model.towers["text"].depth, tower.depth if self.layers is None else self.layers)
        P, E = context_PE.shape
        draw = lambda name, *shape: torch.empty(*shape).uniform_(-(E**-0.5), E**-0.5, generator=generator("coupling", self.seed, name))
        like = lambda name, *shape: torch.stack([draw(f"{name} {min(j, 1)}", *shape) for j in range(J)]) if J else torch.zeros(0, *shape)
        return {
            "context_": context_PE,
            "text_": self.draw(model, "text", P)[1:J],
            "map_": like("map", E, tower.encoder_width),
            "shift_": like("shift", tower.encoder_width),
        }

    def deep(self, tower: str) -> list[Tensor]:
        """The tokens of each block; those of the images follow from those of the text."""
        if tower == "text":
            return super().deep(tower)
        text = (self.context_, *self.text_)
        return [t_PE @ A + b for t_PE, A, b in zip(text, self.map_, self.shift_)]
