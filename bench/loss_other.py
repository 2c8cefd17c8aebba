"""Seconds of the row-separable losses that have no closed form per tile: in blocks of rows, against the same loss on the whole matrix."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from bench.harness import Case, Entry, timed
from bench.losses import D, features, same
from pairwright.core import index
from pairwright.core.encoded import Encoded, Views
from pairwright.core.rows import row_loss

B = 8192


class Rows:
    """A loss with its closed form hidden."""

    def __init__(self, loss: Any) -> None:
        self.needs, self.directions, self.rows = loss.needs, loss.directions, loss.rows


def losses() -> Iterator[tuple[str, Any]]:
    for e in index.entries("losses"):
        cls = e.load()
        if hasattr(cls, "rows"):
            widths = [p.name for p in inspect.signature(cls).parameters.values() if p.default is p.empty and p.name.endswith("width")]
            yield e.id, Rows(cls(**dict.fromkeys(widths, D)))


def step(loss: Any, first: Tensor, second: Tensor, chunk: int | None) -> Callable[[], dict[str, Any]]:
    a, b = first.clone().requires_grad_(), second.clone().requires_grad_()
    scale = torch.tensor(20.0, requires_grad=True)
    views = Views(dict(zip(loss.needs, (Encoded(a), Encoded(b)))), sample_B=torch.arange(B))

    def run() -> dict[str, Any]:
        a.grad = b.grad = scale.grad = None
        total = row_loss(loss, views, lambda q, k: scale * q.z_BD @ k.z_BD.T, chunk=chunk)
        total.backward()
        return {"loss": total.detach(), "image": a.grad, "text": b.grad, "scale": scale.grad}

    return run


def cases() -> Iterator[Case]:
    first, second = features(B)
    for name, loss in losses():
        short = name.rpartition("/")[2]
        yield Case(
            name=f"loss_other_{short}",
            title=f"{short}, B = 8,192, row by row, time",
            inputs=f"Forward and backward over {B} pairs of width {D}, fp32, without the closed form per tile that some losses have.",
            cost="seconds",
            ours=Entry("pairwright", "row_loss(loss, views, logits)", timed(step(loss, first, second, None))),
            peers=[Entry("the whole matrix", "row_loss(loss, views, logits, chunk=B)", timed(step(loss, first, second, B)))],
            agree=same,
            rounds=3,
            bar=round(1 / 1.2, 2),
            note="The same arithmetic as on the whole matrix, in blocks that stay in the cache; the gradient comes with the value.",
        )
