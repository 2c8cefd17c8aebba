"""The pairwise sigmoid loss of SigLIP, with any number of positives per row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.encoded import Pairs
from pairwright.core.numerics import sigmoid_nce
from pairwright.core.tiles import Tile

CARD = Card(
    name="SigLIP loss",
    symbol="Sigmoid",
    paper="extra:siglip",
    title="Sigmoid Loss for Language Image Pre-Training",
    year=2023,
    arxiv="2303.15343",
    where="section 3.2, Algorithm 1",
    equation="loss_i = -sum_j log sigmoid(y_ij (scale * q_i.k_j + bias)),  y_ij = +1 for a positive, -1 otherwise; mean over rows",
    says="Judging every pair on its own, without a softmax over the batch, is as good as CLIP at large batches and better at small ones.",
    needs="image and text embeddings of a batch, a learned scale (from 10) and a learned bias (from -10)",
    cost="one B x B matrix of similarities in one direction, held in row blocks: half of InfoNCE",
    use_when="many pairs are wrong; a row has any number of matches; probabilities that a pair matches are wanted",
    not_when="the model has no logit bias: at the start B - 1 negatives then swamp the one positive",
    aliases=("SigLIP", "sigmoid contrastive loss", "pairwise sigmoid", "binary NCE"),
    neighbours=("losses/contrast/info_nce",),
    deviations=(
        "positives are any matrix, the paper's is the diagonal; equal when it is",
        "its gain over InfoNCE at small batches did not show on two-layer toys once each had its own learning rate (recall@1 .46 against "
        ".47 at batch 8); the check holds its robustness to wrong pairs",
    ),
    checks=("mechanism:siglip",),
)


@dataclass(frozen=True)
class Sigmoid:
    """SigLIP's loss: binary cross-entropy of every image-text pair, summed over columns and averaged over rows.

    One direction suffices: the sum over all pairs is the same matrix either way. Use a model with `logit_bias` (start: scale 10,
    bias -10), so that the many negatives do not swamp the start of training. A row without a positive counts nothing.

    >>> import torch
    >>> from pairwright.core.encoded import Encoded
    >>> e = Encoded.of(torch.eye(2))
    >>> p = Pairs(e, e, torch.zeros(2, 2), torch.eye(2, dtype=torch.bool))
    >>> [round(x, 4) for x in Sigmoid().rows(p).tolist()]  # two pairs at log 2
    [1.3863, 1.3863]
    """

    needs: ClassVar[tuple[str, str]] = ("image", "text")
    directions: ClassVar[Literal["one", "both"]] = "one"
    log_sums: ClassVar[bool] = False

    def rows(self, p: Pairs) -> Float[Tensor, " b"]:
        """Loss of each row, (b,); 0 where a row has no positive."""
        loss_b = sigmoid_nce(p.logits_bB, p.positives_bB, p.allowed_bB, p.weight_bB)
        return loss_b.masked_fill(~p.positives_bB.any(-1), 0.0)

    def tile(self, t: Tile) -> tuple[Tensor, Tensor]:
        """The same by tiles: the cost of a pair is softplus of its logit, or of the negated one where it is a positive."""
        x_bc = t.logits_bc
        if len(t.at_P):
            x_bc = x_bc.index_put((t.at_P, t.on_P), -x_bc[t.at_P, t.on_P])
        value = t.row.weight_b @ F.softplus(x_bc).sum(-1)
        grad_bc = x_bc.sigmoid().mul_(t.row.weight_b.unsqueeze(-1))
        grad_bc[t.at_P, t.on_P] *= -1
        return value, grad_bc
