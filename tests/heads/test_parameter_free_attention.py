"""CALIP by loops over patches and classes, its limits, and what tokens have to be."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from pairwright.core.features import Features
from pairwright.core.numerics import unit
from pairwright.data.world.simulate import simulate
from pairwright.heads.inputs import accuracy
from pairwright.heads.zero_shot import parameter_free_attention
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.heads.zero_shot.parameter_free_attention import BETA2, BETA3, ParameterFreeAttention

SIM = simulate(0, classes=4, width=10, shots=1, test_per_class=2)
DRAW = torch.Generator().manual_seed(0)
TEST = replace(SIM.test, tokens_NMD=3 * torch.randn(8, 5, 10, generator=DRAW))


def softmax(values):
    top = max(values)
    return [math.exp(v - top) / sum(math.exp(u - top) for u in values) for v in values]


@pytest.mark.parametrize("block", [2**23, 45])
def test_logits_are_the_papers_two_attentions(block, monkeypatch):
    monkeypatch.setattr(parameter_free_attention, "_BLOCK", block)
    logits = ParameterFreeAttention(0.7, 0.3).fit(None, SIM.text).logits(TEST)
    W = SIM.text.W_CD.double()
    for n, z in enumerate(SIM.test.z.double()):
        T = unit(TEST.tokens_NMD[n].double())
        A = [[2 * float(t @ w) for w in W] for t in T]
        read = [sum(p * w for p, w in zip(softmax(A[m]), W)) for m in range(5)]
        v = torch.stack(read).mean(0) + torch.stack(read).max(0).values
        for c in range(4):
            seen = sum(p * t for p, t in zip(softmax([A[m][c] for m in range(5)]), T))
            expected = float(z @ W[c]) + 0.7 * float(z @ seen) + 0.3 * float(v @ W[c])
            assert float(logits[n, c]) == pytest.approx(SIM.text.scale * expected, abs=1e-4)


def test_equal_tokens_add_a_constant_from_the_class_wise_picture():
    """softmax over equal patches is uniform: every class sees the same picture."""
    same = replace(SIM.test, tokens_NMD=SIM.test.z[:, None].expand(-1, 5, -1))
    added = ParameterFreeAttention(1.0, 0.0).fit(None, SIM.text).logits(same) - ZeroShot().fit(None, SIM.text).logits(same)
    torch.testing.assert_close(added, torch.full_like(added, SIM.text.scale), rtol=1e-4, atol=1e-4)


def test_rows_without_tokens_are_zero_shot():
    head, zero_shot = ParameterFreeAttention().fit(None, SIM.text), ZeroShot().fit(None, SIM.text)
    torch.testing.assert_close(head.logits(SIM.test), zero_shot.logits(SIM.test))
    assert (head.logits(TEST) - zero_shot.logits(TEST)).abs().max() > 0.1


def test_search_on_val_is_the_best_of_its_grid():
    y = torch.arange(40) % 4
    tokens = unit(SIM.means_CD[y][:, None] + 0.5 * torch.randn(40, 5, 10, generator=DRAW))
    val = Features.of(tokens.mean(1) + 0.4 * torch.randn(40, 10, generator=DRAW), y, tokens_NMD=tokens, encoder=SIM.text.encoder)
    head = ParameterFreeAttention().fit(None, SIM.text, val=val)
    score = lambda a, b: accuracy(ParameterFreeAttention(a, b).fit(None, SIM.text).logits(val), y)
    grid = {(a, b): score(a, b) for a in BETA2 for b in BETA3}
    assert grid[head.beta2_, head.beta3_] == max(grid.values())


def test_tokens_of_another_width_are_refused():
    with pytest.raises(ValueError, match="tokens"):
        ParameterFreeAttention().fit(None, SIM.text).logits(replace(SIM.test, tokens_NMD=torch.ones(8, 5, 7)))
