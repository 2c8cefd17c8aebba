"""PiToMe: token merging that first asks which tokens stand in large clusters, and leaves isolated ones alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pairwright.compress.tokens.merging import check, join, metric_of, removed
from pairwright.core.card import Card
from pairwright.models.towers.reduce import Reduced

CARD = Card(
    name="PiToMe (protecting informative tokens before merging)",
    symbol="PiToMe",
    paper="pitome",
    title="Accelerating Transformers with Spectrum-Preserving Token Merging",
    year=2024,
    arxiv="2405.16148",
    where="section 3.2, equation 4 and algorithm 1",
    equation="E_i = mean_j f(cos(k_i, k_j) - m), f(x) = x if x >= 0 else alpha (e^x - 1); the 2r largest E, split alternately into A and "
    "B: each a joins argmax_b cos(k_a, k_b); m = 0.9 - 0.9 layer / depth",
    says="Energy tells large clusters from isolated tokens: 40 to 60 percent of the operations saved for a tenth of other methods' loss.",
    needs="an image tower that is a plain transformer; no data",
    cost="a product of all patches with all patches in each block; saves what merging saves",
    use_when="small things that matter on a large ground; patterned grounds; strong reduction",
    not_when="few patches (B/32 has 49: it gains little)",
    aliases=("spectrum-preserving token merging", "energy score merging"),
    neighbours=("compress/tokens/tome", "compress/tokens/random_drop"),
    deviations=(
        "the first margin is 0.9, as in the paper; the released code takes 0.95 for some models. Effect unknown",
        "log sizes are added to the attention logits, as in the paper; the released code does so for some models only",
    ),
    checks=("mechanism:pitome",),
)


@dataclass(frozen=True)
class PiToMe:
    """Faster image tower without training that protects small and unusual things: merges tokens of large clusters only.

    share: which share of the patches stays in each block (0.5 to 1; 0.925 in twelve blocks leaves 40%); r: instead, how many go in each
    block. share=1 and r=0 are the tower unchanged. margin: of the first block, falling to zero in even steps. alpha: how much tokens
    below the margin count against.

    >>> PiToMe(share=0.9).left(100, layer=0, depth=12)
    90
    """

    r: int | None = None
    share: float | None = 0.925
    margin: float = 0.9
    alpha: float = 1.0

    def __post_init__(self) -> None:
        check(self.r, self.share)

    def left(self, tokens: int, layer: int, depth: int) -> int:
        return tokens - removed(tokens, self.r, self.share)

    def __call__(self, x_BLE: Tensor, k_BHLd: Tensor, *, size_BL: Tensor | None, layer: int, depth: int, prefix: int) -> Reduced | None:
        r = removed(x_BLE.shape[1] - prefix, self.r, self.share)
        if not r:
            return None
        with torch.no_grad():
            metric_BMd = metric_of(k_BHLd[:, :, prefix:])
            similar_BMM = metric_BMd @ metric_BMd.transpose(1, 2)
            order_B2r = energy(similar_BMM, self.margin * (1 - layer / depth), self.alpha).topk(2 * r, dim=1).indices
            a_BR, b_BR = order_B2r[:, ::2], order_B2r[:, 1::2]
            rows_BRM = similar_BMM.gather(1, a_BR.unsqueeze(-1).expand(-1, -1, similar_BMM.shape[2]))
            best_BR = rows_BRM.gather(2, b_BR.unsqueeze(1).expand(-1, r, -1)).argmax(-1)
        return join(x_BLE, size_BL, a_BR + prefix, b_BR.gather(1, best_BR) + prefix)


def energy(similar_BMM: Tensor, margin: float, alpha: float = 1.0) -> Tensor:
    """Energy (B, M) of tokens from their cosines: high in the middle of a large cluster, low for what is like nothing else."""
    return F.elu(similar_BMM - margin, alpha).mean(-1)
