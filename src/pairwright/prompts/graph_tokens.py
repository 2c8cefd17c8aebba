"""Learned nodes put into graphs: prompt nodes linked to each other and to the nodes that they resemble."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pairwright.core.numerics import generator, unit
from pairwright.models.towers.graph import Graphs


def start_nodes(count: int, features: int, seed: int) -> Float[Tensor, "T F"]:
    """Kaiming-uniform prompt nodes: between plus and minus sqrt(6 / F)."""
    return (2 * torch.rand(count, features, generator=generator("graph tokens", seed)) - 1) * (6 / max(1, features)) ** 0.5


def with_nodes(graphs: Graphs, tokens_TF: Float[Tensor, "T F"], inner: float = 0.6, cross: float = 0.1) -> Graphs:
    """Every graph with T more nodes in front. No tokens leave the graphs as they are.

    Two tokens are linked where their cosine is at least `inner`. A node is linked to the tokens that resemble it most, at cosine `cross` at
    least: as many as half the graph's mean degree (rounded down, at least one), so that prompts never outweigh the graph's own links.
    """
    T, (B, N) = len(tokens_TF), graphs.mask_BN.shape
    if not T:
        return graphs
    with torch.no_grad():
        token_TF, real_BN = unit(tokens_TF), graphs.mask_BN
        within_TT = ((token_TF @ token_TF.T >= inner) & ~torch.eye(T, dtype=torch.bool, device=token_TF.device)).to(graphs.link_BNN.dtype)
        cos_BNT = unit(graphs.node_BNF) @ token_TF.T
        degree_B = (graphs.link_BNN != 0).sum((1, 2)) / real_BN.sum(1)
        most_B = (degree_B // 2).long().clamp(1, T)
        least_BN1 = cos_BNT.sort(-1, descending=True).values.gather(2, (most_B - 1)[:, None, None].expand(B, N, 1))
        across_BNT = ((cos_BNT >= least_BN1) & (cos_BNT >= cross) & real_BN[..., None]).to(graphs.link_BNN.dtype)
        top_BTL = torch.cat([within_TT.expand(B, T, T), across_BNT.mT], 2)
        link_BLL = torch.cat([top_BTL, torch.cat([across_BNT, graphs.link_BNN], 2)], 1)
    node_BLF = torch.cat([tokens_TF.to(graphs.node_BNF.dtype).expand(B, T, -1), graphs.node_BNF], 1)
    return Graphs(node_BLF, link_BLL, torch.cat([real_BN.new_ones(B, T), real_BN], 1))
