"""RESTORE: deep prompts whose shifts of image and text features are kept equally long, with a small adapter behind each tower."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.encoded import Encoded
from pairwright.core.numerics import generator, unit
from pairwright.prompts.deep_prefix import DeepPrefix
from pairwright.prompts.fit import Descent, Step, Term
from pairwright.prompts.images import Images, encode_all
from pairwright.prompts.tokens import encode_with, frozen, prompt_ids

CARD = Card(
    name="RESTORE (feature-shift consistency)",
    symbol="RESTORE",
    paper="restore",
    title="RESTORE: Towards Feature Shift for Vision-Language Prompt Learning",
    year=2024,
    arxiv="2403.06136",
    where="section 3, feature shift, its consistency, and the surgery block",
    equation="loss = CE + weight mean_l (mean_b |h_l - h0_l| / |h0_l| - mean_c |g_l - g0_l| / |g0_l|)^2,  h_l, g_l image and text features "
    "behind block l, h0, g0 without prompts;  z' = unit((1 - a) z + a relu(z A) B) behind each tower",
    says="Prompts that move one tower more than the other break their alignment and generalise worse; keeping both shifts alike mends it.",
    needs="few labelled images + class names + a plain ViT and text transformer",
    cost="that of deep prompts in both towers, one more run of the text tower a step, and the training images embedded once",
    use_when="deep prompts in both towers drift: `feature_shift` shows very different lengths on the two sides",
    not_when="one side alone differs from what the model was trained on, and has to move by itself",
    aliases=("feature shift", "feature-shift consistency", "surgery block"),
    neighbours=("prompts/deep_prefix", "prompts/promptsrc", "prompts/maple"),
    deviations=(
        "shifts are relative to the frozen features' length and compared by block, weight 1; the paper's exact weighting could not be "
        "read. Effect unknown",
        "the adapters have a fixed ratio and start as the identity; the paper ties them to the size of the shift. Effect unknown",
        "trained on the images as given, without random crops; effect unknown",
        "not shown here: with wrong labels the mismatch falls to a tenth, and H rises by 2 points on average, in two of five seeds; with "
        "right ones, where prompts hardly drift, it stays as it is. Weights 3 to 30, tokens in one block or all, SGD and AdamW were tried: "
        "a mismatch five times as large costs new classes nothing in small towers, wrong labels do. At small rates of SGD the random start "
        "of the tokens is itself a mismatch, which the consistency mends (15 points of H)",
    ),
    checks=("mechanism:restore",),
)


@dataclass(frozen=True)
class ShiftConsistency:
    """weight x mean over blocks of the squared difference between the mean relative shifts of images and of class text.

    image: prompted tower's blocks of a step; text: those of the class text as the tokens are now.
    """

    image: Callable[[Encoded], Tensor]
    text: Callable[[], Tensor]
    plain_NJE: Tensor
    plain_CJE: Tensor
    weight: float
    name: str = "shift"

    def __call__(self, step: Step) -> Tensor:
        image_J = relative_shift(self.image(step.image), self.plain_NJE[step.rows_B])
        return self.weight * (image_J - relative_shift(self.text(), self.plain_CJE)).square().mean()


@dataclass
class RESTORE(DeepPrefix):
    """Deep prompts in both towers under feature-shift consistency: neither side may move further than the other.

    weight: of the consistency. surgery: share a of the adapter behind each tower, 0 for none; reduce: its hidden width is D / reduce. With
    weight and surgery 0 it is DeepPrefix in both towers. The rest as there.
    """

    towers: tuple[str, ...] = ("image", "text")
    layers: int | None = 9
    weight: float = 1.0
    surgery: float = 0.2
    reduce: int = 4
    how: Descent = field(default_factory=lambda: Descent(lr=2.5e-3, epochs=5, batch=4))

    def start(self, model: Any, ids_CL: Int[Tensor, "C L"], M: int) -> dict[str, Tensor]:
        if set(self.towers) != {"image", "text"}:
            raise ValueError(f"RESTORE compares the shifts of both towers; got towers={self.towers}")
        D = model.width
        r = max(1, D // self.reduce) if self.surgery else 0
        draw = lambda side: torch.empty(D, r).uniform_(-(D**-0.5), D**-0.5, generator=generator("surgery", self.seed, side))
        adapters = {f"{side}_{part}_": w for side in ("image", "text") for part, w in (("down", draw(side)), ("up", torch.zeros(r, D)))}
        return super().start(model, ids_CL, M) | adapters

    def see(self, model: Any, x_B3HW: Float[Tensor, "B 3 H W"]) -> Encoded:
        image = model.image(x_B3HW, deep=self.deep("image"), taps=_taps(model) if self.weight else ())
        return image.with_z(self.mend("image", image.z_BD))

    def class_text(self, model: Any, ids_CL: Int[Tensor, "C L"], image: Encoded | None = None) -> Float[Tensor, "C D"]:
        return self.mend("text", super().class_text(model, ids_CL))

    def mend(self, side: str, z_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The surgery block: a residual perceptron on unit rows."""
        if not self.surgery:
            return z_ND
        down, up = getattr(self, f"{side}_down_"), getattr(self, f"{side}_up_")
        return unit((1 - self.surgery) * z_ND + self.surgery * (z_ND @ down).relu() @ up)

    def terms(self, model: Any, names: Sequence[str], images: Images) -> tuple[Term, ...]:
        if not self.weight:
            return ()
        ids_CL, _ = prompt_ids(model, names, self.context)
        tokens = lambda: encode_with(model, ids_CL, self.context_, self.deep("text"), taps=_taps(model))
        with torch.no_grad(), frozen(model):
            plain_NJE = encode_all(images, lambda x: image_blocks(model, model.image(x, taps=_taps(model))), model)
            plain_CJE = text_blocks(model, ids_CL, model.text(ids_CL, taps=_taps(model)))
        text = lambda: text_blocks(model, ids_CL, tokens())
        return (ShiftConsistency(lambda e: image_blocks(model, e), text, plain_NJE, plain_CJE, self.weight),)


