"""What a reduction of tokens is: fewer tokens from some block on, each knowing which one it was and how many it stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Reduced:
    """The tokens that are left. x_BLE: their values. kept_BL: the place of each in the sequence before, ascending. size_BL: how many of the
    tower's first tokens each stands for; None where tokens were dropped rather than merged, and none stands for more than itself."""

    x_BLE: Tensor
    kept_BL: Tensor
    size_BL: Tensor | None


class Reduction(Protocol):
    """Drops or merges tokens of an image tower, between the attention and the feed-forward half of a block.

    x_BLE: tokens, the first `prefix` of which (the class token) have to stay in front. k_BHLd: keys of the attention that has just run.
    size_BL: as in Reduced, None before anything was merged. layer, depth: which block of how many. Returns None where nothing changes.
    Every row of a batch loses the same number of tokens, and none sees another.
    """

    def __call__(self, x_BLE: Tensor, k_BHLd: Tensor, *, size_BL: Tensor | None, layer: int, depth: int, prefix: int) -> Reduced | None: ...

    def left(self, tokens: int, layer: int, depth: int) -> int:
        """How many of so many patch tokens are left after that block: what the cost is computed from."""
        ...
