"""What token reductions share: joining tokens into others, dropping tokens, and how many go in each block."""

from __future__ import annotations

import torch
from torch import Tensor

from pairwright.models.towers.reduce import Reduced


def join(x_BLE: Tensor, size_BL: Tensor | None, gone_BR: Tensor, into_BR: Tensor) -> Reduced:
    """Merge each token `gone` into the token `into` (places in the sequence) by the mean, weighted by how many tokens each stands for."""
    B, L, E = x_BLE.shape
    size_BL = x_BLE.new_ones(B, L, dtype=torch.float32) if size_BL is None else size_BL
    weight_BL1 = size_BL.to(x_BLE.dtype).unsqueeze(-1)
    sum_BLE = x_BLE * weight_BL1
    wide_BRE = gone_BR.unsqueeze(-1).expand(-1, -1, E)
    sum_BLE = sum_BLE.scatter_add(1, into_BR.unsqueeze(-1).expand(-1, -1, E), sum_BLE.gather(1, wide_BRE))
    new_BL = size_BL.scatter_add(1, into_BR, size_BL.gather(1, gone_BR))
    # a token that took nothing up keeps its bits
    x_BLE = torch.where((new_BL > size_BL).unsqueeze(-1), sum_BLE / new_BL.to(x_BLE.dtype).unsqueeze(-1), x_BLE)
    left = without(x_BLE, gone_BR)
    return Reduced(left.x_BLE, left.kept_BL, new_BL.gather(1, left.kept_BL))


def without(x_BLE: Tensor, gone_BR: Tensor, size_BL: Tensor | None = None) -> Reduced:
    """The tokens but those `gone`, in their order. Each row loses as many, so nothing waits for the device to count."""
    gone_BL = torch.zeros(x_BLE.shape[:2], dtype=torch.uint8, device=x_BLE.device).scatter_(1, gone_BR, 1)
    kept_BL = gone_BL.argsort(dim=1, stable=True)[:, : x_BLE.shape[1] - gone_BR.shape[1]]
    size_BL = None if size_BL is None else size_BL.gather(1, kept_BL)
    return Reduced(x_BLE.gather(1, kept_BL.unsqueeze(-1).expand(-1, -1, x_BLE.shape[2])), kept_BL, size_BL)


def metric_of(k_BHLd: Tensor) -> Tensor:
    """Unit rows (B, L, d) by which tokens are compared: the keys, averaged over the heads."""
    return torch.nn.functional.normalize(k_BHLd.mean(1), dim=-1)


def removed(tokens: int, r: int | None, share: float | None) -> int:
    """How many of so many patch tokens go in one block: `r`, or all but `share` of them; never more than half, for pairs merge."""
    count = r if share is None else int(tokens - tokens * share + 1e-6)
    return max(0, min(count or 0, tokens // 2))


def check(r: int | None, share: float | None) -> None:
    """Refuse numbers that make no sense, with what would."""
    if (r is None) == (share is None):
        raise ValueError("give either r (tokens that go in each block) or share (what stays in each block), and not both")
    if r is not None and r < 0:
        raise ValueError(f"r is a number of tokens, 0 or more, got {r}")
    if share is not None and not 0.5 <= share <= 1:
        raise ValueError(f"share is what stays in each block, 0.5 to 1, got {share}")
