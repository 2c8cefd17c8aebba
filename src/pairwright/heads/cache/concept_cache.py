"""The visual concept cache: for each concept word the training images that show it most, and the words a new image shares with them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

_BLOCK = 2**24  # similarities in memory at once (64 MB)


def concept_keys(
    z_ND: Float[Tensor, "N D"], concepts_VD: Float[Tensor, "V D"], keys: int
) -> tuple[Float[Tensor, "K D"], Int[Tensor, " K"]]:
    """The `keys` images nearest to each concept's text, one concept after the other, and the concept that each of them stands for.

    An image may stand for several concepts. Fewer images than `keys`: all of them, for every concept.
    """
    if keys < 1:
        raise ValueError(f"a concept needs at least one key image, got keys={keys}")
    k = min(keys, len(z_ND))
    near_VK = (concepts_VD @ z_ND.T).topk(k, 1).indices
    return z_ND[near_VK.flatten()], torch.arange(len(concepts_VD), device=z_ND.device).repeat_interleave(k)


def shared_concepts(
    z_ND: Float[Tensor, "N D"], keys_KD: Float[Tensor, "K D"], concept_K: Int[Tensor, " K"], concepts: int, top: int
) -> Int[Tensor, "N T"]:
    """For each row the `top` concepts whose nearest key is nearest to it, in order; among equals the earlier first, without a key last."""
    if top > concepts:
        raise ValueError(f"top={top} concepts of {concepts}: give more concept words, or ask for fewer")
    parts = [torch.zeros(0, top, dtype=torch.int64, device=z_ND.device)]
    for z_BD in z_ND.split(max(1, _BLOCK // max(len(keys_KD), 1))):
        near_BV = z_BD.new_full((len(z_BD), concepts), -torch.inf)
        near_BV.scatter_reduce_(1, concept_K.expand(len(z_BD), -1), z_BD @ keys_KD.T, "amax")
        parts.append(near_BV.sort(dim=1, descending=True, stable=True).indices[:, :top])
    return torch.cat(parts)
