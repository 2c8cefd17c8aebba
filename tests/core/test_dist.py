"""Data is split without overlap or loss for any number of processes, and read on by another number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pairwright.data.loader import share
from pairwright.data.sampler.plain import Plain
from pairwright.data.sampler.weighted import Weighted
from pairwright.train import shard

sizes = st.integers(1, 90)
worlds = st.integers(1, 8)


def drawn(sampler, epoch: int, start: int, world: int) -> list[list[np.ndarray]]:
    """Per step the parts of all ranks."""
    each = [list(share(sampler.batches(epoch), start, r, world)) for r in range(world)]
    assert len({len(parts) for parts in each}) == 1
    assert all(len({position for position, _ in step}) == 1 for step in zip(*each))
    return [[rows for _, rows in step] for step in zip(*each)]


@settings(max_examples=150, deadline=None)
@given(n=sizes, batch=sizes, world=worlds, weighted=st.booleans(), epoch=st.integers(0, 3), drop=st.booleans())
def test_the_ranks_parts_in_order_are_the_global_batch(n, batch, world, weighted, epoch, drop):
    batch = min(n, batch)
    sampler = Weighted(np.ones(n), batch, rows_per_epoch=n) if weighted else Plain(n, batch, drop_last=drop)
    batches = sampler.batches(epoch)
    steps = drawn(sampler, epoch, 0, world)
    assert [np.concatenate(parts).tolist() for parts in steps] == [b.tolist() for b in batches]
    for parts in steps:
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    if not weighted and not drop:
        assert sorted(np.concatenate([p for parts in steps for p in parts]).tolist()) == list(range(n))


@settings(max_examples=100, deadline=None)
@given(n=sizes, batch=sizes, before=worlds, after=worlds, share_done=st.floats(0, 1))
def test_another_number_of_processes_goes_on_where_the_first_stopped(n, batch, before, after, share_done):
    sampler = Plain(n, min(n, batch), drop_last=False)
    steps = drawn(sampler, 0, 0, before)
    done = int(share_done * len(steps))
    position = sum(len(b) for b in sampler.batches(0)[:done])
    seen = [row for parts in steps[:done] for part in parts for row in part.tolist()]
    rest = [row for parts in drawn(sampler, 0, position, after) for part in parts for row in part.tolist()]
    assert seen + rest == np.concatenate(sampler.batches(0)).tolist()


@given(n=st.integers(0, 200), world=worlds)
def test_rows_of_a_sharded_tensor_are_split_as_torch_splits_them(n, world):
    parts = [shard.rows(n, r, world) for r in range(world)]
    assert [i for p in parts for i in range(n)[p]] == list(range(n))
    expected = [len(c) for c in torch.arange(n).chunk(world)] if n else [0]
    assert [p.stop - p.start for p in parts] == expected + [0] * (world - len(expected))


def test_sharding_needs_processes():
    with pytest.raises(ValueError, match="torchrun"):
        shard.shard(torch.nn.Module())
