"""Signatures: the divergence against a loop over classes, the span that is matched, and the votes."""

from __future__ import annotations

import math

import pytest
import torch

from pairwright.core.numerics import generator, unit
from pairwright.heads.cache import signature as module
from pairwright.heads.cache.signature import divergence, log_signature, scaling, signature_votes

rows = lambda key, n: unit(torch.randn(n, 6, generator=generator("signature", key)))
Z, KEYS, TEXT = rows("z", 4), rows("k", 5), rows("w", 3)
P, Q = log_signature(Z, TEXT, 0.1), log_signature(KEYS, TEXT, 0.1)


def kl(p, q) -> float:
    return sum(math.exp(float(a)) * float(a - b) for a, b in zip(p, q, strict=True))


def test_a_signature_is_a_distribution_over_the_class_texts():
    for z, log_p in zip(Z, P, strict=True):
        weight = [math.exp(float(z @ w) / 0.1) for w in TEXT]
        assert [math.exp(v) for v in log_p.tolist()] == pytest.approx([w / sum(weight) for w in weight], rel=1e-5)


def test_divergence_is_that_of_each_pair():
    found = divergence(P, Q)
    for n in range(4):
        for k in range(5):
            assert float(found[n, k]) == pytest.approx(kl(P[n], Q[k]), abs=1e-5)
    torch.testing.assert_close(divergence(Q, Q).diagonal(), torch.zeros(5), atol=1e-5, rtol=0)


def test_affinities_span_what_cosines_span():
    slope, far = scaling(Q, KEYS, KEYS)
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    apart, alike = [kl(Q[i], Q[j]) for i, j in pairs], [float(KEYS[i] @ KEYS[j]) for i, j in pairs]
    assert far == pytest.approx(max(apart), rel=1e-4)
    assert slope == pytest.approx((max(alike) - min(alike)) / (max(apart) - min(apart)), rel=1e-4)
    assert scaling(Q[:1], KEYS[:1], KEYS[:1]) == (0.0, 0.0)


@pytest.mark.parametrize("block", [5, 2**24])
def test_votes_are_sums_of_affinities_by_class(block, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", block)
    labels, expected = torch.tensor([0, 1, 1, 0, 2]), torch.zeros(4, 3)
    for n in range(4):
        for k in range(5):
            expected[n, labels[k]] += 0.7 * (2.0 - kl(P[n], Q[k]))
    torch.testing.assert_close(signature_votes(P, Q, labels, 3, 0.7, 2.0), expected, atol=1e-4, rtol=1e-4)
