"""ToMe and PiToMe against slow loops over tokens, and by hand for six tokens."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pairwright.compress.tokens.merging import join
from pairwright.compress.tokens.pitome import PiToMe, energy
from pairwright.compress.tokens.random_drop import RandomDrop
from pairwright.compress.tokens.tome import ToMe
from pairwright.core.numerics import generator

RNG = generator("tokens")
K = torch.randn(2, 3, 13, 8, generator=RNG)
X = torch.randn(2, 13, 5, generator=RNG)


def unit_keys(k_HLd: torch.Tensor) -> np.ndarray:
    k = k_HLd.double().mean(0).numpy()
    return k / np.linalg.norm(k, axis=1, keepdims=True)


def merged(x: np.ndarray, size: np.ndarray, pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Weighted means one token at a time."""
    left = [i for i in range(len(x)) if i not in {a for a, _ in pairs}]
    rows, sizes = [], []
    for i in left:
        members = [i, *(a for a, b in pairs if b == i)]
        sizes.append(sum(size[m] for m in members))
        rows.append(sum(size[m] * x[m] for m in members) / sizes[-1])
    return np.array(rows), np.array(sizes), left


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("sized", [False, True])
def test_tome_is_the_loop(prefix, sized):
    size = torch.randint(1, 4, (2, 13), generator=RNG).float() if sized else None
    done = ToMe(4)(X, K, size_BL=size, layer=0, depth=3, prefix=prefix)
    for b in range(2):
        k = unit_keys(K[b])
        edges = []
        for a in range(0, 13, 2):
            if a >= prefix:
                best = max(range(1, 13, 2), key=lambda t: k[a] @ k[t])
                edges.append((k[a] @ k[best], a, best))
        pairs = [(a, t) for _, a, t in sorted(edges, reverse=True)[:4]]
        weight = np.ones(13) if size is None else size[b].double().numpy()
        rows, sizes, left = merged(X[b].double().numpy(), weight, pairs)
        assert done.kept_BL[b].tolist() == left
        np.testing.assert_allclose(done.x_BLE[b].numpy(), rows, atol=1e-5)
        np.testing.assert_allclose(done.size_BL[b].numpy(), sizes)


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("layer", [0, 2])
def test_pitome_is_the_loop(prefix, layer):
    done = PiToMe(3, None, alpha=0.7)(X, K, size_BL=None, layer=layer, depth=3, prefix=prefix)
    margin = 0.9 * (1 - layer / 3)
    for b in range(2):
        k = unit_keys(K[b])
        value = lambda c: c - margin if c >= margin else 0.7 * (math.exp(c - margin) - 1)
        patches = range(prefix, 13)
        E = {i: np.mean([value(k[i] @ k[j]) for j in patches]) for i in patches}
        order = sorted(patches, key=lambda i: -E[i])[:6]
        pairs = [(a, max(order[1::2], key=lambda t: k[a] @ k[t])) for a in order[::2]]
        rows, sizes, left = merged(X[b].double().numpy(), np.ones(13), pairs)
        assert done.kept_BL[b].tolist() == left
        np.testing.assert_allclose(done.x_BLE[b].numpy(), rows, atol=1e-5)
        np.testing.assert_allclose(done.size_BL[b].numpy(), sizes)


def test_six_tokens_by_hand():
    """Class token, then p q p q r: the two p merge, r and the class token are left alone."""
    p, q, r = torch.eye(3)
    keys = torch.stack([p, p, q, p, q, r])[None, None]
    x = torch.arange(6.0)[None, :, None]
    done = PiToMe(1, None)(x, keys, size_BL=None, layer=0, depth=1, prefix=1)
    assert done.kept_BL.tolist() in ([[0, 2, 3, 4, 5]], [[0, 1, 2, 4, 5]], [[0, 1, 3, 4, 5]], [[0, 1, 2, 3, 5]])
    assert done.size_BL.sum() == 6
    assert done.size_BL[0, 0] == done.size_BL[0, -1] == 1
    mean = (1 + 3) / 2 if 2 in done.x_BLE.flatten().tolist() else (2 + 4) / 2
    assert mean in done.x_BLE.flatten().tolist()


def test_weighted_sums_are_conserved_exactly():
    x = torch.randn(2, 9, 4, dtype=torch.float64, generator=RNG)
    size = torch.randint(1, 5, (2, 9), generator=RNG).double()
    gone = torch.tensor([[0, 2, 4], [1, 3, 8]])
    done = join(x, size, gone, torch.tensor([[1, 1, 5], [0, 0, 2]]))
    total = lambda v, s: (v * s.unsqueeze(-1)).sum(1)
    torch.testing.assert_close(total(done.x_BLE, done.size_BL), total(x, size), rtol=1e-14, atol=1e-14)
    assert torch.equal(done.size_BL.sum(1), size.sum(1))
    assert torch.equal(done.x_BLE[0, -1], x[0, 8])  # untouched tokens keep their bits


def test_energy_at_a_low_margin_is_linear_in_the_mean_cosine():
    c = torch.rand(1, 6, 6, generator=RNG) * 2 - 1
    torch.testing.assert_close(energy(c, -1.5), c.mean(-1) + 1.5)


def test_random_drop_is_seeded_and_spares_the_class_token():
    a, b, other = (RandomDrop(0.5, s)(X, K, size_BL=None, layer=0, depth=2, prefix=1) for s in (0, 0, 1))
    assert torch.equal(a.kept_BL, b.kept_BL)
    assert not torch.equal(a.kept_BL, other.kept_BL)
    assert (a.kept_BL[:, 0] == 0).all()
    assert a.kept_BL.shape == (2, 7)
    assert RandomDrop(0.5)(X, K, size_BL=None, layer=1, depth=2, prefix=1) is None


@pytest.mark.parametrize("bad", [{"r": 3, "share": 0.9}, {"r": None, "share": None}, {"r": -1, "share": None}, {"r": None, "share": 0.2}])
@pytest.mark.parametrize("cls", [ToMe, PiToMe])
def test_numbers_without_sense_are_refused(cls, bad):
    with pytest.raises(ValueError, match=r"give either r|tokens, 0 or more|stays in each block"):
        cls(**bad)
    with pytest.raises(ValueError, match="drop"):
        RandomDrop(1.0)
