"""Feature distillation: pull a student's embeddings, through a learned projection, onto a frozen teacher's."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pairwright.core.card import Card
from pairwright.core.encoded import Views
from pairwright.core.numerics import full

CARD = Card(
    name="Feature distillation (FD)",
    symbol="FeatureMatch",
    paper="extra:clip-kd",
    title="CLIP-KD: An Empirical Study of CLIP Model Distillation",
    year=2024,
    arxiv="2307.12732",
    where="section 3.2, feature distillation",
    equation="loss = mean_i |P z_i - t_i|^2  (l2), or mean_i 1 - cos(P z_i, t_i)  (cos)",
    says="Matching the teacher's features directly is the strongest single way to distil one CLIP model into a smaller one.",
    needs="student embeddings of one view, a frozen teacher's embeddings of the same items (stored ones will do)",
    cost="one D x D' projection, dropped after training",
    use_when="a better encoder of the same modality exists; small batches (it has no negatives); text-only data for a text tower",
    not_when="the teacher is weak in the domain: it pulls the student down to itself",
    aliases=("FD", "feature distillation", "embedding distillation"),
    neighbours=("losses/contrast/info_nce",),
    checks=("mechanism:feature_match",),
)


class FeatureMatch(nn.Module):
    """Distance of projected student embeddings to a teacher's, averaged over rows. It has no negatives, so any batch size will do.

    view: the student's view, ``"text"`` or ``"image"``; the teacher's is ``"teacher." + view``. width, teacher_width: D and D'. kind:
    ``"l2"`` is the paper's squared error (mean over the D' components), ``"cos"`` one minus the cosine. Rows of the teacher that are
    absent (``present``) do not count.
    """

    def __init__(self, width: int, teacher_width: int, view: str = "text", kind: str = "l2") -> None:
        super().__init__()
        if kind not in ("l2", "cos"):
            raise ValueError(f"kind is 'l2' or 'cos', got {kind!r}")
        self.view, self.kind = view, kind
        self.needs = (view, f"teacher.{view}")
        self.project = nn.Linear(width, teacher_width)

    def forward(self, views: Views) -> Float[Tensor, ""]:
        target_BD = full(views[self.needs[1]].z_BD.detach())
        student_BD = full(self.project(views[self.view].z_BD))
        if self.kind == "cos":
            loss_B = 1 - F.cosine_similarity(student_BD, target_BD, dim=-1)
        else:
            loss_B = (student_BD - target_BD).square().mean(-1)
        present_B = views.present.get(self.needs[1])
        if present_B is None:
            return loss_B.mean()
        return (loss_B * present_B).sum() / present_B.sum().clamp_min(1)
