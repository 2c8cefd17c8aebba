"""Cosine similarity of unit embeddings: the similarity of CLIP, SigLIP and most of their family."""

from __future__ import annotations

from torch import Tensor, nn

from pairwright.core.encoded import Encoded


class Cosine(nn.Module):
    """Dot product of unit rows: q (b rows), k (B rows) -> (b, B). An index can search it directly."""

    is_dot_product = True
    symmetric = True

    def forward(self, q: Encoded, k: Encoded) -> Tensor:
        return q.z_BD @ k.z_BD.T
