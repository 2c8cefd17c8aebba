"""Features of scenes in four styles, with style statistics: a style is two offsets of the pixels, each one way or the other."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from claims import patch_towers as P
from claims import vector_towers as V
from pairwright.core.features import Features
from pairwright.core.numerics import generator
from pairwright.models.dual import DualEncoder
from pairwright.prompts.style_features import style_features

SIGNS = ((1, 1), (1, -1), (-1, 1), (-1, -1))


def offset(n: int, style: int, seed: int, size: float, *key: object) -> Tensor:
    """What a style adds to the pixels of n images, (n, 96): as much as each image has of it, 0 to 2 times `size` of either part."""
    share_N2 = 2 * torch.rand(n, 2, generator=generator("share of style", seed, style, *key)) * torch.tensor(SIGNS[style])
    return size * share_N2 @ torch.stack([V.direction("style", seed, k) for k in range(2)])


def rows(
    model: DualEncoder, classes: Tensor, style: int, seed: int, *, start: int, n: int, size: float, noise: float, shots: int | None = None
) -> Features:
    """Features of scenes of some classes in one style; every style shows other scenes."""
    images = P.scenes(n, start + 2000 * style + 100_000 * seed, offset(n, style, seed, size, start), noise=noise)
    return style_features(model, P.only(images, classes, shots), 512)


def join(parts: list[Features]) -> Features:
    """All rows of several parts."""
    side = {name: torch.cat([x.side[name] for x in parts]) for name in parts[0].side}
    return Features(torch.cat([x.z for x in parts]), torch.cat([x.y for x in parts]), encoder=parts[0].encoder, side=side)


def borrow(x: Features, pool: Features, *key: object) -> Features:
    """The same rows with the style statistics of rows drawn from `pool`."""
    i = torch.randint(len(pool), (len(x),), generator=generator("borrow", *key))
    return replace(x, side={name: s[i] for name, s in pool.side.items()})
