"""The stack of blocks: prompts, taps, token mixing and attention rewrites as arguments of the call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pairwright.models.towers.block import AttendFn, Between, Block, Only, Rewrite
from pairwright.models.towers.reduce import Reduction

MixFn = Callable[[Tensor, int], "Tensor | tuple[Tensor, Tensor]"]


@dataclass
class State:
    """What a forward pass through the stack leaves behind: the tokens, the taps, and where the surviving tokens came from."""

    x_BLE: Tensor
    taps: dict[str, Tensor] = field(default_factory=dict)
    kept_BL: Tensor | None = None
    """Index of each remaining token in the sequence that went in; None while nothing was dropped or merged."""
    size_BL: Tensor | None = None
    """How many tokens of that sequence each remaining one stands for; None while nothing was merged."""
    alone: bool = False
    """Whether `x_BLE` is the one token that was asked for."""


INSIDE = frozenset({"attn", "q", "k", "v", "heads", "out", "mlp"})


def read_taps(taps: Sequence[str], layers: int) -> dict[int, list[tuple[str, str | None]]]:
    """``("3", "attn@-1")`` -> {3: [("3", None)], 11: [("attn@-1", "attn")]}. Errors name the taps that exist."""
    wanted: dict[int, list[tuple[str, str | None]]] = {}
    for name in taps:
        kind, at, number = name.rpartition("@")
        try:
            layer = int(number)
        except ValueError:
            layer = layers
        if not -layers <= layer < layers or (at and kind not in INSIDE):
            raise ValueError(
                f"unknown tap {name!r}: use a block number from 0 to {layers - 1} (negative from the end) for its output, or one of "
                f"{', '.join(sorted(INSIDE))} with a block number, as in 'attn@{layers - 1}'"
            )
        wanted.setdefault(layer % layers, []).append((name, kind or None))
    return wanted


class Transformer(nn.Module):
    """A stack of blocks with prompts, taps, token mixing and attention rewrites as arguments. See the towers for their meaning."""

    def __init__(self, width: int, layers: int, heads: int, **block: object) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, heads, **block) for _ in range(layers))  # type: ignore[arg-type]

    def forward(
        self,
        x_BLE: Tensor,
        *,
        causal: bool = False,
        mask_BL: Tensor | None = None,
        grid: tuple[int, int] | None = None,
        taps: Sequence[str] = (),
        put: Callable[[Tensor, int], Tensor] | None = None,
        extra: Callable[[int], Tensor | None] | None = None,
        mix: MixFn | None = None,
        attend: AttendFn | Rewrite | None = None,
        reduce: Reduction | None = None,
        prefix: int = 0,
        only: Only | None = None,
    ) -> State:
        """put(x, layer) may change tokens before a block; extra(layer) gives tokens (P, E) or (B, P, E) that ride behind the sequence
        from that block on, None to keep the riders of the block before. reduce: drops or merges tokens inside of blocks, never the
        first `prefix` ones. only: the one token of each row that will be read; where nothing else looks at the last block, that one
        computes no other (and reduces none), and the state holds it alone."""
        n = len(self.resblocks)
        if attend is not None and not isinstance(attend, Rewrite):
            attend = Rewrite(attend)
        rewritten = range(n) if attend is None or attend.layers is None else {i % n for i in attend.layers}
        wanted = read_taps(taps, n)
        if n - 1 in wanted or mix is not None or (attend is not None and n - 1 in rewritten):
            only = None
        state = State(x_BLE)
        riders = x_BLE[:, :0]
        for i, block in enumerate(self.resblocks):
            x = state.x_BLE if put is None else put(state.x_BLE, i)
            new = extra(i) if extra is not None else None
            if new is not None:
                riders = new.to(x.dtype).expand(x.shape[0], -1, -1) if new.dim() == 2 else new.to(x.dtype)
            L, P = x.shape[1], riders.shape[1]
            mask = mask_BL if mask_BL is None or not P else F.pad(mask_BL, (0, P), value=True)
            size = state.size_BL if state.size_BL is None or not P else F.pad(state.size_BL, (0, P), value=1)
            inside: dict[str, Tensor] = {}
            alone = only if i == n - 1 else None
            x = block(
                torch.cat([x, riders], 1) if P else x,
                layer=i,
                causal=causal,
                mask_BL=mask,
                rewrite=attend if attend is not None and i in rewritten else None,
                grid=grid if state.kept_BL is None else None,
                want=frozenset(kind for _, kind in wanted.get(i, ()) if kind),
                taps=inside,
                size_BL=size,
                between=None if reduce is None or alone is not None else _reducing(reduce, state, i, n, prefix, L),
                only=alone,
            )
            if alone is not None:
                state.x_BLE, state.alone = x, True
                break
            L = x.shape[1] - P
            state.taps.update({name: inside[kind] if kind else x for name, kind in wanted.get(i, ())})
            x, riders = x[:, :L], x[:, L:]
            if mix is not None:
                mixed = mix(x, i)
                x, keep = mixed if isinstance(mixed, tuple) else (mixed, None)
                if keep is None and x.shape[1] != L:
                    raise ValueError(
                        f"the mix hook changed {L} tokens into {x.shape[1]} after block {i}: return (tokens, kept ids) when it reduces"
                    )
                if keep is not None:
                    state.kept_BL = keep if state.kept_BL is None else state.kept_BL.gather(1, keep)
                    mask_BL = None if mask_BL is None else mask_BL.gather(1, keep)
            state.x_BLE = x
        return state


def _reducing(reduce: Reduction, state: State, layer: int, depth: int, prefix: int, L: int) -> Between:
    """The reduction as a step inside of block `layer`: it sees the sequence without its riders, and the state notes what it did."""

    def between(x: Tensor, k_BHLd: Tensor) -> Tensor:
        done = reduce(x[:, :L], k_BHLd[:, :, :L], size_BL=state.size_BL, layer=layer, depth=depth, prefix=prefix)
        if done is None:
            return x
        state.kept_BL = done.kept_BL if state.kept_BL is None else state.kept_BL.gather(1, done.kept_BL)
        state.size_BL = done.size_BL
        return torch.cat([done.x_BLE, x[:, L:]], 1) if x.shape[1] > L else done.x_BLE

    return between
