"""How far apart classes are and how wide each is: what validation-free defaults of linear heads are made from."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from pairwright.heads.inputs import class_sums


@dataclass(frozen=True)
class Spread:
    """Traces of covariance estimates, in squared feature length.

    total: of all rows. within: inside classes, unbiased; None where no class has two rows. reliability: the share of the observed
    spread of class means that is not sampling noise, 1 - within * mean(1 / n_c) / spread, in [0, 1]; None with `within`.
    """

    total: float
    within: float | None
    reliability: float | None


def spread(z_ND: Float[Tensor, "N D"], y_N: Tensor) -> Spread:
    """Measure labelled rows (at least one); classes without rows do not count."""
    z_ND = z_ND.double()
    sum_CD, count_C = class_sums(z_ND, y_N, int(y_N.max()) + 1)
    seen_C = count_C > 0
    mean_CD = sum_CD / count_C.clamp_min(1)[:, None]
    total = float((z_ND - z_ND.mean(0)).square().sum() / max(len(z_ND) - 1, 1))
    classes = int(seen_C.sum())
    freedom = len(z_ND) - classes
    if freedom == 0:
        return Spread(total, None, None)
    within = float((z_ND - mean_CD[y_N]).square().sum() / freedom)
    observed = float((mean_CD[seen_C] - mean_CD[seen_C].mean(0)).square().sum() / max(classes - 1, 1))
    noise = within * float((1 / count_C[seen_C]).mean())
    return Spread(total, within, max(0.0, 1 - noise / observed) if observed > 0 else 0.0)
