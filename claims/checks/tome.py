"""ToMe: redundant tokens can be merged where dropping as many at random loses what stands there once."""

from __future__ import annotations

import torch
from torch import Tensor

from pairwright.compress.tokens.random_drop import RandomDrop
from pairwright.compress.tokens.tome import ToMe
from pairwright.core.numerics import generator, unit
from pairwright.ledger.check import Check

CHECK = Check(
    id="tome",
    card="compress/tokens/tome",
    claim="Where most tokens are near copies, merging half of the tokens leaves those that stand alone; dropping half at random does not",
    plant="196 tokens of 64 dimensions: 150 near copies of 6 grounds, at random places, and 46 that stand alone",
    baseline="dropping as many at random",
    control="no copies: all 196 stand alone",
    margin=0.3,
    control_margin=0.0,
    metric="share of the tokens that stand alone which some remaining one is like (cosine above 0.9)",
)
BLOCKS, R, M, D = 7, 14, 196, 64


def arms(seed: int, planted: bool) -> dict[str, float]:
    draw = generator("tome", seed, planted)
    x_MD = unit(torch.randn(M, D, generator=draw))
    alone_M = torch.ones(M, dtype=torch.bool)
    if planted:
        ground = unit(torch.randn(6, D, generator=draw))
        copies = ground[torch.randint(6, (150,), generator=draw)]
        places = torch.randperm(M, generator=draw)[:150]
        alone_M[places] = False
        x_MD[places] = unit(copies + 0.15 * torch.randn(150, D, generator=draw) / D**0.5)
    x_1MD, left = x_MD[None], x_MD[None]
    size = None
    for layer in range(BLOCKS):
        done = ToMe(R)(left, left[:, None], size_BL=size, layer=layer, depth=BLOCKS, prefix=0)
        left, size = done.x_BLE, done.size_BL
    dropped = RandomDrop(R * BLOCKS / M, seed)(x_1MD, x_1MD[:, None], size_BL=None, layer=0, depth=1, prefix=0).x_BLE
    assert dropped.shape == left.shape
    return {"ours": covered(x_MD[alone_M], left[0]), "baseline": covered(x_MD[alone_M], dropped[0])}


def covered(x_MD: Tensor, left_KD: Tensor) -> float:
    return float(((x_MD @ unit(left_KD).T).amax(1) > 0.9).float().mean())
