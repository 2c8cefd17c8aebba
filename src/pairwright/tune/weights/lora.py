"""LoRA: a low-rank update beside each weight matrix, folded into it in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from pairwright.core.card import Card
from pairwright.core.numerics import generator
from pairwright.models.dual import DualEncoder
from pairwright.tune.weights.mover import Addition, add_rows
from pairwright.tune.weights.places import Place, places

CARD = Card(
    name="LoRA (CLIP-LoRA)",
    symbol="LoRA",
    paper="extra:clip-lora",
    title="Low-Rank Few-Shot Adaptation of Vision-Language Models",
    year=2024,
    arxiv="2405.18541",
    where="section 3; LoRA itself is arXiv 2106.09685, equation 3",
    equation="W' = W + gain B A,  A (rank, I) random, B (O, rank) starts at 0,  gain = alpha / sqrt(rank)",
    says="Rank-2 updates of queries, keys and values in both encoders, with one fixed setting for all data, beat prompts and adapters in "
    "few-shot classification.",
    needs="few labelled images + class names; gradients through both encoders",
    cost="a training step costs that of full fine-tuning, its optimizer state less than a hundredth; nothing once folded",
    use_when="4 or more shots, images or words unlike those of pretraining, one setting for all data sets; many adapters of one model",
    not_when="one or two shots (heads on cached features are as good and take seconds); towers without weight matrices that can be named",
    aliases=("low-rank adaptation", "CLIP-LoRA", "PEFT", "adapter", "rsLoRA"),
    neighbours=("tune/weights/singular_values", "tune/weights/select_params"),
    deviations=(
        "gain alpha / sqrt(rank) as in the released code, not alpha / rank as in the text: 0.71 instead of 0.5 at the defaults; "
        "scaled='rank' gives the other",
        "dropout blanks inputs of A for a whole pass, not for each token on its own: the update is made on the weight, which works in any "
        "tower, also where attention hides its projections. Effect unknown",
    ),
    checks=("mechanism:lora",),
)


@dataclass(eq=False)
class LoRA(Addition):
    """Low-rank adaptation: each matrix W becomes W + gain B A, and only A and B move. With B = 0, the start, nothing changes.

    parts: which matrices, see `tune.weights.places`. rank: columns of B. alpha: gain = alpha / sqrt(rank), or alpha / rank with
    scaled="rank". dropout: share of the inputs of A that are blanked in a training pass. Queries, keys and values that lie in one matrix
    get an update of their own each. The starts are keyed by `seed` and the name of the matrix.
    """

    rank: int = 2
    alpha: float = 1.0
    dropout: float = 0.25
    parts: Sequence[str] = ("q", "k", "v")
    towers: Sequence[str] = ("image", "text")
    scaled: Literal["sqrt", "rank"] = "sqrt"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"LoRA needs a rank of at least 1 and a dropout in [0, 1); got rank={self.rank}, dropout={self.dropout}")
        if self.scaled not in ("sqrt", "rank"):
            raise ValueError(f"scaled is 'sqrt' or 'rank', got {self.scaled!r}")

    def _where(self, model: DualEncoder) -> list[Place]:
        return places(model, self.towers, self.parts)

    def _update(self, place: Place) -> nn.Module:
        gain = self.alpha / (self.rank**0.5 if self.scaled == "sqrt" else self.rank)
        return LowRank(place, self.rank, gain, self.dropout, generator("lora", self.seed, place.path))


class LowRank(nn.Module):
    """W -> W + gain B A for each block of rows of W."""

    def __init__(self, place: Place, rank: int, gain: float, dropout: float, rng: torch.Generator) -> None:
        super().__init__()
        self.starts, self.gain, self.dropout = place.starts, gain, nn.Dropout(dropout)
        S, H, inputs, device = len(place.starts), place.height, place.weight_OI.shape[1], place.weight_OI.device
        bound = inputs**-0.5
        self.down_SRI = nn.Parameter(((2 * torch.rand(S, rank, inputs, generator=rng) - 1) * bound).to(device))
        self.up_SHR = nn.Parameter(torch.zeros(S, H, rank, device=device))

    def forward(self, weight: Tensor) -> Tensor:
        kept_I = self.dropout(torch.ones_like(self.down_SRI[0, 0]))
        return add_rows(weight, self.gain * self.up_SHR @ (self.down_SRI * kept_I), self.starts)
