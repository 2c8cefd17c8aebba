"""The row engine: turns a row-separable loss into a scalar over the global batch, on any number of ranks and in little memory.

Scaling, precisely. Let W ranks hold b rows each, B = W b, and let n of the B rows count (a row counts if its query is present and at
least one of its positives is). Every rank returns

    L_r = (W / n) * sum of loss over its own rows that count        (all rows count: the mean over its own rows),

so that the mean of L_r over ranks is the mean over the global batch. `dist.gather_rows` sums over ranks the gradients of each gathered
row, hence d(sum_r L_r)/d(row) arrives at the rank that owns the row, and the parameters that a rank uses directly (scale, bias,
similarity) receive dL_r. Averaging parameter gradients over ranks, as DistributedDataParallel does, then gives in both cases exactly
the gradient that one process with the whole batch would have.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pairwright.core import dist
from pairwright.core.collect import Collector, transient
from pairwright.core.contracts import RowLoss, TiledLoss
from pairwright.core.encoded import Encoded, Pairs, Views
from pairwright.core.tiles import Batch, tiled_loss

BLOCK = 2**22
"""Logits in one block when `chunk` is None: 16 MB in float32. A batch of 2,048 is one block; 32,768 is taken 128 rows at a time."""


def row_loss(
    loss: RowLoss,
    views: Views,
    logits: Callable[[Encoded, Encoded], Tensor],
    *,
    chunk: int | None = None,
    symmetric: bool = False,
) -> Tensor:
    """Contrastive loss of the global batch from local views, scalar: this rank's share (see the module text for its scaling).

    loss: gives one value per row of a block. views: the local rows of the two views that `loss.needs`; `group_B` says which rows are
    positives of each other, `present` which rows exist. logits: scaled and biased similarities of some rows against all columns
    (`DualEncoder.logits`); for the second direction it is called with the roles of the views exchanged. symmetric: says that this gives
    the transpose, so that one product may serve both directions.

    A batch of at most `BLOCK` logits is taken whole, by plain autograd. A larger one is taken in blocks, whose gradients are computed with
    the value and not kept, so that memory is O(B), never O(B x B), and nothing is computed twice: blocks of `chunk` rows by all columns
    (None: as many rows as make `BLOCK` logits), or tiles of rows and columns where the loss has a closed form for them and `chunk` is None.
    A gradient of that gradient is then not to be had.
    """
    if loss.directions not in ("one", "both"):
        raise ValueError(f"{type(loss).__name__}.directions is {loss.directions!r}: it must be 'one' or 'both'")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk is a number of rows, at least 1, got {chunk}")
    first, second = loss.needs
    one = loss.directions == "one"
    if chunk is None and isinstance(loss, TiledLoss) and (one or symmetric) and dist.world() == 1 and len(views[first]) ** 2 > BLOCK:
        return tiled_loss(loss, _batch(views, first, second), logits)
    total = _one_direction(loss, views, first, second, logits, chunk)
    if loss.directions == "both":
        total = (total + _one_direction(loss, views, second, first, logits, chunk)) / 2
    return total


def _one_direction(
    loss: RowLoss, views: Views, query: str, key: str, logits: Callable[[Encoded, Encoded], Tensor], chunk: int | None
) -> Tensor:
    q = _blank_absent(views[query], views.present.get(query))
    k = _blank_absent(views[key], views.present.get(key)).map(dist.gather_rows)
    b, B = len(q), len(k)
    _check_rows(query, b, key, B // dist.world())
    device = q.z_BD.device
    group_B = torch.arange(B, device=device) if views.group_B is None else dist.gather_rows(views.group_B)
    key_B, query_B = _present(views, key), _present(views, query)
    counts_B = _counts(group_B, query_B, key_B)
    start = dist.rank() * b

    def block(rows: slice, q_b: Encoded, k: Encoded) -> Tensor:
        row_b = torch.arange(start + rows.start, start + rows.stop, device=device)
        positives_bB = group_B[row_b, None] == group_B[None, :]
        if key_B is not None:
            positives_bB = positives_bB & key_B
        allowed_bB = None if key_B is None else key_B.expand(len(row_b), B)
        values_b = loss.rows(Pairs(q_b, k, logits(q_b, k), positives_bB, allowed_bB, row_b=row_b))
        return values_b.sum() if counts_B is None else values_b.masked_fill(~counts_B[row_b], 0.0).sum()

    step = chunk or max(1, BLOCK // B)
    total = block(slice(0, b), q, k) if step >= b else _in_blocks(block, q, k, step)
    n = B if counts_B is None else counts_B.sum().clamp_min(1)
    return total * dist.world() / n


def _in_blocks(block: Callable[[slice, Encoded, Encoded], Tensor], q: Encoded, k: Encoded, step: int) -> Tensor:
    """The sum of the block values, each with its gradient taken at once."""
    sums = Collector()
    queries, keys = sums.side(q), sums.side(k)
    everything = slice(0, len(k))
    k = keys.piece(everything)
    with transient():
        for i in range(0, len(q), step):
            rows = slice(i, min(i + step, len(q)))
            q_b = queries.piece(rows)
            value = block(rows, q_b, k)
            sums.add(value)
            sums.pull(value, None, [(queries, rows, q_b), (keys, everything, k)])
    return sums.result()


def _batch(views: Views, query: str, key: str) -> Batch:
    q, k = views[query], views[key]
    _check_rows(query, len(q), key, len(k))
    query_B, key_B = views.present.get(query), views.present.get(key)
    return Batch(_blank_absent(q, query_B), _blank_absent(k, key_B), views.group_B, query_B, key_B)


def _check_rows(query: str, b: int, key: str, c: int) -> None:
    if b != c:
        raise ValueError(f"the views {query!r} ({b} rows) and {key!r} ({c} rows) of one step must have the same number of rows")


def _blank_absent(rows: Encoded, present_b: Tensor | None) -> Encoded:
    """Zeros where a row is absent: such rows may hold anything, and a NaN there would reach every gradient through the matrix product."""
    if present_b is None:
        return rows
    blank = lambda t: t.masked_fill(~present_b.view(-1, *[1] * (t.ndim - 1)), 0.0) if t.is_floating_point() else t
    return rows.map(blank)


def _present(views: Views, name: str) -> Tensor | None:
    """bool (B,) over the global batch, None where every row has the view."""
    return dist.gather_rows(views.present[name]) if name in views.present else None


def _counts(group_B: Tensor, query_B: Tensor | None, key_B: Tensor | None) -> Tensor | None:
    """bool (B,): rows of the global batch whose query is there and that have at least one positive; None if that is all of them."""
    if key_B is None:
        return query_B
    paired_B = torch.isin(group_B, group_B[key_B])
    return paired_B if query_B is None else paired_B & query_B
