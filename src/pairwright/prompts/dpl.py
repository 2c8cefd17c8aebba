"""DPL: deep prompts whose say in attention is set apart, so that they cannot crowd out what the frozen tower attends to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.encoded import Encoded
from pairwright.models.towers.block import Rewrite
from pairwright.prompts.deep_prefix import DeepPrefix
from pairwright.prompts.fit import Descent
from pairwright.prompts.images import Images
from pairwright.prompts.tokens import encode_with

CARD = Card(
    name="DPL (decoupled prompt learning)",
    symbol="DPL",
    paper="dpl",
    title="DPL: Decoupled Prompt Learning for Vision-Language Models",
    year=2023,
    arxiv="2308.10061",
    where="section 3, attention as four sub-processes between prompts and instances",
    equation="own tokens X read (1 - r) softmax(Q_X K_X^T) V_X + r softmax(Q_X K_P^T) V_P, prompts P read softmax(Q_P K_X^T) V_X;  "
    "ordinary attention is r = sum exp(Q_X K_P^T) / sum exp(Q_X [K_X, K_P]^T), and prompts that read each other",
    says="In one softmax, prompts compete with a tower's own tokens and overfit; with a weight of their own, new classes suffer less.",
    needs="few labelled images + class names + a plain ViT and text transformer",
    cost="that of deep prompts in both towers, with two small attentions in place of one",
    use_when="deep prompts are many beside the tokens that the towers have, or are trained for long, and new classes count",
    not_when="one or two tokens among hundreds of patches: their share is small by itself (deep_prefix, maple)",
    aliases=("decoupled prompt learning", "decoupled attention", "prompt-instance attention"),
    neighbours=("prompts/deep_prefix", "prompts/maple", "prompts/restore"),
    deviations=(
        "the split is an identity of the softmax; which parts the paper strengthens, and how it approximates them, could not be read: here "
        "r is one constant, 0.1, and prompts no longer read each other. Effect of the difference unknown",
        "language-conditioned text prompts are left out: text tokens are shared by all classes. Effect unknown",
        "the words of the template, in the first block of the text tower, stay in one softmax with the name, so that learning starts from "
        "the hand-written prompt",
        "trained on the images as given, without random crops; effect unknown",
        "checked in the image tower alone: one softmax over as many prompts hardly learns at the same rate, and a tenth of that rate "
        "mends most of it; the gain over the better of the two is 8 points on average, in four seeds of five",
    ),
    checks=("mechanism:dpl",),
)


@dataclass
class DPL(DeepPrefix):
    """Deep prompts in both towers under decoupled attention: a tower's own tokens give a fixed share of their attention to the prompts.

    share: r in [0, 1), the share of attention that goes to learned tokens; 0 leaves the image tower as it is; None is one softmax over
    everything, which is DeepPrefix. The rest as there.
    """

    towers: tuple[str, ...] = ("image", "text")
    layers: int | None = 9
    share: float | None = 0.1
    how: Descent = field(default_factory=lambda: Descent(lr=2.5e-3, epochs=5, batch=4))

    def fit(self, model: Any, names: Sequence[str], train: Images) -> DPL:
        if self.share is not None and not 0 <= self.share < 1:
            raise ValueError(f"the share of attention for prompts is in [0, 1), or None for one softmax; got {self.share}")
        super().fit(model, names, train)
        return self

    def see(self, model: Any, x_B3HW: Float[Tensor, "B 3 H W"]) -> Encoded:
        P = self.image_.shape[1] if len(self.image_) else 0
        if self.share is None or not P:
            return super().see(model, x_B3HW)

        def attend(q: Tensor, k: Tensor, v: Tensor, grid: object, layer: int) -> Tensor:
            return decoupled(q, k, v, torch.arange(k.shape[2], device=k.device) >= k.shape[2] - P, self.share)

        return model.image(x_B3HW, deep=self.deep("image"), attend=attend)

    def class_text(self, model: Any, ids_CL: Int[Tensor, "C L"], image: Encoded | None = None) -> Float[Tensor, "C D"]:
        if self.share is None or not len(self.text_):
            return super().class_text(model, ids_CL)
        tower, M = model.towers["text"], len(self.context_)
        eot_C = tower.eot(ids_CL)

        def attend(q: Tensor, k: Tensor, v: Tensor, grid: object, layer: int) -> Tensor:
            at_L = torch.arange(k.shape[2], device=k.device)
            seen = None
            if tower.pad_mask:
                seen = (at_L <= eot_C[:, None])[:, None, None]
            if tower.causal:
                causal_LL = at_L <= at_L[:, None]
                seen = causal_LL if seen is None else seen & causal_LL
            blind_L = (at_L == 0) & tower.causal  # the first token stands before the prompts
            return decoupled(q, k, v, (at_L >= 1) & (at_L <= M), self.share * ~blind_L[:, None], seen)

        return encode_with(model, ids_CL, self.context_, self.deep("text"), attend=Rewrite(attend, tuple(range(1, tower.depth)))).z_BD


def decoupled(
    q: Float[Tensor, "B H L d"],
    k: Float[Tensor, "B H L d"],
    v: Float[Tensor, "B H L d"],
    prompt_L: Bool[Tensor, " L"],
    share: float | Tensor,
    seen: Tensor | None = None,
) -> Float[Tensor, "B H L d"]:
    """Attention in two softmaxes: queries of own tokens read own tokens and, by `share`, prompts; prompts read own tokens alone.

    share: a number, or a tensor that broadcasts to (B, H, L, 1). seen: which keys an own token may read, bool, broadcasts to (B, H, L, L).
    """
    own_L = ~prompt_L
    mask = None if seen is None else seen[..., own_L]
    own = F.scaled_dot_product_attention(q, k[:, :, own_L], v[:, :, own_L], attn_mask=mask)
    prompts = F.scaled_dot_product_attention(q, k[:, :, prompt_L], v[:, :, prompt_L])
    share = torch.as_tensor(share, dtype=q.dtype, device=q.device) * own_L[:, None]
    return (1 - share) * own + share * prompts
