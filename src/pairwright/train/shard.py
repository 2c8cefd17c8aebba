"""FSDP2: the towers' weights, gradients and optimizer state split over the ranks, each of which holds a run of rows of every tensor."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from pairwright.core import dist
from pairwright.models.dual import DualEncoder
from pairwright.train.recompute import blocks


def shard(model: DualEncoder) -> DualEncoder:
    """A copy of `model` with sharded towers, for training; what is small (scale, bias, similarity) stays whole on every rank.

    Gradients arrive averaged over ranks. Weights of frozen layers are sharded too: say what is trainable before.
    """
    if dist.world() == 1:
        raise ValueError(
            "shard=True needs several processes: start with `torchrun --nproc-per-node N -m pairwright train …`, or leave it off"
        )
    twin = copy.deepcopy(model)
    mesh = init_device_mesh(model.device.type, (dist.world(),))
    for tower in twin.towers.values():
        for block in blocks(tower):
            fully_shard(block, mesh=mesh)
        fully_shard(tower, mesh=mesh)
    return twin


def is_sharded(t: Tensor) -> bool:
    return isinstance(t, DTensor)


def local(t: Tensor) -> Tensor:
    """This rank's rows of a sharded tensor (the same memory); any other tensor as it is."""
    return t.to_local() if isinstance(t, DTensor) else t


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All rows of every tensor, on every rank (a collective)."""
    return {name: t.full_tensor() if isinstance(t, DTensor) else t for name, t in tensors.items()}


def rows(n: int, rank: int, world: int) -> slice:
    """Which of `n` rows a rank holds: equal parts rounded up, the last ones may be short or empty."""
    size = -(-n // world)
    return slice(min(rank * size, n), min((rank + 1) * size, n))


@torch.no_grad()
def fill(t: Tensor, value: Tensor) -> None:
    """Copy a whole tensor into `t`, or this rank's rows of it where `t` is sharded."""
    if isinstance(t, DTensor):
        value = value[rows(len(value), dist.rank(), dist.world())]
        assert value.shape == t.to_local().shape, f"rows are split in another way than expected: {value.shape}, {t.to_local().shape}"
    local(t).copy_(value)
