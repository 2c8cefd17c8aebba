"""ContextPosterior against an explicit double sum over classes and contexts, and its limits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from pairwright.data.world.simulate import simulate
from pairwright.heads.inputs import accuracy
from pairwright.heads.zero_shot import context_posterior
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.heads.zero_shot.context_posterior import TEMPERATURES, ContextPosterior

SIM = simulate(0, classes=5, width=12, prompts=3, test_per_class=4)


def slow(temperature):
    """Probabilities by loops over rows, classes and contexts."""
    w = SIM.text.prompts_CPD.double().numpy()
    classes, contexts = [], []
    for z in SIM.test.z.double().numpy():
        s = np.array([[SIM.text.scale * z @ w[c, k] for k in range(3)] for c in range(5)])
        p_k = np.array([sum(np.exp(s[c, k] / temperature) for c in range(5)) for k in range(3)])
        p_k /= p_k.sum()
        classes.append([sum(p_k[k] * np.exp(s[c, k]) / sum(np.exp(s[d, k]) for d in range(5)) for k in range(3)) for c in range(5)])
        contexts.append(p_k)
    return np.array(classes), np.array(contexts)


@pytest.mark.parametrize("temperature", [1.0, 7.0])
@pytest.mark.parametrize("block", [2**24, 20])
def test_probabilities_are_the_double_sum(temperature, block, monkeypatch):
    monkeypatch.setattr(context_posterior, "_BLOCK", block)  # the second works on one row at a time
    head = ContextPosterior(temperature).fit(None, SIM.text)
    classes, contexts = slow(temperature)
    np.testing.assert_allclose(head.logits(SIM.test).exp(), classes, rtol=1e-4)
    np.testing.assert_allclose(head.contexts(SIM.test), contexts, rtol=1e-4)
    assert head.contexts(SIM.test.rows([])).shape == (0, 3)


def test_one_context_is_zero_shot():
    one = dataclasses.replace(SIM.text, prompts_CPD=SIM.text.W_CD[:, None])
    expected = ZeroShot().fit(None, SIM.text).logits(SIM.test).log_softmax(1)
    torch.testing.assert_close(ContextPosterior().fit(None, one).logits(SIM.test), expected)


def test_a_large_temperature_weighs_all_contexts_alike():
    scores = SIM.text.scale * torch.einsum("nd,ckd->nck", SIM.test.z, SIM.text.prompts_CPD)
    head = ContextPosterior(1e7).fit(None, SIM.text)
    torch.testing.assert_close(head.logits(SIM.test).exp(), scores.softmax(1).mean(2), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(head.contexts(SIM.test), torch.full((20, 3), 1 / 3), rtol=1e-4, atol=1e-5)


def test_temperature_on_val_is_the_best_of_its_grid():
    tuned = ContextPosterior().fit(None, SIM.text, val=SIM.val)
    right = {t: accuracy(ContextPosterior(t).fit(None, SIM.text).logits(SIM.val), SIM.val.y) for t in TEMPERATURES}
    assert tuned.temperature_ == min(t for t in TEMPERATURES if right[t] == max(right.values()))


def test_missing_contexts_and_bad_temperatures_are_refused():
    ragged = SIM.text.prompts_CPD.clone()
    ragged[2, 1] = 0
    with pytest.raises(ValueError, match="'class 2' has no prompt for context 1"):
        ContextPosterior().fit(None, dataclasses.replace(SIM.text, prompts_CPD=ragged))
    with pytest.raises(ValueError, match="temperature must be positive"):
        ContextPosterior(temperature=0.0).fit(None, SIM.text)
