"""A small graph neural network that speaks the contract of a tower: a batch of graphs -> Encoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pairwright.core.encoded import Encoded


@dataclass(frozen=True)
class Graphs:
    """B undirected graphs padded to N nodes: node features, links (symmetric, weight 0 where there is none), and which nodes are real."""

    node_BNF: Float[Tensor, "B N F"]
    link_BNN: Float[Tensor, "B N N"]
    mask_BN: Bool[Tensor, "B N"]

    def __post_init__(self) -> None:
        B, N = self.node_BNF.shape[:2]
        if self.link_BNN.shape != (B, N, N) or self.mask_BN.shape != (B, N):
            raise ValueError(
                f"{B} graphs of {N} nodes have links {tuple(self.link_BNN.shape)} and a mask {tuple(self.mask_BN.shape)}: "
                f"({B}, {N}, {N}) and ({B}, {N}) wanted"
            )
        bad_B = (
            ~torch.isfinite(self.node_BNF).flatten(1).all(1) | (self.link_BNN != self.link_BNN.mT).flatten(1).any(1) | ~self.mask_BN.any(1)
        )
        if bad_B.any():
            raise ValueError(
                f"graph {int(bad_B.nonzero()[0])} has no node, one-sided links, or features that are not finite: mend or drop it"
            )

    def __len__(self) -> int:
        return len(self.node_BNF)

    def rows(self, index: Tensor | Sequence[int]) -> Graphs:
        """A subset (or reordering) of the graphs."""
        i = torch.as_tensor(index, device=self.mask_BN.device).long()
        return Graphs(self.node_BNF[i], self.link_BNN[i], self.mask_BN[i])

    def to(self, device: torch.device | str) -> Graphs:
        return Graphs(self.node_BNF.to(device), self.link_BNN.to(device), self.mask_BN.to(device))


class GraphTower(nn.Module):
    """Graph isomorphism network: each layer adds up a node and its neighbours and maps the sum; the graph is the mean of its nodes.

    features: width F of node features; width: of all layers and of the embedding; layers: how far a node sees. ``tokens=True`` adds the
    node embeddings.
    """

    points = frozenset({"tokens"})

    def __init__(self, features: int, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.width, self.encoder_width, self.depth = width, width, layers
        self.layers = nn.ModuleList(nn.Linear(a, width) for a in (features, *[width] * (layers - 1)))

    def forward(self, x: Graphs, *, tokens: bool = False) -> Encoded:
        real_BN1 = x.mask_BN[..., None].to(x.node_BNF.dtype)
        h_BNE, link_BNN = x.node_BNF * real_BN1, x.link_BNN * real_BN1 * real_BN1.mT
        for layer in self.layers:
            h_BNE = torch.relu(layer(h_BNE + link_BNN @ h_BNE)) * real_BN1
        z_BE = h_BNE.sum(1) / real_BN1.sum(1)
        return Encoded.of(z_BE, tokens_BMD=h_BNE if tokens else None, mask_BM=x.mask_BN if tokens else None)
