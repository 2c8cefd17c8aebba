"""One optimisation step: make the views, the loss and the gradients; the same numbers for any micro-batch size and number of ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import torch
import torch.distributed
from torch import Tensor, nn

from pairwright.core import dist
from pairwright.core.encoded import Encoded, Views
from pairwright.core.numerics import seed_of
from pairwright.models.dual import DualEncoder
from pairwright.train.objective import Sum
from pairwright.train.stage import Batch

Context = Callable[[], AbstractContextManager]


def gradients(
    model: DualEncoder, objective: Sum, batch: Batch, *, seed: int, micro: int | None = None, context: Context
) -> dict[str, float]:
    """Add the gradient of the global loss to the parameters; return each part's value, averaged over ranks.

    seed: keys every random draw of the towers (dropout, patch dropout), so that a second pass repeats the first one's. micro: if set,
    towers see this many rows at a time and only embeddings are kept in between (gradient caching): the gradient is that of the whole
    batch. context: the autocast to run the towers in; the loss is always float32.
    """
    towers = [view for view in objective.needs if view in batch.inputs]
    whole = micro is None or micro >= len(batch)
    if whole:
        encoded = {view: _encode(model, view, batch.inputs[view], seed, context) for view in towers}
        live = encoded
    else:
        with torch.no_grad():
            parts = {view: [_encode(model, view, x, s, context) for x, s in _micro(batch.inputs[view], micro, seed)] for view in towers}
        live = {view: Encoded.cat(p).map(lambda t: t.detach().requires_grad_(t.is_floating_point())) for view, p in parts.items()}
    values = objective(model, _views(live, batch, objective))
    values["loss"].backward()
    if not whole:
        for view in towers:
            _backward_again(model, view, batch.inputs[view], live[view], micro, seed, context)
    average_gradients([*model.parameters(), *objective.parameters()])
    names = list(values)
    stacked = dist.sum_over_ranks(torch.stack([values[n].detach() for n in names])) / dist.world()
    return dict(zip(names, stacked.tolist()))


def _views(encoded: dict[str, Encoded], batch: Batch, objective: Sum) -> Views:
    stored = {view: Encoded.of(z) for view, z in batch.stored.items() if view in objective.needs}
    missing = set(objective.needs) - set(encoded) - set(stored)
    if missing:
        raise ValueError(
            f"the objective needs the views {sorted(missing)}, but the data source brings only {sorted([*batch.inputs, *batch.stored])}"
        )
    return Views({**encoded, **stored}, group_B=batch.group_B, sample_B=batch.sample_B, present=batch.present)


def _encode(model: DualEncoder, view: str, x: Tensor, seed: int, context: Context) -> Encoded:
    torch.manual_seed(seed_of(seed, view, dist.rank()))
    with context():
        return model.encode(view, x)


def _micro(x: Tensor, size: int, seed: int) -> Iterator[tuple[Tensor, int]]:
    for i, part in enumerate(x.split(size)):
        yield part, seed_of(seed, i)


def _backward_again(model: DualEncoder, view: str, x: Tensor, live: Encoded, micro: int, seed: int, context: Context) -> None:
    """Encode again with gradients, micro-batch by micro-batch, and send the cached gradients of the embeddings through."""
    start = 0
    for part, part_seed in _micro(x, micro, seed):
        again = _encode(model, view, part, part_seed, context)
        rows = slice(start, start + len(part))
        outputs, grads = [], []
        for out, cached in zip(_tensors(again), _tensors(live)):
            if cached.grad is not None and out.requires_grad:
                outputs.append(out)
                grads.append(cached.grad[rows])
        if outputs:
            torch.autograd.backward(outputs, grads)
        start += len(part)


def _tensors(e: Encoded) -> list[Tensor]:
    found: list[Tensor] = []
    e.map(lambda t: (found.append(t), t)[1])
    return found


@torch.no_grad()
def average_gradients(parameters: list[nn.Parameter], bucket: int = 2**22) -> None:
    """Mean of the gradients over ranks, in flat buckets (a parameter without a gradient on this rank counts as zero)."""
    if dist.world() == 1:
        return
    pending: list[nn.Parameter] = []

    def flush() -> None:
        if not pending:
            return
        flat = torch.cat([p.grad.flatten() for p in pending])
        torch.distributed.all_reduce(flat)
        flat /= dist.world()
        for p, g in zip(pending, flat.split([p.numel() for p in pending])):
            p.grad.copy_(g.view_as(p))
        pending.clear()

    for p in parameters:
        if p.requires_grad:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
            pending.append(p)
            if sum(q.numel() for q in pending) >= bucket:
                flush()
    flush()
