"""Random token dropping (FLIP): leave a random part of the patches out, the cheapest way to make steps of training faster."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pairwright.compress.tokens.merging import without
from pairwright.core.card import Card
from pairwright.core.numerics import generator
from pairwright.models.towers.reduce import Reduced

CARD = Card(
    name="Random token dropping (patch dropout)",
    symbol="RandomDrop",
    paper="extra:flip",
    title="Scaling Language-Image Pre-training via Masking",
    year=2023,
    arxiv="2212.00794",
    where="section 3",
    equation="x <- x[S], S a uniform draw of (1 - drop) M of the M patches, the class token with them",
    says="Half of the patches left out: twice the pairs in the same time, and a better model for the same cost.",
    needs="an image tower that is a plain transformer",
    cost="saves its share of the tower",
    use_when="as the baseline that every merging has to beat; in training use the towers' own `patch_dropout`, drawn anew in each step",
    not_when="inference on which something depends (tome, pitome keep more for the same cost)",
    aliases=("patch dropout", "FLIP masking", "random token drop"),
    neighbours=("compress/tokens/tome", "compress/tokens/pitome"),
    deviations=("patches go after the first block's attention, where all reductions act, not before it: that much of the saving is lost",),
    checks=(),
)


@dataclass(frozen=True)
class RandomDrop:
    """Leave out a random share of the patches, the same places for every image: the control of what merging saves.

    drop: the share that goes, in the first block; 0 is the tower unchanged. seed: of the draw.
    """

    drop: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.drop < 1:
            raise ValueError(f"drop is the share of patches that go, 0 to below 1, got {self.drop}")

    def left(self, tokens: int, layer: int, depth: int) -> int:
        return tokens - int(tokens * self.drop) if layer == 0 else tokens

    def __call__(self, x_BLE: Tensor, k_BHLd: Tensor, *, size_BL: Tensor | None, layer: int, depth: int, prefix: int) -> Reduced | None:
        M = x_BLE.shape[1] - prefix
        gone = M - self.left(M, layer, depth)
        if not gone:
            return None
        places_R = torch.randperm(M, generator=generator("random drop", self.seed, M))[:gone].to(x_BLE.device) + prefix
        return without(x_BLE, places_R.expand(len(x_BLE), -1), size_BL)