def feature_shift(learner: DeepPrefix, model: Any, names: Sequence[str], images: Images) -> dict[str, Float[Tensor, " J"]]:
    """How far learned prompts have moved each tower, by block: ``{"image": shift_J, "text": shift_J}``, relative to the frozen features.

    A diagnosis of any learner with deep prompts: very different lengths on the two sides go with worse results on new classes.
    """
    ids_CL = learner.ids(model, names)
    with torch.no_grad(), frozen(model):
        see = lambda x, deep: image_blocks(model, model.image(x, deep=deep, taps=_taps(model)))
        own, plain = (encode_all(images, lambda x, d=d: see(x, d), model) for d in (learner.deep("image"), None))
        text = encode_with(model, ids_CL, learner.context_, learner.deep("text"), taps=_taps(model))
        hand = text_blocks(model, ids_CL, model.text(ids_CL, taps=_taps(model)))
        return {"image": relative_shift(own, plain), "text": relative_shift(text_blocks(model, ids_CL, text), hand)}


def relative_shift(x_NJE: Float[Tensor, "N J E"], plain_NJE: Float[Tensor, "N J E"]) -> Float[Tensor, " J"]:
    """Mean over rows of |x - plain| / |plain|, by block."""
    return ((x_NJE - plain_NJE).norm(dim=-1) / plain_NJE.norm(dim=-1).clamp_min(1e-12)).mean(0)


def image_blocks(model: Any, image: Encoded) -> Float[Tensor, "B J E"]:
    """What speaks for an image behind each block: its class token, or the mean of its patches where there is none."""
    layers = [image.taps[name] for name in _taps(model)]
    return torch.stack([x[:, 0] if model.towers["image"].prefix else x.mean(1) for x in layers], 1)


def text_blocks(model: Any, ids_CL: Int[Tensor, "C L"], text: Encoded) -> Float[Tensor, "C J E"]:
    """What speaks for a text behind each block: its last token that counts."""
    at = torch.arange(len(ids_CL), device=ids_CL.device), model.towers["text"].eot(ids_CL)
    return torch.stack([text.taps[name][at] for name in _taps(model)], 1)


def _taps(model: Any) -> tuple[str, ...]:
    """The blocks that both towers have."""
    return tuple(map(str, range(min(model.towers[name].depth for name in ("image", "text")))))
