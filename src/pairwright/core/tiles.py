"""Contrastive losses tile by tile: rows and columns both split, both directions from one product, and never a B x B matrix.

Each rank takes its own rows against all columns; the columns are there at once (gathered) or come by, one rank's at a time (a ring).

A loss that offers `tile` (contracts.TiledLoss) gives the gradient of a tile of logits in closed form; each tile is made, used and forgotten
while it is in the processor's cache. A loss that needs log-sums of complete rows and columns gets them from a pass before: four matrix
products in all for a loss of two directions, where the whole matrix and its transpose take six, and three for a loss of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pairwright.core import dist
from pairwright.core.collect import Collector, Side, transient
from pairwright.core.contracts import TiledLoss
from pairwright.core.encoded import Encoded
from pairwright.core.numerics import NEG, full

SIDES = {"cpu": (512, 1024)}
"""Rows and columns of a tile: 2 MB in float32, so that passes over it stay in a processor's cache; large enough for products at full
speed."""
OTHER_SIDES = (1024, 2048)
"""On other devices, where starting a kernel costs more: 8 MB."""


@dataclass(frozen=True)
class Line:
    """What is known of each row (or column) of a tile. weight: how much its loss counts, 0 where it does not. positives: how many it has
    in the whole batch. log_sum: log-sum-exp of all its allowed logits; None where the loss does not ask for it."""

    weight_b: Tensor
    positives_b: Tensor
    log_sum_b: Tensor | None = None

    def part(self, where: slice) -> Line:
        return Line(self.weight_b[where], self.positives_b[where], None if self.log_sum_b is None else self.log_sum_b[where])


@dataclass(frozen=True)
class Tile:
    """Some rows against some columns. logits_bc: float32 or better, NEG where a pair is not allowed; not to be changed in place.
    at_P, on_P: row and column, within the tile, of its P positive pairs. column: None where only rows have a loss."""

    logits_bc: Tensor
    at_P: Tensor
    on_P: Tensor
    row: Line
    column: Line | None


@dataclass(frozen=True)
class Block:
    """Some columns of the global batch that are in memory now. at: place of the first one. side: where their gradients go."""

    at: int
    side: Side

    def __len__(self) -> int:
        return len(self.side)


@dataclass(frozen=True)
class Batch:
    """This process's rows of one view, the columns of the other in one or more blocks, and who belongs to whom in the global batch.

    start: place of the first row in the global batch. columns: yields the blocks, for one pass over all columns. group_B: ids, None where
    row i matches column i and no other. query_B, key_B: which rows have each view, None where all have.
    """

    q: Side
    start: int
    size: int
    columns: Callable[[], Iterator[Block]]
    group_B: Tensor | None
    query_B: Tensor | None
    key_B: Tensor | None

    @property
    def device(self) -> torch.device:
        return self.q.e.z_BD.device

    def here(self, rows: slice) -> slice:
        """Places of local rows in the global batch."""
        return slice(self.start + rows.start, self.start + rows.stop)

    def tiles(self, block: Block) -> Iterator[tuple[slice, slice, slice]]:
        """Local rows, columns within the block, and the places of those columns in the global batch."""
        b, c, (height, width) = len(self.q), len(block), SIDES.get(self.device.type, OTHER_SIDES)
        for i in range(0, b, height):
            for j in range(0, c, width):
                columns = slice(j, min(j + width, c))
                yield slice(i, min(i + height, b)), columns, slice(block.at + columns.start, block.at + columns.stop)

    def masked(self, raw_bc: Tensor, rows: slice, columns: slice) -> Tensor:
        """Logits as a loss sees them: without a graph, in float32 or better, NEG where a row or column is absent."""
        logits_bc = full(raw_bc.detach())
        for present, view in ((self.query_B, (rows, None)), (self.key_B, (None, columns))):
            if present is not None:
                logits_bc = logits_bc.masked_fill(~present[view], NEG)
        return logits_bc

    def positives(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        """The positive pairs of a tile in which both are present: places (P,) of rows and of columns within the tile."""
        if self.group_B is None:
            low, high = max(rows.start, columns.start), min(rows.stop, columns.stop)
            diagonal = torch.arange(low, max(low, high), device=self.device)
            at_P, on_P = diagonal - rows.start, diagonal - columns.start
        else:
            at_P, on_P = (self.group_B[rows, None] == self.group_B[None, columns]).nonzero(as_tuple=True)
        if self.query_B is not None:
            here = self.query_B[at_P + rows.start]
            at_P, on_P = at_P[here], on_P[here]
        if self.key_B is not None:
            here = self.key_B[on_P + columns.start]
            at_P, on_P = at_P[here], on_P[here]
        return at_P, on_P

    def line(self, own_B: Tensor | None, other_B: Tensor | None, share: float, dtype: torch.dtype) -> Line:
        """Weights and numbers of positives of the rows (own, other = query, key) or columns (key, query); weights sum to `share`."""
        other = torch.ones(self.size, dtype=torch.bool, device=self.device) if other_B is None else other_B
        if self.group_B is None:
            positives_B = other.long()
        else:
            _, place_B = self.group_B.unique(return_inverse=True)
            positives_B = torch.bincount(place_B[other], minlength=self.size)[place_B]
        counts_B = positives_B > 0
        if own_B is not None:
            counts_B = counts_B & own_B
        return Line(counts_B.to(dtype) * share / counts_B.sum().clamp_min(1), positives_B.clamp_min(1))


def tiled_loss(loss: TiledLoss, batch: Batch, sums: Collector, logits: Callable[[Encoded, Encoded], Tensor]) -> Tensor:
    """The mean over rows that count (and, for both directions, over columns: half each), a scalar with its gradient; this rank's share,
    whose mean over ranks is that of the global batch."""
    both = loss.directions == "both"
    dtype = full(batch.q.e.z_BD[:0]).dtype
    row = batch.line(batch.query_B, batch.key_B, 0.5 if both else 1.0, dtype)
    column = batch.line(batch.key_B, batch.query_B, 0.5, dtype) if both else None
    if loss.log_sums:
        row, column = _with_log_sums(batch, logits, row, column)
    sums.add(torch.zeros((), dtype=dtype, device=batch.device))
    with transient():
        for block in batch.columns():
            for rows, columns, there in batch.tiles(block):
                here = batch.here(rows)
                q_b, k_c = batch.q.piece(rows), block.side.piece(columns)
                raw_bc = logits(q_b, k_c)
                with torch.no_grad():
                    logits_bc = batch.masked(raw_bc, here, there)
                    tile = Tile(logits_bc, *batch.positives(here, there), row.part(here), column and column.part(there))
                    value, grad_bc = loss.tile(tile)
                sums.add(value)
                sums.pull(raw_bc, grad_bc, [(batch.q, rows, q_b), (block.side, columns, k_c)])
    return sums.result() * dist.world()


@torch.no_grad()
def _with_log_sums(batch: Batch, logits: Callable[[Encoded, Encoded], Tensor], row: Line, column: Line | None) -> tuple[Line, Line | None]:
    """Rows are complete on the rank that owns them; columns are completed over the ranks."""
    row_B = torch.full((batch.size,), NEG, dtype=row.weight_b.dtype, device=batch.device)
    column_B = row_B.clone()
    for block in batch.columns():
        for rows, columns, there in batch.tiles(block):
            here = batch.here(rows)
            logits_bc = batch.masked(logits(batch.q.e.rows(rows), block.side.e.rows(columns)), here, there)
            for sums_B, where, part_b in zip((row_B, column_B), (here, there), log_sums(logits_bc, column is not None), strict=True):
                if part_b is not None:
                    sums_B[where] = torch.logaddexp(sums_B[where], part_b)
    row = Line(row.weight_b, row.positives_b, row_B)
    return row, column and Line(column.weight_b, column.positives_b, dist.logsumexp_over_ranks(column_B))


def log_sums(logits_bc: Tensor, columns: bool) -> tuple[Tensor, Tensor | None]:
    """Log-sum-exp of each row, and of each column where asked for, from one exponential where the range of the maxima allows it."""
    if columns:
        top = logits_bc.max()
        e_bc = (logits_bc - top).exp_()
        row_b, column_c = e_bc.sum(1), e_bc.sum(0)
        if min(row_b.min(), column_c.min()) > _SAFE:
            return row_b.log_() + top, column_c.log_() + top
    return torch.logsumexp(logits_bc, 1).clamp_min(NEG), torch.logsumexp(logits_bc, 0).clamp_min(NEG) if columns else None


_SAFE = 1e-20
"""Sums above this have lost nothing: what underflowed (below 1e-38 each) is under 1e-9 of the sum for up to a million columns."""
