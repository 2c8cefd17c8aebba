"""CLIP-SVD: keep the directions of each weight matrix and learn only how strongly it uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pairwright.core.card import Card
from pairwright.models.dual import DualEncoder
from pairwright.tune.weights.mover import Addition, add_rows
from pairwright.tune.weights.places import Place, places

CARD = Card(
    name="CLIP-SVD (singular value fine-tuning)",
    symbol="SingularValues",
    paper="clip-svd",
    title="Singular Value Few-shot Adaptation of Vision-Language Models",
    year=2025,
    arxiv="2509.03740",
    where="section 3, the singular value decomposition of each weight matrix",
    equation="W = U diag(s) V^T  ->  W' = U diag(s + delta) V^T,  only delta moves and starts at 0",
    says="Rescaling the singular values of CLIP's own matrices, 0.04% of its parameters, adapts it to a few labelled images better than "
    "added modules do, and keeps more of what it knew.",
    needs="few labelled images + class names; gradients through both encoders",
    cost="one decomposition of each matrix; a training step costs that of full fine-tuning; nothing once folded",
    use_when="the model knows what the task is about but weighs it wrongly; very few parameters to store for each task",
    not_when="the task needs directions that the matrices do not have (LoRA adds them)",
    aliases=("SVF", "singular value fine-tuning", "SVD tuning", "spectral tuning"),
    neighbours=("tune/weights/lora", "tune/weights/select_params"),
    deviations=(
        "the matrices are those of the attention: with ViT-B/16 these have 61,440 singular values, the 0.04% of the paper; the released "
        "code has switches for each kind of matrix and for the feed-forward layers (parts=('q', 'k', 'v', 'o', 'fc', 'proj'))",
        "learned as W + U diag(delta) V^T, so that the start is the model's own bits; weight decay then pulls to the pretrained values, "
        "not to zero. Effect unknown",
    ),
    checks=("mechanism:singular_values",),
)


@dataclass(eq=False)
class SingularValues(Addition):
    """Fine-tune only the singular values of weight matrices: min(rows, columns) numbers for each matrix.

    parts, towers: which matrices, see `tune.weights.places`. Queries, keys and values that lie in one matrix are decomposed apart. The
    change of each value is in `moving_` while attached: which ones grew says which directions the task needed.
    """

    parts: Sequence[str] = ("q", "k", "v", "o")
    towers: Sequence[str] = ("image", "text")

    def _where(self, model: DualEncoder) -> list[Place]:
        return places(model, self.towers, self.parts)

    def _update(self, place: Place) -> nn.Module:
        return Stretch(place)


class Stretch(nn.Module):
    """W -> W + U diag(delta) V^T for each block of rows of W. U and V follow from the weight, so they are not part of the state."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.starts = place.starts
        with torch.no_grad():
            blocks_SHI = torch.stack([place.weight_OI[s : s + place.height] for s in place.starts]).float()
            u_SHK, s_SK, v_SKI = torch.linalg.svd(blocks_SHI, full_matrices=False)
        self.register_buffer("u_SHK", u_SHK, persistent=False)
        self.register_buffer("v_SKI", v_SKI, persistent=False)
        self.delta_SK = nn.Parameter(torch.zeros_like(s_SK))

    def forward(self, weight: Tensor) -> Tensor:
        return add_rows(weight, (self.u_SHK * self.delta_SK.unsqueeze(1)) @ self.v_SKI, self.starts)
