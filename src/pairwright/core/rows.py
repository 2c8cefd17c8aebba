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
from typing import Literal

from torch import Tensor

from pairwright.core import dist
from pairwright.core.collect import Collector, transient
from pairwright.core.contracts import RowLoss, TiledLoss
from pairwright.core.encoded import Encoded, Views
from pairwright.core.members import Members, check_rows, local, present
from pairwright.core.ring import around, one_direction_by_ring
from pairwright.core.tiles import Batch, Block, tiled_loss

Across = Literal["gather", "ring"]

BLOCK = 2**22
"""Logits in one block when `chunk` is None: 16 MB in float32. A batch of 2,048 is one block; 32,768 is taken 128 rows at a time."""


def row_loss(
    loss: RowLoss,
    views: Views,
    logits: Callable[[Encoded, Encoded], Tensor],
    *,
    chunk: int | None = None,
    symmetric: bool = False,
    across: Across = "gather",
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

    across: how rows meet the columns of other ranks. ``gather`` brings them all here, O(B) memory. ``ring`` passes them round, one rank's
    at a time, O(B / world) memory: twice per step for a loss with a closed form, twice per block of rows for any other, which then may
    look at logits only. Both give the same numbers; every rank must weight the loss alike.
    """
    if loss.directions not in ("one", "both"):
        raise ValueError(f"{type(loss).__name__}.directions is {loss.directions!r}: it must be 'one' or 'both'")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk is a number of rows, at least 1, got {chunk}")
    if across not in ("gather", "ring"):
        raise ValueError(f"across is 'gather' or 'ring', got {across!r}")
    first, second = loss.needs
    round_trip = across == "ring" and dist.world() > 1
    large = len(views[first]) ** 2 * dist.world() > BLOCK
    if chunk is None and isinstance(loss, TiledLoss) and (loss.directions == "one" or symmetric) and (large or round_trip):
        return _tiled(loss, views, first, second, logits, round_trip)
    direction = one_direction_by_ring if round_trip else _one_direction
    step = chunk or max(1, BLOCK // (len(views[first]) * dist.world()))
    total = direction(loss, views, first, second, logits, step)
    if loss.directions == "both":
        total = (total + direction(loss, views, second, first, logits, step)) / 2
    return total


def _one_direction(loss: RowLoss, views: Views, query: str, key: str, logits: Callable[[Encoded, Encoded], Tensor], step: int) -> Tensor:
    who = Members.of(views, query, key)
    q, k = local(views, query), local(views, key).map(dist.gather_rows)

    def block(rows: slice, q_b: Encoded, k: Encoded) -> Tensor:
        return who.total(loss, rows, q_b, k, logits(q_b, k))

    total = block(slice(0, len(q)), q, k) if step >= len(q) else _in_blocks(block, q, k, step)
    return total * dist.world() / who.n


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


def _tiled(loss: TiledLoss, views: Views, query: str, key: str, logits: Callable[[Encoded, Encoded], Tensor], round_trip: bool) -> Tensor:
    q, k = local(views, query), local(views, key)
    check_rows(views, query, key)
    sums = Collector()
    queries = sums.side(q)
    if round_trip:
        keys = sums.side(k)
        columns = lambda: around(keys)
    else:
        keys = sums.side(k.map(dist.gather_rows))
        columns = lambda: iter([Block(0, keys)])
    group_B = views.group_B
    if group_B is not None:
        group_B = dist.gather_rows(group_B)
    b, W = len(q), dist.world()
    return tiled_loss(
        loss, Batch(queries, dist.rank() * b, b * W, columns, group_B, present(views, query), present(views, key)), sums, logits
    )
