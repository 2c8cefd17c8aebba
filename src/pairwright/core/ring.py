"""Cross-rank negatives without gathering: each rank's columns travel round a ring of ranks, and their gradients travel with them.

At any time a rank holds its own rows and one other rank's columns, so the remote side takes O(B / world) memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor

from pairwright.core import dist
from pairwright.core.collect import Collector, Side, transient
from pairwright.core.contracts import RowLoss
from pairwright.core.encoded import Encoded, Views
from pairwright.core.members import Members, local
from pairwright.core.numerics import full
from pairwright.core.tiles import Block


def around(own: Side) -> Iterator[Block]:
    """Every rank's columns in turn, own ones first. Under grad mode, gradients added to a block's side end in the side of its owner."""
    carried = [] if not torch.is_grad_enabled() else [g for g in own.grads if g is not None] or own.start()
    for owner, sources, grads in dist.ring(own.sources, carried):
        yield Block(owner * len(own), own.elsewhere(sources, grads))


def one_direction_by_ring(
    loss: RowLoss, views: Views, query: str, key: str, logits: Callable[[Encoded, Encoded], Tensor], step: int
) -> Tensor:
    """The loss of the local rows, `step` of them at a time: one way round for their logits, one for the gradients."""
    who = Members.of(views, query, key)
    sums = Collector()
    queries, keys = sums.side(local(views, query)), sums.side(local(views, key))
    far = cast(Encoded, _Elsewhere())
    with transient():
        for i in range(0, len(queries), step):
            rows = slice(i, min(i + step, len(queries)))
            q_b = queries.piece(rows)
            logits_bB = _all_columns(queries, keys, rows, who.size, logits)
            seen = Side(Encoded(logits_bB.requires_grad_(torch.is_grad_enabled())))
            everything = slice(0, len(logits_bB))
            leaf = seen.piece(everything)
            value = who.total(loss, rows, q_b, far, leaf.z_BD)
            sums.add(value)
            sums.pull(value, None, [(queries, rows, q_b), (seen, everything, leaf)])
            (grad_bB,) = seen.grads
            if grad_bB is not None:
                _send_back(sums, queries, keys, rows, grad_bB, logits)
    return sums.result() * dist.world() / who.n


@torch.no_grad()
def _all_columns(queries: Side, keys: Side, rows: slice, size: int, logits: Callable[[Encoded, Encoded], Tensor]) -> Tensor:
    q_b = queries.e.rows(rows)
    found: Tensor | None = None
    for block in around(keys):
        part = full(logits(q_b, block.side.e))
        if found is None:
            found = part.new_empty(len(q_b), size)
        found[:, block.at : block.at + len(block)] = part
    assert found is not None
    return found


def _send_back(
    sums: Collector, queries: Side, keys: Side, rows: slice, grad_bB: Tensor, logits: Callable[[Encoded, Encoded], Tensor]
) -> None:
    for block in around(keys):
        everything = slice(0, len(block))
        q_b, k = queries.piece(rows), block.side.piece(everything)
        there = slice(block.at, block.at + len(block))
        sums.pull(logits(q_b, k), grad_bB[:, there], [(queries, rows, q_b), (block.side, everything, k)])


class _Elsewhere:
    """Stands for the columns' embeddings, which are on their way round the ring."""

    def __getattr__(self, name: str) -> Any:
        raise ValueError("this loss reads the embeddings of the columns, which a ring never holds together: use across='gather'")

    def __len__(self) -> int:
        return self.__getattr__("len")
