"""WiSE-FT: the straight line between the weights of a model and of its fine-tuned copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pairwright.core.card import Card

CARD = Card(
    name="WiSE-FT (weight-space ensembling)",
    symbol="Interpolate",
    paper="extra:wise-ft",
    title="Robust fine-tuning of zero-shot models",
    year=2022,
    arxiv="2109.01903",
    where="section 3, equation for wse(x, alpha)",
    equation="theta = (1 - alpha) theta_base + alpha theta_tuned",
    says="Half way between the zero-shot and the fine-tuned weights, accuracy under distribution shift is higher than at either end, and "
    "little is lost on the data of the fine-tuning.",
    needs="a model and a copy of it that was fine-tuned from those very weights",
    cost="one pass over both files, one tensor in memory at a time; the result runs as fast as either",
    use_when="after every fine-tuning whose model will meet other data than it was tuned on; it costs nothing to try",
    not_when="the two models were not trained from the same weights: half way there is a barrier (see the check's control)",
    aliases=("weight interpolation", "weight averaging", "WiSE", "lerp", "alpha"),
    neighbours=("merge/alpha_sweep",),
    deviations=("the logit scale is interpolated with everything else; whole-number buffers are those of the nearer end",),
    checks=("mechanism:wise_ft",),
)


@dataclass(frozen=True)
class Interpolate:
    """Interpolate two models of one origin: alpha 0 is the base bit for bit, 1 the tuned model, 0.5 the paper's choice without val data.

    Numbers are added in float32 (float64 for float64 tensors) and have the base's dtype.

    >>> Interpolate(0.25).merge("w", torch.zeros(2), [torch.ones(2)])[0]
    tensor([0.2500, 0.2500])
    """

    alpha: float = 0.5

    neutral: ClassVar[dict[str, float] | None] = {"alpha": 0.0}
    symmetric: ClassVar[bool] = False
    most: ClassVar[int | None] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha is the share of the tuned model, 0 to 1; got {self.alpha}")

    def merge(self, name: str, base: Tensor, tuned_S: Sequence[Tensor], *, stats: Any = None, state: Any = None) -> tuple[Tensor, Any]:
        if len(tuned_S) != 1:
            raise ValueError(f"interpolation takes one tuned model, got {len(tuned_S)}: average several, or interpolate one by one")
        (tuned,) = tuned_S
        if not base.is_floating_point():
            return (tuned if self.alpha > 0.5 else base), state
        wide = torch.promote_types(base.dtype, torch.float32)
        if self.alpha in (0, 1):  # an end is an end, whatever the other one holds
            return (base, tuned)[int(self.alpha)], state
        return ((1 - self.alpha) * base.to(wide) + self.alpha * tuned.to(wide)).to(base.dtype), state
