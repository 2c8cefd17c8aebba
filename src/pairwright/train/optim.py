"""AdamW with the weight-decay groups that contrastive training needs, and the bounds on the logit scale."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pairwright.core import dist
from pairwright.train.shard import is_sharded, local

MAX_LOGIT_SCALE = math.log(100.0)


@dataclass(frozen=True)
class OptimConfig:
    """lr: peak learning rate for a parameter whose name no entry of `lr_scale` starts. weight_decay applies to matrices and kernels only.
    lr_scale: (name prefix, factor) pairs, the longest prefix wins. clip_norm: bound on the global gradient norm, 0 for none."""

    lr: float = 1e-3
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    warmup: int = 0
    floor: float = 0.0
    clip_norm: float = 1.0
    lr_scale: tuple[tuple[str, float], ...] = ()

    def factor(self, name: str) -> float:
        hits = [(len(prefix), f) for prefix, f in self.lr_scale if name.startswith(prefix)]
        return max(hits)[1] if hits else 1.0


def decays(name: str, p: Tensor) -> bool:
    """Weight decay is for matrices and kernels: not for biases, norms, embeddings of positions or classes, scales and token tables."""
    last = name.rsplit(".", 1)[-1]
    return (
        p.ndim >= 2
        and not any(k in name for k in ("positional", "pos_embed", "class_embedding", "cls_token", "token_embedding"))
        and last != "bias"
    )


def adamw(named: Iterable[tuple[str, nn.Parameter]], config: OptimConfig) -> torch.optim.AdamW:
    """One group for each (decay, learning-rate factor), names kept in the group so that checkpoints are by name."""
    groups: dict[tuple[bool, float], dict] = {}
    for name, p in named:
        if not p.requires_grad:
            continue
        decay, factor = decays(name, p), config.factor(name)
        group = groups.setdefault(
            (decay, factor), {"params": [], "names": [], "weight_decay": config.weight_decay if decay else 0.0, "factor": factor}
        )
        group["params"].append(p)
        group["names"].append(name)
    if not groups:
        raise ValueError("nothing to train: no parameter is trainable in this stage (check `trainable`)")
    return torch.optim.AdamW(list(groups.values()), lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]


@torch.no_grad()
def clip_gradients(optimizer: torch.optim.Optimizer, bound: float) -> Tensor:
    """Scale all gradients so that their global norm, also over sharded ones, is at most `bound` (0: leave them); return the norm before."""
    grads = [p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
    if not grads:
        raise ValueError("no parameter got a gradient in this step: the objective does not reach what is trainable in this stage")
    here = [local(g) for g in grads]
    norms = torch.stack(torch._foreach_norm(here))
    if any(map(is_sharded, grads)):
        of_shards = torch.tensor([is_sharded(g) for g in grads], device=norms.device)
        squares = norms.square()
        total = (dist.sum_over_ranks(squares[of_shards].sum()) + squares[~of_shards].sum()).sqrt()
    else:
        total = torch.linalg.vector_norm(norms)
    if bound:
        torch._foreach_mul_(here, (bound / (total + 1e-6)).clamp_max(1.0))
    return total


def step_if_finite(optimizer: torch.optim.Optimizer, norm: Tensor) -> Tensor:
    """One step, left out where the gradient is not finite; returns 1 then and 0 otherwise, without waiting for the device."""
    optimizer.found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]
    optimizer.grad_scale = None  # type: ignore[attr-defined]
    optimizer.step()
    return optimizer.found_inf  # type: ignore[attr-defined]


@torch.no_grad()
def bound_logit_scale(model: nn.Module) -> None:
    """Keep exp(logit_scale) within [1, 100], as in CLIP."""
    scale = getattr(model, "logit_scale", None)
    if scale is not None:
        scale.clamp_(0.0, MAX_LOGIT_SCALE)
