from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairwright.data.sampler.grouped import Grouped
from pairwright.data.sampler.no_duplicates import NoDuplicates, fill
from pairwright.data.sampler.plain import Plain
from pairwright.data.sampler.weighted import Weighted

FEW = settings(max_examples=50, deadline=None, derandomize=True)


@FEW
@given(st.integers(1, 200), st.integers(1, 40), st.integers(0, 5), st.integers(0, 3))
def test_plain_gives_every_row_once(n, batch, seed, epoch):
    batches = Plain(n, batch, seed=seed, drop_last=False).batches(epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(n))
    assert [len(b) for b in batches[:-1]] == [batch] * (len(batches) - 1)
    if batch <= n:
        full = Plain(n, batch, seed=seed).batches(epoch)
        assert [b.tolist() for b in full] == [b.tolist() for b in batches if len(b) == batch]


def test_plain_order_is_random_fixed_and_free_of_the_batch_size():
    order = lambda **k: np.concatenate(Plain(1000, k.pop("batch", 10), **k).batches(k.pop("epoch", 0))).tolist()
    assert order(seed=1) == order(seed=1) == order(seed=1, batch=250)
    assert order(seed=1) != order(seed=2)
    assert np.concatenate(Plain(1000, 10, seed=1).batches(1)).tolist() != order(seed=1)
    assert np.concatenate(Plain(20, 10, shuffle=False).batches(3)).tolist() == list(range(20))
    # frozen: a release that changes this order breaks every saved position
    assert Plain(10, 10, seed=0).batches(0)[0].tolist() == [5, 6, 4, 0, 7, 8, 9, 2, 3, 1]
    places = np.array([np.concatenate(Plain(50, 50, seed=s).batches(0)).argsort() for s in range(400)])
    assert np.abs(places.mean(0) - 24.5).max() < 4.5  # uniform: sd of the mean is 0.72


@FEW
@given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=3, unique=True), min_size=1, max_size=60), st.integers(1, 8))
def test_no_two_items_of_a_batch_share_a_key_and_none_is_lost(keys, per_batch):
    batches = fill(range(len(keys)), keys, per_batch)
    assert sorted(i for b in batches for i in b) == list(range(len(keys)))
    for batch in batches:
        assert len(batch) <= per_batch
        assert max(Counter(k for i in batch for k in keys[i]).values()) == 1
    # greedy: a batch that is not full could not take any later item
    for at, batch in enumerate(batches):
        if len(batch) < per_batch:
            seen = {k for i in batch for k in keys[i]}
            assert all(seen & set(keys[i]) for later in batches[at + 1 :] for i in later)


def test_without_duplicates_the_order_is_the_plain_one():
    assert fill(range(10), [[i] for i in range(10)], 4) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert fill([0, 1, 2, 3], [[7], [7], [8], [7]], 2) == [[0, 2], [1], [3]]


def test_no_duplicates_sampler():
    keys = [[i % 30] for i in range(90)]
    batches = NoDuplicates(keys, 15, seed=3).batches(0)
    assert len(batches) >= 5
    assert all(len({keys[i][0] for i in b}) == 15 for b in batches)
    assert NoDuplicates(keys, 15, seed=3).batches(1)[0].tolist() != batches[0].tolist()
    with pytest.raises(ValueError, match="too many duplicates"):
        NoDuplicates([[0]] * 50, 10).batches(0)


def test_no_duplicates_is_fast_where_duplicates_are_many():
    keys = [[i % 700, 1000 + i % 450] for i in range(20_000)]
    batches = NoDuplicates(keys, 256).batches(0)
    assert sum(map(len, batches)) > 19_000


@FEW
@given(st.lists(st.integers(0, 9), min_size=30, max_size=120), st.sampled_from([(4, 2), (6, 3), (8, 4), (3, 1)]), st.integers(0, 3))
def test_grouped(groups, shape, epoch):
    batch, k = shape
    sampler = Grouped(np.array(groups), batch, k, drop_last=False)
    batches = sampler.batches(epoch)
    rows = np.concatenate([*batches, np.empty(0, int)])
    assert len(set(rows.tolist())) == len(rows)
    sizes = Counter(groups)
    assert Counter(groups[i] for i in rows) == {g: n - n % k for g, n in sizes.items() if n >= k}
    assert sampler.unused == sum(n for n in sizes.values() if n < k)
    for b in batches:
        together = np.array(groups)[b].reshape(-1, k)
        assert (together == together[:, :1]).all()
        assert len(set(together[:, 0].tolist())) == len(together)


def test_grouped_leaves_out_other_rows_each_epoch():
    sampler = Grouped(np.zeros(5, int), 4, 4)
    assert len({tuple(sorted(sampler.batches(e)[0].tolist())) for e in range(40)}) == 5


@FEW
@given(st.lists(st.floats(0, 10), min_size=1, max_size=40).filter(lambda w: sum(w) > 0.1), st.integers(1, 300), st.integers(0, 20))
def test_weighted_counts_are_the_nearest_whole_numbers(weights, rows, epoch):
    batches = Weighted(np.array(weights), 1, rows_per_epoch=rows).batches(epoch)
    assert len(batches) == rows
    counts = np.bincount(np.concatenate(batches), minlength=len(weights))
    expected = rows * np.array(weights) / sum(weights)
    assert (np.abs(counts - expected) < 1 + 1e-6).all()
    assert (counts[np.array(weights) == 0] == 0).all()


def test_weighted_mean_over_epochs_is_exact():
    sampler = Weighted(np.array([0.3, 1.0, 2.7]), 1, rows_per_epoch=1, seed=5)
    counts = np.bincount([int(sampler.batches(e)[0][0]) for e in range(1500)], minlength=3) / 1500
    assert counts.tolist() == pytest.approx([0.075, 0.25, 0.675], abs=0.04)


def test_impossible_settings_are_told():
    with pytest.raises(ValueError, match="no full batch"):
        Plain(5, 10)
    with pytest.raises(ValueError, match="multiple of k"):
        Grouped(np.zeros(8), 6, 4)
    with pytest.raises(ValueError, match="only 1 groups"):
        Grouped(np.zeros(8), 6, 3)
    with pytest.raises(ValueError, match="finite"):
        Weighted(np.array([1.0, float("nan")]), 1)
    with pytest.raises(ValueError, match="at least one row"):
        Plain(0, 1)
