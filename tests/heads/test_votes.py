"""Votes of a cache against a loop, in one block and in several."""

from __future__ import annotations

import math

import pytest
import torch

from pairwright.core.numerics import generator, unit
from pairwright.heads.cache import votes as module
from pairwright.heads.cache.votes import votes

rows = lambda key, n: unit(torch.randn(n, 6, generator=generator("votes", key)))
Z, KEYS, LABELS = rows("z", 5), rows("k", 7), torch.tensor([0, 2, 2, 0, 1, 0, 2])
WEIGHT = torch.rand(7, generator=generator("votes", "w"))


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("block", [1, 14, 2**24])
def test_votes_are_a_sum_over_the_keys_of_each_class(weight, block, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", block)
    expected = [[0.0] * 4 for _ in Z]
    for n, z in enumerate(Z):
        for k, key in enumerate(KEYS):
            share = 1.0 if weight is None else float(weight[k])
            expected[n][int(LABELS[k])] += share * math.exp(-5.5 * (1 - float(z @ key)))
    torch.testing.assert_close(votes(Z, KEYS, LABELS, 4, 5.5, weight), torch.tensor(expected))


def test_beta_zero_counts_the_keys_of_each_class():
    assert votes(Z, KEYS, LABELS, 4, 0.0).tolist() == [[3, 1, 3, 0]] * 5
