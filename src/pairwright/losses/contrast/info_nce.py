"""InfoNCE, the loss of CLIP, with any number of positives per row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from pairwright.core.card import Card
from pairwright.core.encoded import Pairs
from pairwright.core.numerics import soft_nce
from pairwright.core.tiles import Line, Tile

CARD = Card(
    name="InfoNCE (CLIP loss), multi-positive",
    symbol="InfoNCE",
    paper="extra:clip-infonce",
    title="Learning Transferable Visual Models From Natural Language Supervision",
    year=2021,
    arxiv="2103.00020",
    where="Figure 3 (pseudocode); several positives as in SupCon, arXiv 2004.11362, eq. 2",
    equation="loss_i = -1/|P(i)| sum_{j in P(i)} log softmax_j(logits_i),  averaged over image->text and text->image",
    says="Predicting which caption of the batch belongs to which image learns a transferable image encoder from raw text.",
    needs="image and text embeddings of a batch, a learned scale; which rows belong together (the diagonal by default)",
    cost="one B x B matrix of similarities, held in row blocks",
    use_when="pretraining or fine-tuning a two-encoder model; the default. Give groups when captions or concepts repeat in a batch",
    not_when="batches under a few dozen pairs (few negatives), or pairs so noisy that forcing exactly one match hurts",
    aliases=("CLIP loss", "NT-Xent", "N-pair loss", "softmax contrastive loss", "ITC", "SupCon out"),
    neighbours=("losses/contrast/sigmoid",),
    deviations=(
        "several positives share the target evenly, where CLIP's code labels only the diagonal: repeated captions are no longer negatives "
        "of themselves; equal to CLIP when no caption repeats; effect measured by the check",
    ),
    checks=("mechanism:clip_multi_positive",),
)


@dataclass(frozen=True)
class InfoNCE:
    """CLIP's contrastive loss: softmax cross-entropy of each row over all columns, in both directions, with any number of positives.

    Several positives of a row share the target evenly (the mean of their log-probabilities). With one positive per row on the diagonal
    this is CLIP's loss. The scale (1 / temperature) is the model's; CLIP learns it from 1/0.07 and clips it at 100.

    >>> import torch
    >>> from pairwright.core.encoded import Encoded
    >>> e = Encoded.of(torch.eye(2))
    >>> p = Pairs(e, e, e.z_BD @ e.z_BD.T, torch.eye(2, dtype=torch.bool))
    >>> [round(x, 4) for x in InfoNCE().rows(p).tolist()]  # log(1 + exp(-1))
    [0.3133, 0.3133]
    """

    needs: ClassVar[tuple[str, str]] = ("image", "text")
    directions: ClassVar[Literal["one", "both"]] = "both"
    log_sums: ClassVar[bool] = True

    def rows(self, p: Pairs) -> Float[Tensor, " b"]:
        """Loss of each row, (b,); 0 where a row has no positive."""
        return soft_nce(p.logits_bB, p.positives_bB, p.allowed_bB, p.weight_bB)

    def tile(self, t: Tile) -> tuple[Tensor, Tensor]:
        """The same by tiles: d loss / d logit is the softmax less the target, weighted, along the row and along the column."""
        grad_bc = _softmax(t.logits_bc, t.row, -1)
        own_P = t.logits_bc[t.at_P, t.on_P]
        target_P = t.row.weight_b[t.at_P] / t.row.positives_b[t.at_P]
        value = target_P @ (t.row.log_sum_b[t.at_P] - own_P)
        if t.column is not None:
            grad_bc += _softmax(t.logits_bc, t.column, 0)
            along_P = t.column.weight_b[t.on_P] / t.column.positives_b[t.on_P]
            value = value + along_P @ (t.column.log_sum_b[t.on_P] - own_P)
            target_P = target_P + along_P
        grad_bc[t.at_P, t.on_P] -= target_P
        return value, grad_bc


def _softmax(logits_bc: Tensor, line: Line, dim: int) -> Tensor:
    """weight * softmax along `dim` of the whole matrix, from its log-sums; a line of weight 0 gives zeros."""
    shift_b = line.log_sum_b - line.weight_b.log()
    return (logits_bc - shift_b.unsqueeze(dim)).exp_()
