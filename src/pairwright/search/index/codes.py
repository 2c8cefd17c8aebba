"""Eight-bit codes of unit rows, and a scan over them that still finds the exact best: bounds say which rows have to be compared in full.

A code differs from its row by a vector of known length e. A cosine computed from the code is then off by at most e (Cauchy-Schwarz), and
by what the query lost to bfloat16. Rows that cannot reach the k-th best within that bound are left out; the few others are compared in
float32. A scan reads a quarter of the bytes, and reading is all that a search for one query costs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

ROUNDING = 2.0**-8
"""Relative error of a bfloat16, doubled."""
BLOCK = 65_536
LANES = 32
"""Codes are padded with zeros to a multiple of this width: the product handles whole vectors only."""


@dataclass(frozen=True)
class Codes:
    """Rows ~ scale_N (bfloat16) * code_ND (int8, width padded); error_N: at least the length of what is lost."""

    code_ND: Tensor
    scale_N: Tensor
    error_N: Tensor

    @classmethod
    def of(cls, z_ND: Tensor) -> Codes:
        N, D = z_ND.shape
        code_ND = torch.zeros(N, D + -D % LANES, dtype=torch.int8)
        scale_N, error_N = torch.empty(N, dtype=torch.bfloat16), torch.empty(N)
        for start in range(0, N, BLOCK):
            rows = slice(start, start + BLOCK)
            z_bD = z_ND[rows]
            scale_N[rows] = z_bD.abs().amax(1).clamp_min(1e-12) / 127 * (1 + ROUNDING)  # so that nothing exceeds 127
            scale_b1 = scale_N[rows].float().unsqueeze(1)
            code_bD = (z_bD / scale_b1).round_()
            code_ND[rows, :D] = code_bD.to(torch.int8)
            error_N[rows] = (z_bD - code_bD * scale_b1).norm(dim=1) * (1 + 1e-4)
        return cls(code_ND, scale_N, error_N)

    def candidates(self, q_D: Tensor, z_ND: Tensor, k: int) -> Tensor:
        """Numbers, ascending, of all rows that may be among the k best of one unit query (and of a few that are not)."""
        half_D = q_D.bfloat16()
        padded_D = F.pad(half_D, (0, self.code_ND.shape[1] - len(q_D)))
        about_N = torch._weight_int8pack_mm(padded_D[None], self.code_ND, self.scale_N)[0].float()
        sure_K = about_N.topk(k).indices
        least = (z_ND[sure_K] @ q_D).min()  # the k-th best is no worse than this
        lost = (q_D - half_D.float()).norm() * 1.1 + 1e-5
        most_N = about_N + about_N.abs() * ROUNDING + self.error_N
        return (most_N >= least - lost).nonzero().squeeze(1)
