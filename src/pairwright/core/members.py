"""Who belongs to whom in the global batch: positives, absent rows, and which rows count, from the views of one step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pairwright.core import dist
from pairwright.core.contracts import RowLoss
from pairwright.core.encoded import Encoded, Pairs, Views


@dataclass(frozen=True)
class Members:
    """One direction, query to key. group_B: ids over the global batch. key_B: bool, which columns are there; counts_B: which rows count;
    None where all do. start: place of this rank's first row. n: how many rows count."""

    group_B: Tensor
    key_B: Tensor | None
    counts_B: Tensor | None
    start: int
    n: int | Tensor

    @property
    def size(self) -> int:
        return len(self.group_B)

    @staticmethod
    def of(views: Views, query: str, key: str) -> Members:
        check_rows(views, query, key)
        b = len(views[query])
        device = views[query].z_BD.device
        group_B = torch.arange(b * dist.world(), device=device) if views.group_B is None else dist.gather_rows(views.group_B)
        query_B, key_B = present(views, query), present(views, key)
        counts_B = _counts(group_B, query_B, key_B)
        n = len(group_B) if counts_B is None else counts_B.sum().clamp_min(1)
        return Members(group_B, key_B, counts_B, dist.rank() * b, n)

    def total(self, loss: RowLoss, rows: slice, q_b: Encoded, k: Encoded, logits_bB: Tensor) -> Tensor:
        """Sum of the loss over those of the local `rows` that count, from their logits against all columns."""
        row_b = torch.arange(self.start + rows.start, self.start + rows.stop, device=logits_bB.device)
        positives_bB = self.group_B[row_b, None] == self.group_B[None, :]
        if self.key_B is not None:
            positives_bB = positives_bB & self.key_B
        allowed_bB = None if self.key_B is None else self.key_B.expand(len(row_b), self.size)
        values_b = loss.rows(Pairs(q_b, k, logits_bB, positives_bB, allowed_bB, row_b=row_b))
        return values_b.sum() if self.counts_B is None else values_b.masked_fill(~self.counts_B[row_b], 0.0).sum()


def check_rows(views: Views, query: str, key: str) -> None:
    b, c = len(views[query]), len(views[key])
    if b != c:
        raise ValueError(f"the views {query!r} ({b} rows) and {key!r} ({c} rows) of one step must have the same number of rows")


def local(views: Views, name: str) -> Encoded:
    """This rank's rows, zeros where one is absent: such rows may hold anything, and a NaN there would reach every gradient through the
    matrix product."""
    present_b = views.present.get(name)
    if present_b is None:
        return views[name]
    blank = lambda t: t.masked_fill(~present_b.view(-1, *[1] * (t.ndim - 1)), 0.0) if t.is_floating_point() else t
    return views[name].map(blank)


def present(views: Views, name: str) -> Tensor | None:
    """bool (B,) over the global batch, None where every row has the view."""
    return dist.gather_rows(views.present[name]) if name in views.present else None


def _counts(group_B: Tensor, query_B: Tensor | None, key_B: Tensor | None) -> Tensor | None:
    """bool (B,): rows of the global batch whose query is there and that have at least one positive; None if that is all of them."""
    if key_B is None:
        return query_B
    paired_B = torch.isin(group_B, group_B[key_B])
    return paired_B if query_B is None else paired_B & query_B
