"""Activation checkpointing: keep only what goes into each block of a tower, and run the block again in the backward pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from pairwright.train import draws


@contextlib.contextmanager
def recomputed(model: nn.Module, on: bool = True) -> Iterator[None]:
    """Inside, the repeated blocks of every tower are recomputed: about a third more time for a fraction of the memory, equal gradients."""
    found = blocks(model) if on else []
    if on and not found:
        raise ValueError("checkpoint_activations finds no repeated blocks in this model: leave it off, and set `micro` instead")
    for block in found:
        block.forward = _again(block)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for block in found:
            del block.forward


def blocks(module: nn.Module) -> list[nn.Module]:
    """The modules that a network repeats: two or more of one class, with parts of their own, in one list; of nested lists the innermost."""
    if inner := [b for child in module.children() for b in blocks(child)]:
        return inner
    parts = list(module.children()) if isinstance(module, nn.ModuleList | nn.Sequential) else []
    alike = len(parts) > 1 and len({type(p) for p in parts}) == 1 and all(list(p.children()) for p in parts)
    return parts if alike else []


def _again(block: nn.Module) -> Any:
    forward = block.forward

    def run(*args: Any, **kwargs: Any) -> Any:
        if not block.training:
            return forward(*args, **kwargs)
        contexts = lambda: (contextlib.nullcontext(), _repeat(block, draws.current()))
        return checkpoint(forward, *args, use_reentrant=False, context_fn=contexts, **kwargs)

    return run


@contextlib.contextmanager
def _repeat(block: nn.Module, drawn: contextlib.AbstractContextManager[Any]) -> Iterator[None]:
    with draws.still(block), drawn:
        yield
