"""One optimisation step: make the views, the loss and the gradients; the same numbers for any micro-batch size and number of ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
import torch.distributed
from torch import Tensor, nn

from pairwright.core import dist
from pairwright.core.collect import tensors
from pairwright.core.encoded import Encoded, Views
from pairwright.core.numerics import seed_of
from pairwright.core.rows import Across
from pairwright.models.dual import DualEncoder
from pairwright.train import draws
from pairwright.train.objective import Sum
from pairwright.train.shard import is_sharded
from pairwright.train.stage import Batch

Context = Callable[[], AbstractContextManager]


@dataclass
class Towers:
    """Runs the towers on some rows of a step. context: the autocast to run them in. drawn: which towers draw random numbers, found out
    once per tower by a small trial pass, since drawing by row costs time that other towers need not pay."""

    model: DualEncoder
    context: Context
    drawn: dict[str, bool] = field(default_factory=dict)

    def encode(self, view: str, x: Tensor, seed: int, first: int) -> Encoded:
        """first: place of the first row in the global batch."""
        if view not in self.drawn:
            few = x[:2] if len(x) > 1 else torch.cat([x, x])
            with self.context():
                self.drawn[view] = draws.are_drawn(self.model.towers[view], lambda: self.model.encode(view, few))
        torch.manual_seed(seed_of(seed, view))
        with self.context(), draws.RowDraws(first, len(x)) if self.drawn[view] else nullcontext():
            return self.model.encode(view, x)


def gradients(
    model: DualEncoder,
    objective: Sum,
    batch: Batch,
    *,
    seed: int,
    micro: int | None = None,
    across: Across = "gather",
    context: Context = nullcontext,
    towers: Towers | None = None,
) -> dict[str, Tensor]:
    """Add the gradient of the global loss to the parameters; return each part's value, averaged over ranks.

    seed: keys every random draw of the towers (dropout, patch dropout) together with the row. micro: if set, towers see this many rows at
    a time and only embeddings are kept in between (gradient caching): the gradient is that of the whole batch, draws included; batch norm
    alone sees micro-batches. across: how negatives of other ranks are met, see core.rows. context: the autocast to run the towers in; the
    loss is always float32. towers: pass the same one in every step of a stage, so that what it found out about them is kept.
    """
    towers = Towers(model, context) if towers is None else towers
    views = [view for view in objective.needs if view in batch.inputs]
    start = dist.rank() * len(batch)
    if micro is None or micro >= len(batch):
        live = {view: towers.encode(view, batch.inputs[view], seed, start) for view in views}
        values = objective(model, _views(live, batch, objective), across=across)
        values["loss"].backward()
    else:
        cached = {view: _Cached(towers, view, batch.inputs[view], seed, start, micro) for view in views}
        values = objective(model, _views({view: c.live for view, c in cached.items()}, batch, objective), across=across)
        values["loss"].backward()
        for c in cached.values():
            c.backward_kept()
        for view, c in cached.items():
            with draws.still(model.towers[view]):
                c.backward_again()
    average_gradients([*model.parameters(), *objective.parameters()])
    stacked = dist.sum_over_ranks(torch.stack([v.detach() for v in values.values()])) / dist.world()
    return dict(zip(values, stacked.unbind()))


class _Cached:
    """The embeddings of one view, made in parts without their graphs; the last part keeps its graph and need not be made again."""

    def __init__(self, towers: Towers, view: str, x: Tensor, seed: int, start: int, micro: int) -> None:
        self._encode = lambda rows: towers.encode(view, x[rows], seed, start + rows.start)
        *self.before, self.last = [slice(i, min(i + micro, len(x))) for i in range(0, len(x), micro)]
        with torch.no_grad():
            parts = [self._encode(rows) for rows in self.before]
        self._kept: Encoded | None = self._encode(self.last)
        whole = Encoded.cat([*parts, self._kept.detach()])
        self.live = whole.map(lambda t: t.detach().requires_grad_(t.is_floating_point()))

    def backward_kept(self) -> None:
        assert self._kept is not None
        kept, self._kept = self._kept, None
        self._backward(kept, self.last)

    def backward_again(self) -> None:
        for rows in self.before:
            self._backward(self._encode(rows), rows)

    def _backward(self, part: Encoded, rows: slice) -> None:
        """Send the gradients of the embeddings through the graph of one part."""
        pairs = [
            (out, leaf.grad[rows]) for out, leaf in zip(tensors(part), tensors(self.live)) if leaf.grad is not None and out.requires_grad
        ]
        if pairs:
            torch.autograd.backward([out for out, _ in pairs], [grad for _, grad in pairs])


def _views(encoded: dict[str, Encoded], batch: Batch, objective: Sum) -> Views:
    stored = {view: Encoded.of(z) for view, z in batch.stored.items() if view in objective.needs}
    missing = set(objective.needs) - set(encoded) - set(stored)
    if missing:
        raise ValueError(
            f"the objective needs the views {sorted(missing)}, but the data source brings only {sorted([*batch.inputs, *batch.stored])}"
        )
    return Views({**encoded, **stored}, group_B=batch.group_B, sample_B=batch.sample_B, present=batch.present)


@torch.no_grad()
def average_gradients(parameters: list[nn.Parameter], bucket: int = 2**22) -> None:
    """Mean of the gradients over ranks, in flat buckets (a parameter without a gradient on this rank counts as zero). Sharded parameters
    have theirs already."""
    if dist.world() == 1:
        return
    mine = [p for p in parameters if p.requires_grad and not is_sharded(p)]
    for p in mine:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    for group in _buckets(mine, bucket):
        flat = torch.cat([p.grad.flatten() for p in group])
        torch.distributed.all_reduce(flat)
        flat /= dist.world()
        for p, g in zip(group, flat.split([p.numel() for p in group])):
            p.grad.copy_(g.view_as(p))


def _buckets(parameters: list[nn.Parameter], size: int) -> Iterator[list[nn.Parameter]]:
    group: list[nn.Parameter] = []
    for p in parameters:
        group.append(p)
        if sum(q.numel() for q in group) >= size:
            yield group
            group = []
    if group:
        yield group
