"""A retrieved support set against a loop over classes."""

from __future__ import annotations

import pytest
import torch

from pairwright.core.features import ClassText, EncoderMismatch, Features
from pairwright.core.numerics import generator, unit
from pairwright.search.support import PoolPictures

NAMES = ["cat", "dog", "cow"]
POOL = Features(unit(torch.randn(40, 8, generator=generator("support"))), ids=[f"p{i}" for i in range(40)], encoder="e")
W = unit(torch.randn(3, 8, generator=generator("support text")))


def text(names):
    return ClassText(W[: len(names)], tuple(names), encoder="e")


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("n", [1, 4, 100])
def test_the_nearest_of_each_class(once, n):
    found = PoolPictures(POOL, text, once)(NAMES, n)
    expected = []
    for c in range(3):
        score = [float(POOL.z[i] @ W[c]) for i in range(40)]
        mine = [i for i in range(40) if not once or max(range(3), key=lambda k: float(POOL.z[i] @ W[k])) == c]
        expected += [(f"p{i}", c) for i in sorted(mine, key=lambda i: -score[i])[:n]]
    assert list(zip(found.ids, found.y.tolist())) == expected
    assert found.classes == tuple(NAMES)
    assert found.split == "support"
    assert torch.equal(found.z, POOL.z[[int(i[1:]) for i in found.ids]])
    assert POOL.y is None


def test_bad_input_is_refused_with_the_fix():
    with pytest.raises(ValueError, match="at least one picture"):
        PoolPictures(POOL, text)(NAMES, 0)
    with pytest.raises(ValueError, match="embed some first"):
        PoolPictures(POOL.rows([]), text)(NAMES, 2)
    with pytest.raises(EncoderMismatch):
        PoolPictures(POOL, lambda names: ClassText(W, names, encoder="other"))(NAMES, 2)
