"""The vote of a cache: exp(-beta (1 - affinity)) of every key, summed by class, in blocks that bound the memory."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_BLOCK = 2**24  # affinities in memory at once (64 MB)


def votes(
    z_ND: Float[Tensor, "N D"], keys_KD: Float[Tensor, "K D"], labels_K: Tensor, classes: int, beta: float, weight_K: Tensor | None = None
) -> Float[Tensor, "N C"]:
    """Sum over the keys of each class of weight exp(-beta (1 - z . key)); weight 1 where none is given."""
    votes_NC = z_ND.new_zeros(len(z_ND), classes)
    step = max(1, _BLOCK // max(len(keys_KD), 1))
    for i in range(0, len(z_ND), step):
        vote = torch.exp(-beta * (1 - z_ND[i : i + step] @ keys_KD.T))
        votes_NC[i : i + step].index_add_(1, labels_K, vote if weight_K is None else vote * weight_K)
    return votes_NC
