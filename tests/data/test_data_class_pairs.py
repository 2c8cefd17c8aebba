"""Pairs of the same and of two classes: balanced, complete after k - 1 epochs, even over other classes, refused where there are none."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairwright.core.contracts import Sampler
from pairwright.data.sampler.class_pairs import ClassPairs

FEW = settings(max_examples=50, deadline=None, derandomize=True)
labels = st.lists(st.sampled_from("abcde"), min_size=3, max_size=40).filter(lambda y: len(set(y)) > 1 and len(set(y)) < len(y))


@FEW
@given(labels, st.sampled_from([4, 8, 20]), st.integers(0, 9))
def test_pairs_of_one_class_and_of_two_take_turns(y, batch, epoch):
    sampler = ClassPairs(np.array(y), batch, drop_last=False)
    rows = np.concatenate(sampler.batches(epoch)).reshape(-1, 2).tolist()
    same, different = rows[::2], rows[1::2]
    assert len(same) == len(different)
    assert all(y[a] == y[b] and a != b for a, b in same)
    assert all(y[a] != y[b] for a, b in different)
    together = [i for i in range(len(y)) if y.count(y[i]) > 1]
    assert sorted(a for a, _ in same) == sorted(b for _, b in same) == together
    assert max(Counter(a for a, _ in different).values()) == 1
    assert all(len(b) == batch for b in sampler.batches(epoch)[:-1])


@FEW
@given(labels)
def test_a_class_of_k_rows_shows_each_of_its_pairs_once_in_k_less_1_epochs(y):
    sampler = ClassPairs(np.array(y), 4)
    for label in set(y):
        mine = [i for i in range(len(y)) if y[i] == label]
        seen = Counter(tuple(p) for e in range(len(mine) - 1) for p in sampler.pairs(e)[0].tolist() if p[0] in mine)
        assert seen == {(a, b): 1 for a in mine for b in mine if a != b}


def test_rows_of_other_classes_are_drawn_evenly():
    y = np.array([0, 1, 1, 2, 2, 2, 0])
    sampler = ClassPairs(y, 4, seed=3)
    seen = Counter(int(b) for e in range(3000) for a, b in sampler.pairs(e)[1] if a == 2)
    assert set(seen) == {0, 3, 4, 5, 6}
    assert max(abs(n - 600) for n in seen.values()) < 5 * 22  # the deviation of a count is 22


def test_the_order_is_fixed_by_seed_and_epoch():
    y = np.arange(40) % 5
    rows = lambda seed, epoch: np.concatenate(ClassPairs(y, 8, seed=seed).batches(epoch)).tolist()
    assert rows(1, 2) == rows(1, 2)
    assert rows(1, 2) != rows(2, 2)
    assert rows(1, 2) != rows(1, 3)
    sampler = ClassPairs(y, 16)
    assert isinstance(sampler, Sampler)
    assert [len(b) for b in sampler.batches(0)] == [16] * 10
    assert sampler.spec() != ClassPairs(y[::-1], 16).spec()


def test_what_cannot_be_paired_is_refused():
    with pytest.raises(ValueError, match="multiple of 4"):
        ClassPairs(np.array([0, 0, 1]), 6)
    with pytest.raises(ValueError, match="got 1 classes with at most 3"):
        ClassPairs(np.zeros(3), 4)
    with pytest.raises(ValueError, match="got 3 classes with at most 1"):
        ClassPairs(np.arange(3), 4)
    with pytest.raises(ValueError, match="no full batch"):
        ClassPairs(np.array([0, 0, 1]), 12)
