"""A script for tests that need several processes: every row-separable loss on some numbers of ranks, gathered and by ring, into files.

`python ranks.py OUT 1 2` imports torch once and forks the ranks from itself.
"""

from __future__ import annotations

import inspect
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as td
from torch import Tensor

from pairwright.core import rows, tiles
from pairwright.core.encoded import Encoded, Views
from pairwright.core.index import entries
from pairwright.core.numerics import unit
from pairwright.core.rows import row_loss

B, D = 12, 5
GROUPS = torch.tensor([0, 1, 2, 0, 3, 4, 4, 4, 5, 6, 7, 1])
HERE = {"image": torch.arange(B) % 7 != 2, "text": torch.arange(B) % 5 != 3}
CASES = ("diagonal", "groups", "missing")
DTYPES = (torch.float64, torch.float32)
WAYS = tuple(itertools.product(("gather", "ring"), (2, None)))
"""How columns are met, and rows in a block: 2, or as the engine chooses where it thinks every batch is large (tiles where there are)."""


def losses() -> Iterator[tuple[str, Any]]:
    for e in entries("losses"):
        cls = e.load()
        if hasattr(cls, "rows"):
            widths = [p.name for p in inspect.signature(cls).parameters.values() if p.default is p.empty and p.name.endswith("width")]
            torch.manual_seed(0)
            yield e.id, cls(**dict.fromkeys(widths, D))


def step(loss: Any, rank: int, world: int, case: str, dtype: torch.dtype, across: Any, chunk: int | None) -> dict[str, Tensor]:
    """This rank's share of the value and of all gradients."""
    loss = loss.to(dtype) if isinstance(loss, torch.nn.Module) else loss
    g = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)
    raw = {n: draw(B, D) for n in loss.needs}
    maps = {n: draw(D, D).requires_grad_() for n in loss.needs}
    bend, scale, bias = draw(D).requires_grad_(), torch.tensor(3.0, dtype=dtype).log().requires_grad_(), draw(()).requires_grad_()
    mine = slice(rank * B // world, (rank + 1) * B // world)
    logits = lambda q, k: scale.exp() * (q.z_BD * bend) @ k.z_BD.T + bias
    views = Views(
        {n: Encoded(unit(x[mine] @ maps[n])) for n, x in raw.items()},
        group_B=None if case == "diagonal" else GROUPS[mine],
        sample_B=torch.arange(B)[mine],
        present={n: m[mine] for n, m in HERE.items() if n in loss.needs} if case == "missing" else None,
    )
    total = row_loss(loss, views, logits, chunk=chunk, symmetric=True, across=across)
    named = {**maps, "bend": bend, "scale": scale, "bias": bias}
    if isinstance(loss, torch.nn.Module):
        named |= {n: p for n, p in loss.named_parameters() if p.requires_grad}
    grads = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    return {"value": total.detach(), **{n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(named.items(), grads)}}


def everything(rank: int, world: int) -> dict[str, Any]:
    """Averaged over ranks, by "loss | case | dtype | across | chunk"; the text of the error where a loss cannot go that way."""
    found: dict[str, Any] = {}
    ways = WAYS if world > 1 else (("gather", B), *WAYS)
    for (name, loss), case, dtype, (across, chunk) in itertools.product(losses(), CASES, DTYPES, ways):
        try:
            part = step(loss, rank, world, case, dtype, across, chunk)
        except ValueError as e:
            part = str(e)  # type: ignore[assignment]
        if world > 1 and not isinstance(part, str):
            for t in part.values():
                td.all_reduce(t)
                t /= world
        found[" | ".join(map(str, (name, case, dtype, across, chunk)))] = part
    return found


def ranks(out: Path, world: int) -> list[int]:
    """Exit codes of `world` processes; the first of them writes what they found."""
    children = []
    for rank in range(world):
        if (pid := os.fork()) == 0:
            td.init_process_group("gloo", init_method=f"file://{out}.store{world}", rank=rank, world_size=world)
            found = everything(rank, world)
            if rank == 0:
                torch.save(found, f"{out}.{world}")
            td.destroy_process_group()
            os._exit(0)
        children.append(pid)
    return [os.waitpid(pid, 0)[1] for pid in children]


def main(out: Path, worlds: list[int]) -> None:
    torch.set_num_threads(1)
    rows.BLOCK, tiles.SIDES["cpu"] = 1, (2, 3)
    for world in worlds:
        if world == 1:
            torch.save(everything(0, 1), f"{out}.1")
        elif any(codes := ranks(out, world)):
            sys.exit(f"ranks ended with {codes}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(w) for w in sys.argv[2:]])
