"""CoCoOp: context tokens that a small network shifts by what the image shows."""

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
from pairwright.core.numerics import generator
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent, rows_of, scores
from pairwright.prompts.tokens import encode_with, frozen

CARD = Card(
    name="CoCoOp (conditional context optimization)",
    symbol="CoCoOp",
    paper="extra:cocoop",
    title="Conditional Prompt Learning for Vision-Language Models",
    year=2022,
    arxiv="2203.05557",
    where="section 3.2, equation 3",
    equation="W_c(z) = text([start] v_1 + h(z) ... v_M + h(z) [name of c] [end]),  h(z) = B relu(A z + a) + b, width D/16",
    says="Shifting the context by each image generalises better to new classes than CoOp's fixed context.",
    needs="few labelled features + class names + the text tower",
    cost="text tower on one row for each pair of image and class, in training and in use: C times that of CoOp per image",
    use_when="images come from several domains that a single context cannot serve, and the cost does not matter",
    not_when="many classes or many images; one domain (CoOp does, at a fraction of the cost)",
    aliases=("conditional prompt learning", "Co-CoOp", "image-conditional prompts"),
    neighbours=("prompts/coop",),
    deviations=(
        "the network's last layer starts at zero, so that learning starts from the hand-written prompt; the released code starts it at "
        "random. Effect unknown",
        "trained on stored features, without the random crops of the paper; effect unknown",
        "the check takes AdamW, for CoOp too: in 128 to 320 steps of the paper's SGD the network of a small tower hardly learns, and falls "
        "behind CoOp by 1 to 6 points (rates 2e-3 to 1e-2, 4 and 16 hidden units); CoOp itself is no better with either",
    ),
    checks=("mechanism:cocoop",),
)


@dataclass
class CoCoOp(CoOp):
    """Image-conditional learned prompt: every image gets context tokens, and so class text, of its own.

    reduce: width of the network's hidden layer is D / reduce (at least 1). context, seed and how as in CoOp; the start is "a photo of a",
    steps take one image each for 10 epochs, as in the paper. Use `logits` to classify: there is no class text for all images.
    """

    context: int | str = "a photo of a {}."
    reduce: int = 16
    how: Descent = field(default_factory=lambda: Descent(epochs=10, batch=1))

    def parameters(self, model: Any) -> list[Tensor]:
        if self.per_class:
            raise ValueError("CoCoOp shares its context between classes: leave per_class=False")
        D, E = model.width, self.context_.shape[-1]
        hidden = max(1, D // self.reduce)
        draw = lambda *shape: torch.empty(*shape).uniform_(-(D**-0.5), D**-0.5, generator=generator("meta", self.seed, *shape))
        start = (draw(hidden, D), draw(hidden), torch.zeros(E, hidden), torch.zeros(E))
        self.down_, self.down_bias_, self.up_, self.up_bias_ = (t.to(model.device).requires_grad_() for t in start)
        return [self.context_, self.down_, self.down_bias_, self.up_, self.up_bias_]

    def fit(self, model: Any, names: Sequence[str], train: Features) -> CoCoOp:
        """Learn from labelled features of `model`; label c is names[c]."""
        super().fit(model, names, train)
        for name in ("down_", "down_bias_", "up_", "up_bias_"):
            setattr(self, name, getattr(self, name).detach())
        return self

    def shift(self, z_BD: Float[Tensor, "B D"]) -> Float[Tensor, "B E"]:
        """What each image adds to every context token."""
        return (z_BD @ self.down_.T + self.down_bias_).relu() @ self.up_.T + self.up_bias_

    def class_text(self, model: Any, ids_CL: Int[Tensor, "C L"], image: Encoded | None = None) -> Float[Tensor, "B C D"]:
        """Unit class embeddings for each image, (B, C, D)."""
        if image is None:
            raise ValueError("CoCoOp's class text depends on the image: use logits(model, names, z), or pass image=Encoded(z)")
        B, C = len(image), len(ids_CL)
        tokens_BME = self.context_ + self.shift(image.z_BD)[:, None]
        rows = encode_with(model, ids_CL.repeat(B, 1), tokens_BME.repeat_interleave(C, 0))
        return rows.z_BD.view(B, C, -1)

    def text(self, model: Any, names: Sequence[str]) -> ClassText:
        """Refused: see `logits`."""
        raise ValueError("CoCoOp has class text for each image, not one for all: classify with logits(model, names, z)")

    @torch.no_grad()
    def logits(self, model: Any, names: Sequence[str], x: Features, chunk: int = 16) -> Float[Tensor, "N C"]:
        """Class scores of image features; `chunk` images go through the text tower at once, with all classes each."""
        ids_CL, z_ND = self.ids(model, names), rows_of(x, model, self).to(model.device)
        if not len(z_ND):
            return torch.zeros(0, len(names))
        with frozen(model):
            parts = [scores(self.class_text(model, ids_CL, Encoded(z)), z, model.scale) for z in z_ND.split(chunk)]
        return torch.cat(parts).cpu()
