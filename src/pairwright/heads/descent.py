"""Gradient descent on cached features: the small training loop that heads with learned parts share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pairwright.core.numerics import generator


def by_content(z_ND: Tensor) -> Tensor:
    """The order (N,) of rows by a hash of their float32 bits: the same rows come out in the same order however they came in."""
    odd_D = 2 * torch.randint(2**40, (z_ND.shape[1],), generator=generator("row hash", z_ND.shape[1])) + 1
    return torch.argsort((z_ND.float().contiguous().view(torch.int32).long() * odd_D).sum(1), stable=True)


def precision(*sizes: int) -> torch.dtype:
    """float64 where that is cheap (up to 10^8 products a pass), so that rounding cannot grow into visible differences; else float32."""
    return torch.float64 if math.prod(sizes) <= 1e8 else torch.float32


def descend(
    parameters: Sequence[Tensor],
    loss: Callable[[Tensor], Tensor],
    n: int,
    *,
    lr: float,
    epochs: int,
    batch: int = 256,
    most_steps: int = 1500,
    decay: float = 0.0,
    eps: float = 1e-8,
    key: str = "heads",
) -> int:
    """Minimise `loss(rows)` over batches of n rows by AdamW with a cosine schedule to zero. Changes `parameters` in place.

    parameters: leaves that require gradients. loss: indices of rows -> mean loss. most_steps: ceiling on epochs * batches, so that a
    large problem stays within seconds. decay: decoupled weight decay. Batches are drawn by a generator keyed by `key`; give the rows in
    the order of `by_content` to make the result independent of theirs. Returns the number of steps.
    """
    per_epoch = math.ceil(n / batch)
    steps = min(epochs * per_epoch, most_steps)
    first = [torch.zeros_like(p) for p in parameters]
    second = [torch.zeros_like(p) for p in parameters]
    order = torch.arange(n)
    for step in range(steps):
        at = step % per_epoch
        if at == 0 and per_epoch > 1:
            order = torch.randperm(n, generator=generator("descend", key, n, step))
        with torch.enable_grad():
            gradients = torch.autograd.grad(loss(order[at * batch : (at + 1) * batch]), parameters)
        rate = lr * (1 + math.cos(math.pi * step / steps)) / 2
        for p, g, m, v in zip(parameters, gradients, first, second):
            m.lerp_(g, 0.1)
            v.mul_(0.999).addcmul_(g, g, value=0.001)
            size = (v / (1 - 0.999 ** (step + 1))).sqrt_().add_(eps)
            with torch.no_grad():
                p.mul_(1 - rate * decay).addcdiv_(m, size, value=-rate / (1 - 0.9 ** (step + 1)))
    return steps
