"""PiToMe: a patterned ground makes the fixed split of ToMe merge the few things that are not ground."""

from __future__ import annotations

import torch
from torch import Tensor

from pairwright.compress.tokens.pitome import PiToMe
from pairwright.compress.tokens.tome import ToMe
from pairwright.core.numerics import generator, unit
from pairwright.ledger.check import Check

CHECK = Check(
    id="pitome",
    card="compress/tokens/pitome",
    claim="On a ground of stripes one patch wide, tokens of small single objects survive a halving of the tokens; with ToMe they do not",
    plant="14 x 14 tokens: two grounds in stripes, so that neighbours of opposite parity never match, and 12 objects of 2 patches",
    baseline="ToMe with as many merges in each block",
    control="the same two grounds mixed at random places",
    margin=0.3,
    control_margin=0.05,
    metric="share of object tokens that some remaining one is like (cosine above 0.95)",
)
SIDE, BLOCKS, R, D = 14, 7, 14, 64


def arms(seed: int, planted: bool) -> dict[str, float]:
    x_MD, objects_O = scene(seed, planted)
    return {
        "ours": survival(x_MD, objects_O, PiToMe(R, None)),
        "baseline": survival(x_MD, objects_O, ToMe(R)),
    }


def scene(seed: int, stripes: bool) -> tuple[Tensor, Tensor]:
    """Unit tokens (M, D), and the places of those that show an object."""
    draw = generator("pitome", seed)
    kind_M = torch.arange(SIDE).repeat(SIDE) % 2
    if not stripes:
        kind_M = kind_M[torch.randperm(SIDE**2, generator=draw)]
    x_MD = unit(torch.randn(2, D, generator=draw))[kind_M]
    first_O = torch.randperm(SIDE**2 // 2, generator=draw)[:12] * 2
    objects_O = torch.cat([first_O, first_O + 1])
    colours = unit(torch.randn(12, D, generator=draw))
    x_MD[objects_O] = unit(torch.cat([colours, colours]) + 0.8 * torch.randn(24, D, generator=draw) / D**0.5)
    return unit(x_MD + 0.15 * torch.randn(SIDE**2, D, generator=draw) / D**0.5), objects_O


def survival(x_MD: Tensor, objects_O: Tensor, reduce: PiToMe | ToMe) -> float:
    left, size = x_MD[None], None
    for layer in range(BLOCKS):
        done = reduce(left, left[:, None], size_BL=size, layer=layer, depth=BLOCKS, prefix=0)
        left, size = done.x_BLE, done.size_BL
    return float(((x_MD[objects_O] @ unit(left[0]).T).amax(1) > 0.95).float().mean())
