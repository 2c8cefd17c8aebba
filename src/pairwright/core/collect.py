"""Gradients taken while the value is computed: a sum over blocks whose graphs live for one block each, so nothing is kept or recomputed.

A scalar that ends a step gets a scalar gradient back. The gradient of each block with respect to the embeddings and parameters can
therefore be taken at once and added up; the backward pass only multiplies. This saves the second product of a recomputing checkpoint, and
memory is that of one block plus the gradients themselves, which the step needs anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pairwright.core.encoded import Encoded
from pairwright.core.numerics import full


class Side:
    """One view, handed out in pieces of rows that are leaves of their own; gradients are added at the rows that a piece came from."""

    def __init__(self, e: Encoded) -> None:
        self.e = e
        self.sources = tensors(e)
        self.grads: list[Tensor | None] = [None] * len(self.sources)

    def __len__(self) -> int:
        return len(self.e)

    def start(self) -> list[Tensor]:
        """Zeros for the gradients of all that has one, for other ranks to add to."""
        self.grads = [torch.zeros_like(full(t), requires_grad=False) if t.requires_grad else None for t in self.sources]
        return [g for g in self.grads if g is not None]

    def elsewhere(self, sources: Sequence[Tensor], grads: Sequence[Tensor]) -> Side:
        """Another rank's rows of the same view, with gradients that are sent back to it (none: no gradient is wanted)."""
        left, sums = iter(sources), iter(grads)
        there = Side(self.e.map(lambda t: next(left).detach().requires_grad_(t.requires_grad and bool(grads))))
        there.grads = [next(sums) if t.requires_grad else None for t in there.sources]
        return there

    def piece(self, rows: slice) -> Encoded:
        return self.e.rows(rows).map(lambda t: t.detach().requires_grad_(t.requires_grad))

    def add(self, at: int, rows: slice, grad: Tensor) -> None:
        sink = self.grads[at]
        if sink is None:
            sink = self.grads[at] = torch.zeros_like(full(self.sources[at]), requires_grad=False)
        sink[rows] += grad


class Collector:
    """Adds up values and gradients of blocks; `result` is the sum as one differentiable scalar.

    Used under grad mode: parameters that a block reaches (scale, bias, those of the similarity or of the loss) are found in its graph.
    """

    def __init__(self) -> None:
        self.value: Tensor | None = None
        self.parameters: dict[int, tuple[Tensor, Tensor]] = {}
        self.sides: list[Side] = []

    def side(self, e: Encoded) -> Side:
        self.sides.append(Side(e))
        return self.sides[-1]

    def add(self, value: Tensor) -> None:
        self.value = value.detach() if self.value is None else self.value + value.detach()

    def pull(self, output: Tensor, grad: Tensor | None, pieces: Sequence[tuple[Side, slice, Encoded]]) -> None:
        """Add d(sum(grad * output)) to the sides, at the rows of their pieces, and to the parameters."""
        if not output.requires_grad:
            return
        places = [(s, at, rows, t) for s, rows, e in pieces for at, t in enumerate(tensors(e)) if t.requires_grad]
        mine = {id(t) for *_, t in places}
        others = [t for t in _leaves(output) if id(t) not in mine]
        wanted = [*(t for *_, t in places), *others]
        grad = None if grad is None else grad.to(output.dtype)
        # what parameters went through before the block (scale = exp(log scale)) is shared by all blocks and must outlive this one
        found = torch.autograd.grad(output, wanted, grad, retain_graph=True, allow_unused=True)
        for (side, at, rows, _), g in zip(places, found):
            if g is not None:
                side.add(at, rows, g)
        for t, g in zip(others, found[len(places) :]):
            if g is not None:
                before = self.parameters.get(id(t))
                self.parameters[id(t)] = (t, g if before is None else before[1] + g)

    def result(self) -> Tensor:
        assert self.value is not None
        known = [(t, g) for s in self.sides for t, g in zip(s.sources, s.grads) if g is not None] + list(self.parameters.values())
        if not known:
            return self.value
        return _Known.apply(self.value, tuple(g.to(t.dtype) for t, g in known), *(t for t, _ in known))


class _Known(torch.autograd.Function):
    """A scalar whose gradients are known already."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, grads: tuple[Tensor, ...], *sources: Tensor) -> Tensor:
        ctx.save_for_backward(*grads)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        if grad == 1:  # as a rule: then the large ones need no second copy
            return None, None, *ctx.saved_tensors
        return None, None, *(grad.to(t.dtype) * t for t in ctx.saved_tensors)


def transient() -> AbstractContextManager[Any]:
    """Inside, what a graph saves stays as it is: hooks that move saved tensors elsewhere are for graphs that wait for a backward pass."""
    return torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t)


def tensors(e: Encoded) -> list[Tensor]:
    """All tensors of an encoding, in the order in which `Encoded.map` meets them."""
    found: list[Tensor] = []

    def note(t: Tensor) -> Tensor:
        found.append(t)
        return t

    e.map(note)
    return found


def _leaves(output: Tensor) -> list[Tensor]:
    """The leaf tensors that a graph ends in."""
    found: dict[int, Tensor] = {}
    seen: set[Any] = set()
    todo: list[Any] = [output.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            found[id(leaf)] = leaf
        todo.extend(n for n, _ in node.next_functions)
    return list(found.values())
