"""What a stage minimises: one objective or a weighted sum, on views made by a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from pairwright.core.contracts import RowLoss
from pairwright.core.encoded import Views
from pairwright.core.rows import Across, row_loss
from pairwright.models.dual import DualEncoder


class Sum(nn.Module):
    """Weighted sum of named objectives: ``Sum({"clip": InfoNCE(), "distill": FeatureDistill(...)}, distill=0.5)``.

    Weights default to 1. A row-separable loss gets the model's own logits; any other objective gets the views. Modules among the parts
    are trained and checkpointed with the model.
    """

    def __init__(self, parts: Mapping[str, Any], **weights: float) -> None:
        super().__init__()
        unknown = set(weights) - set(parts)
        if unknown:
            raise ValueError(f"weights for {sorted(unknown)}, but the parts are {sorted(parts)}")
        self.weights = {name: float(weights.get(name, 1.0)) for name in parts}
        self.parts = dict(parts)
        self.modules_ = nn.ModuleDict({name: part for name, part in parts.items() if isinstance(part, nn.Module)})

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(view for part in self.parts.values() for view in part.needs))

    def forward(self, model: DualEncoder, views: Views, chunk: int | None = None, across: Across = "gather") -> dict[str, Tensor]:
        """Each part's value (before its weight), and their weighted sum as ``loss``. The local share, as in core.rows, which also says
        what `chunk` and `across` are."""
        values = {}
        symmetric = getattr(model.similarity, "symmetric", False)
        for name, part in self.parts.items():
            if isinstance(part, RowLoss):
                values[name] = row_loss(part, views, model.logits, chunk=chunk, symmetric=symmetric, across=across)
            else:
                values[name] = part(views)
        values["loss"] = sum((self.weights[name] * value for name, value in values.items()), start=next(iter(values.values())) * 0.0)
        return values
