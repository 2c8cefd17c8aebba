"""Stable building blocks: unit rows, log-sums over masked sets, soft and sigmoid NCE over arbitrary positives, keyed randomness.

Everything is computed in float32 at least, whatever the input dtype (bf16-safe).
"""

from __future__ import annotations

import hashlib
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

NEG = -1e30
"""Stands for minus infinity in masked logits: finite, so that no gradient is NaN."""


def full(x: Tensor) -> Tensor:
    """Half precision becomes float32; anything else stays."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def unit(x: Tensor, dim: int = -1) -> Tensor:
    """Rows of unit length (zero rows stay zero)."""
    return x / x.norm(dim=dim, keepdim=True).clamp_min(1e-12)


def masked_logsumexp(logits: Tensor, mask: Tensor | None = None, weight: Tensor | None = None, dim: int = -1) -> Tensor:
    """log sum_j weight_j exp(logits_j) over the entries where mask is True. An empty set gives NEG."""
    logits = full(logits)
    if weight is not None:
        logits = logits + weight.clamp_min(0).log().clamp_min(NEG)
    if mask is not None:
        logits = logits.masked_fill(~mask, NEG)
    return torch.logsumexp(logits, dim=dim).clamp_min(NEG)


def soft_nce(logits_bB: Tensor, target_bB: Tensor, allowed_bB: Tensor | None = None, weight_bB: Tensor | None = None) -> Tensor:
    """Cross entropy of each row's softmax against a target distribution over columns -> (b,).

    target_bB: non-negative, rows sum to 1 (a row of zeros costs 0); positives as a bool matrix become the uniform distribution over
    them. weight_bB scales columns in the normaliser only.
    """
    logits = full(logits_bB)
    if target_bB.dtype == torch.bool:
        target_bB = target_bB.to(logits.dtype) / target_bB.sum(-1, keepdim=True).clamp_min(1)
    log_z = masked_logsumexp(logits, allowed_bB, weight_bB)
    return log_z * target_bB.sum(-1) - (target_bB * logits).sum(-1)


def sigmoid_nce(logits_bB: Tensor, positives_bB: Tensor, allowed_bB: Tensor | None = None, weight_bB: Tensor | None = None) -> Tensor:
    """Sum over columns of the binary cross entropy of every pair -> (b,)."""
    logits = full(logits_bB)
    sign = torch.where(positives_bB, 1.0, -1.0).to(logits.dtype)
    loss = -F.logsigmoid(sign * logits)
    if weight_bB is not None:
        loss = torch.where(positives_bB, loss, loss * weight_bB)
    if allowed_bB is not None:
        loss = loss.masked_fill(~allowed_bB, 0.0)
    return loss.sum(-1)


def seed_of(*parts: object) -> int:
    """A 63-bit seed from any printable parts, the same on every machine and in every process."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*parts: object, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator keyed by `parts`."""
    return torch.Generator(device=device).manual_seed(seed_of(*parts))


def numpy_rng(*parts: object) -> np.random.Generator:
    """A numpy generator keyed by `parts`."""
    return np.random.default_rng(seed_of(*parts))


def hash_uniform(ids: Tensor, salt: int = 0) -> Tensor:
    """float64 uniforms in [0, 1) keyed by integer ids, independent of order, batch and rank (a splitmix64 finaliser)."""
    with np.errstate(over="ignore"):
        x = ids.detach().cpu().numpy().astype(np.int64).view(np.uint64) + np.uint64(
            (salt * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64
        )
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return torch.from_numpy((x >> np.uint64(11)).astype(np.float64) / 2**53).to(ids.device)


def seed_everything(seed: int) -> None:
    """Seed python, numpy's legacy generator and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (libraries still draw from it)
    torch.manual_seed(seed)
