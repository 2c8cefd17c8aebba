"""The only collectives in the project. Every function is the identity in a single process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as td
from torch import Tensor


def is_on() -> bool:
    return td.is_available() and td.is_initialized()


def rank() -> int:
    return td.get_rank() if is_on() else 0


def world() -> int:
    return td.get_world_size() if is_on() else 1


def start() -> bool:
    """Join the process group that torchrun describes (NCCL on CUDA, gloo on CPU). Returns whether there is one."""
    if is_on():
        return True
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return False
    if torch.cuda.is_available():
        card = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(card)
        td.init_process_group("nccl", device_id=card)
    else:
        td.init_process_group("gloo")
    return True


def stop() -> None:
    if is_on():
        td.destroy_process_group()


def barrier() -> None:
    if is_on():
        td.barrier()


class _GatherRows(torch.autograd.Function):
    """All ranks' rows, in rank order; the backward pass sums every rank's gradient for the rows that are mine."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(world())]
        td.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous()
        td.all_reduce(grad)
        n = grad.shape[0] // world()
        return grad[rank() * n : (rank() + 1) * n]


def gather_rows(x: Tensor) -> Tensor:
    """(b, …) on each rank -> (B, …) on all, differentiable. All ranks must bring the same number of rows."""
    if not is_on() or world() == 1:
        return x
    if x.dtype == torch.bool:
        return gather_rows(x.to(torch.uint8)).bool()
    return _GatherRows.apply(x)


def sum_over_ranks(x: Tensor) -> Tensor:
    """Sum without gradient (for logging and for gradients themselves)."""
    if is_on() and world() > 1:
        x = x.detach().clone()
        td.all_reduce(x)
    return x


def max_over_ranks(x: Tensor) -> Tensor:
    """Largest value over ranks, without gradient."""
    if is_on() and world() > 1:
        x = x.detach().clone()
        td.all_reduce(x, td.ReduceOp.MAX)
    return x


def logsumexp_over_ranks(x: Tensor) -> Tensor:
    """log of the sum over ranks of exp(x), without gradient."""
    if not is_on() or world() == 1:
        return x
    top = max_over_ranks(x)
    return sum_over_ranks((x - top).exp_()).log_() + top


def ring(still: Sequence[Tensor], carried: Sequence[Tensor] = ()) -> Iterator[tuple[int, list[Tensor], list[Tensor]]]:
    """Every rank's tensors in turn, own ones first, one rank's at a time: yields (owner, still, carried) `world()` times.

    The two lists go together from rank to rank. still: the same for all who see them. carried: for the visited ranks to add to, in place;
    at the end `carried` holds what they all added. Shapes and dtypes must be the same on all ranks. In memory is one rank's share, and a
    second one while they are passed on.
    """
    n, me = world(), rank()
    here, home = [t.detach() for t in still], list(carried)
    with_them = home
    for hop in range(n):
        yield (me - hop) % n, here, with_them
        if n > 1:
            # nobody looks at the first list again after the last turn
            moved = _pass_on([*(here if hop < n - 1 else ()), *with_them])
            here, with_them = moved[: len(moved) - len(home)], moved[len(moved) - len(home) :]
    if n > 1:
        for mine, back in zip(home, with_them, strict=True):
            mine.copy_(back)


def _pass_on(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Send to the next rank, receive from the one before."""
    if not tensors:
        return []
    new = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in tensors]
    plain = lambda t: t.view(torch.uint8) if t.dtype == torch.bool else t
    after, before = (rank() + 1) % world(), (rank() - 1) % world()
    jobs = [td.P2POp(td.isend, plain(t.contiguous()), after, tag=i) for i, t in enumerate(tensors)]
    jobs += [td.P2POp(td.irecv, plain(t), before, tag=i) for i, t in enumerate(new)]
    for job in td.batch_isend_irecv(jobs):
        job.wait()
    return new


def same_on_all(value: Any) -> Any:
    """Rank 0's (small, JSON-like) value on every rank."""
    if not is_on() or world() == 1:
        return value
    where = device()
    raw = json.dumps(value).encode() if rank() == 0 else b""
    size = torch.tensor([len(raw)], device=where)
    td.broadcast(size, 0)
    buf = torch.tensor(list(raw), dtype=torch.uint8, device=where) if raw else torch.empty(int(size), dtype=torch.uint8, device=where)
    td.broadcast(buf, 0)
    return json.loads(bytes(buf.tolist()))


def device() -> torch.device:
    """Where tensors have to be for the collectives of this group: NCCL moves memory of the graphics card only."""
    return torch.device("cuda", torch.cuda.current_device()) if is_on() and td.get_backend() == "nccl" else torch.device("cpu")
