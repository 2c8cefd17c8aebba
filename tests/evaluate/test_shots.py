"""Which rows a few-shot learner sees: counts, nesting, independence of order, and halves that share no group."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pairwright.evaluate.shots import halves, k_shot

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 7, 300).tolist()
IDS = [f"row{i}" for i in range(300)]


@pytest.mark.parametrize("k", [1, 4, 16, 1000])
def test_k_of_each_class_or_all_it_has(k):
    size = Counter(Y)
    assert Counter(Y[i] for i in k_shot(Y, IDS, k, 0)) == {c: min(k, n) for c, n in size.items()}


def test_fewer_shots_are_part_of_more_and_seeds_differ():
    one, four = set(k_shot(Y, IDS, 1, 5)), set(k_shot(Y, IDS, 4, 5))
    assert one < four
    assert four != set(k_shot(Y, IDS, 4, 6))


def test_the_choice_is_by_id_whatever_the_order_and_the_other_classes():
    perm = RNG.permutation(300)
    chosen = {IDS[i] for i in k_shot(Y, IDS, 3, 1)}
    assert {IDS[perm[i]] for i in k_shot([Y[i] for i in perm], [IDS[i] for i in perm], 3, 1)} == chosen
    only = [i for i in range(300) if Y[i] == 2]
    assert {IDS[only[i]] for i in k_shot([2] * len(only), [IDS[i] for i in only], 3, 1)} == {i for i in chosen if Y[IDS.index(i)] == 2}


def test_each_row_is_drawn_equally_often_over_seeds():
    drawn = Counter(i for seed in range(3000) for i in k_shot([0] * 10, IDS[:10], 2, seed))
    chi2 = sum((drawn[i] - 600) ** 2 / 600 for i in range(10))
    assert chi2 < 27.9  # 99.9% point of chi squared with 9 degrees of freedom


def test_no_shots_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        k_shot(Y, IDS, 0, 0)


def test_halves_share_no_group_and_balance_every_class():
    groups = [f"g{i // 2}" for i in range(300)]
    label = [RNG.integers(0, 5) for _ in range(150)]
    y = [int(label[i // 2]) for i in range(300)]
    learn = halves(y, groups)
    sides = {g: {bool(s) for s, gg in zip(learn, groups) if gg == g} for g in set(groups)}
    assert all(len(s) == 1 for s in sides.values())
    for c in range(5):
        mine = {g for g, yy in zip(groups, y) if yy == c}
        n_learn = sum(sides[g] == {True} for g in mine)
        assert n_learn == (len(mine) + 1) // 2
    perm = RNG.permutation(300)
    assert np.array_equal(halves([y[i] for i in perm], [groups[i] for i in perm]), learn[perm])
