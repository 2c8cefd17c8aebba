"""What an image tower costs, by count: multiply-adds of its blocks with and without a reduction of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pairwright.models.towers.reduce import Reduction


@dataclass(frozen=True)
class Cost:
    """bytes: of the weights. flops: of one forward pass of one image, a multiply-add counted as two."""

    bytes: int
    flops: float


def cost(tower: Any, reduce: Reduction | None = None) -> Cost:
    """Cost of one image through a `VisionTransformer`: products, patch embedding and attention; norms and activations are left out. What is
    counted is the embedding alone: where the class token is pooled, the last block computes no other token.

    reduce: a reduction to count with; None counts the tower's own.
    """
    if not hasattr(tower, "transformer") or not hasattr(tower, "grid"):
        raise ValueError(f"{type(tower).__name__} is not a plain vision transformer: its cost is not known here")
    reduce = tower.reduce if reduce is None else reduce
    width, depth, prefix = tower.encoder_width, tower.depth, tower.prefix
    hidden = tower.transformer.resblocks[0].mlp.c_fc.out_features
    patches = tower.grid[0] * tower.grid[1]
    flops = 2.0 * patches * tower.conv1.weight.numel()
    for layer in range(depth):
        L = patches + prefix
        if layer == depth - 1 and tower.pool == "tok" and tower.attn_pool is None:
            flops += 2.0 * (2 * L + 2) * width * width + 4.0 * L * width + 4.0 * width * hidden
            break
        flops += 2.0 * L * width * 4 * width + 4.0 * L * L * width
        if reduce is not None:
            patches = reduce.left(patches, layer, depth)
        flops += 4.0 * (patches + prefix) * width * hidden
    if tower.attn_pool is not None:
        flops += 2.0 * (2 * patches + 2) * width * width + 4.0 * patches * width + 4.0 * width * hidden
    if tower.proj is not None:
        flops += 2.0 * width * tower.width
    return Cost(sum(p.numel() * p.element_size() for p in tower.parameters()), flops)
