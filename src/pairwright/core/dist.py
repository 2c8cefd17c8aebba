"""The only collectives in the project. Every function is the identity in a single process."""

from __future__ import annotations

import os
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
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    td.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
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


def same_on_all(value: Any) -> Any:
    """Rank 0's (small, JSON-like) value on every rank."""
    if not is_on() or world() == 1:
        return value
    import json

    raw = json.dumps(value).encode() if rank() == 0 else b""
    size = torch.tensor([len(raw)])
    td.broadcast(size, 0)
    buf = torch.frombuffer(bytearray(raw), dtype=torch.uint8).clone() if rank() == 0 else torch.empty(int(size), dtype=torch.uint8)
    td.broadcast(buf, 0)
    return json.loads(bytes(buf.tolist()))
