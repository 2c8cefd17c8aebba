"""Dropout, patch dropout and stochastic depth that belong to a row, whatever the micro-batch, the rank or the pass.

Noise whose first dimension goes with the rows is a hash of (the call, the row's place in the global batch, the place within the row). The
call is named by a draw from torch's generator, so that a pass repeats another one if both start from the same seed. Noise of other shapes
comes from that generator directly: it is repeated too, but belongs to the micro-batch.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_now: list[RowDraws] = []


class RowDraws(TorchDispatchMode):
    """Inside, operators that draw noise draw it row by row. first: place of the first row in the global batch; rows: how many there are."""

    def __init__(self, first: int, rows: int) -> None:
        super().__init__()
        self.first, self.rows = first, rows

    def __enter__(self) -> RowDraws:
        _now.append(self)
        return super().__enter__()

    def __exit__(self, *why: Any) -> None:
        _now.pop()
        super().__exit__(*why)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        rule = RULES.get(func)
        found = rule(self, *args, **kwargs) if rule is not None else None
        return func(*args, **kwargs) if found is None else found

    def uniform(self, shape: Any, device: Any) -> Tensor | None:
        """float32 in [0, 1); None where the first dimension does not go with the rows."""
        if not len(shape) or not shape[0] or shape[0] % self.rows:
            return None
        call = int(torch.randint(2**31, ()))
        place = torch.arange(self.first, self.first + self.rows, device=device) * 0x9E3779B1 + call
        own = _mix(place.to(torch.int32) ^ (place >> 32).to(torch.int32))
        inner = torch.arange(math.prod(shape) // self.rows, device=device, dtype=torch.int32) * -1640531535
        x = _mix(own[:, None] + inner)
        return x.bitwise_right_shift_(8).bitwise_and_(0xFFFFFF).float().mul_(2.0**-24).view(tuple(shape))


def current() -> contextlib.AbstractContextManager[Any]:
    """A context that draws as the one that is open now; for a pass that is repeated later."""
    return RowDraws(_now[-1].first, _now[-1].rows) if _now else contextlib.nullcontext()


@contextlib.contextmanager
def still(*modules: nn.Module) -> Iterator[None]:
    """Buffers are afterwards what they were before: a repeated pass must not count twice in the statistics of batch norm."""
    kept = [(b, b.detach().clone()) for m in modules for b in m.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, old in kept:
                buffer.copy_(old)


@torch.no_grad()
def are_drawn(module: nn.Module, run: Callable[[], Any]) -> bool:
    """Whether a pass through `module` takes anything from a generator (of the processor or of a graphics card)."""
    before = _generators()
    with still(module):
        run()
    return any(not torch.equal(a, b) for a, b in zip(before, _generators()))


def _generators() -> list[Tensor]:
    return [torch.get_rng_state(), *((torch.cuda.get_rng_state(),) if torch.cuda.is_initialized() else ())]


def _mix(x: Tensor) -> Tensor:
    """A bijection of int32 that spreads every bit over all, in place (products wrap around)."""
    for shift, factor in ((16, 0x7FEB352D), (15, -0x7B935975)):
        x ^= (x >> shift) & ((1 << (32 - shift)) - 1)
        x *= factor
    x ^= (x >> 16) & 0xFFFF
    return x


def _fill(self: RowDraws, x: Tensor, law: Callable[[Tensor], Tensor]) -> Tensor | None:
    u = self.uniform(x.shape, x.device)
    return None if u is None else x.copy_(law(u))


def _normal(u: Tensor) -> Tensor:
    return torch.special.ndtri(u + 2.0**-25)


def _make(law: Callable[[Tensor], Tensor]) -> Callable[..., Tensor | None]:
    def make(self: RowDraws, size: Any, dtype: Any = None, layout: Any = None, device: Any = None, **_: Any) -> Tensor | None:
        u = self.uniform(size, device)
        return None if u is None else law(u).to(dtype or torch.get_default_dtype())

    return make


def _like(law: Callable[[Tensor], Tensor]) -> Callable[..., Tensor | None]:
    def like(self: RowDraws, x: Tensor, dtype: Any = None, device: Any = None, **_: Any) -> Tensor | None:
        u = self.uniform(x.shape, device or x.device)
        return None if u is None else law(u).to(dtype or x.dtype)

    return like


def _bernoulli(self: RowDraws, p: Tensor, generator: Any = None) -> Tensor | None:
    u = self.uniform(p.shape, p.device)
    return None if u is None else (u < p).to(p.dtype)


def _dropout(self: RowDraws, x: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor] | None:
    if train is False or p == 0:
        return None
    u = self.uniform(x.shape, x.device)
    if u is None:
        return None
    keep = u >= p
    return x * keep * (1 / (1 - p) if p < 1 else 0.0), keep


_aten = torch.ops.aten
_same: Callable[[Tensor], Tensor] = lambda u: u
RULES: dict[Any, Callable[..., Any]] = {
    _aten.bernoulli_.float: lambda self, x, p=0.5, generator=None: _fill(self, x, lambda u: u < p),
    _aten.bernoulli_.Tensor: lambda self, x, p, generator=None: _fill(self, x, lambda u: u < p),
    _aten.bernoulli.default: _bernoulli,
    _aten.bernoulli.p: lambda self, x, p, generator=None: _like(lambda u: u < p)(self, x),
    _aten.uniform_.default: lambda self, x, low=0.0, high=1.0, generator=None: _fill(self, x, lambda u: low + (high - low) * u),
    _aten.normal_.default: lambda self, x, mean=0.0, std=1.0, generator=None: _fill(self, x, lambda u: mean + std * _normal(u)),
    _aten.rand.default: _make(_same),
    _aten.randn.default: _make(_normal),
    _aten.rand_like.default: _like(_same),
    _aten.randn_like.default: _like(_normal),
    _aten.native_dropout.default: _dropout,
}
"""Operators that draw, and how they draw by row."""
