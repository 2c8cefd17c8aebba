"""The search against every choice there is, its fitness in numpy, and the limit in which it is the mean of all sentences."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from pairwright.core.features import ClassText, EncoderMismatch, Features
from pairwright.core.numerics import generator, unit
from pairwright.prompts.evolved_prompts import EvolvedPrompts, fitness


def problem(C: int, P: int, N: int, seed: int = 0):
    rng = generator("evolved", seed)
    prompts_CPD = unit(torch.randn(C, P, 8, generator=rng))
    z, y = unit(torch.randn(N, 8, generator=rng)), torch.arange(N) % C
    return ClassText(unit(prompts_CPD.mean(1)), prompts_CPD=prompts_CPD, scale=5.0), Features(z, y)


def by_hand(text, chosen_CP, x, weight):
    w = np.stack([text.prompts_CPD[c].double().numpy()[np.asarray(m, bool)].sum(0) for c, m in enumerate(chosen_CP)])
    logits = text.scale * x.z.double().numpy() @ (w / np.linalg.norm(w, axis=1, keepdims=True)).T
    y = x.y.numpy()
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return (logits.argmax(1) == y).mean() - weight * -np.log(p[np.arange(len(y)), y]).mean()


@pytest.mark.parametrize("shared", [False, True])
def test_it_finds_the_best_of_all_choices(shared):
    text, x = problem(2, 5, 4, seed=3)
    masks = [m for m in product((0, 1), repeat=5) if any(m)]
    choices = [(m, m) for m in masks] if shared else list(product(masks, masks))
    best = max(by_hand(text, c, x, 1.0) for c in choices)
    found = EvolvedPrompts(rounds=3, generations=8, children=12, shared=shared).fit(text, x)
    assert found.fitness_ == pytest.approx(best, abs=1e-5)
    assert found.fitness_ == pytest.approx(by_hand(text, found.chosen_CP.tolist(), x, 1.0), abs=1e-5)
    if shared:
        assert torch.equal(found.chosen_CP[0], found.chosen_CP[1])


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_the_fitness_kept_is_that_of_the_text_returned_and_not_worse_than_the_start(weight):
    text, x = problem(6, 4, 6)
    text.prompts_CPD[2, 3] = 0  # a class with fewer sentences
    found = EvolvedPrompts(rounds=1, generations=2, children=3, weight=weight).fit(text, x)
    assert found.fitness_ == pytest.approx(by_hand(text, found.chosen_CP.tolist(), x, weight), abs=1e-5)
    assert found.fitness_ >= by_hand(text, (text.prompts_CPD != 0).any(-1).tolist(), x, weight) - 1e-6
    assert found.chosen_CP.any(1).all()
    assert not found.chosen_CP[2, 3]
    W = found.text().W_CD
    torch.testing.assert_close(fitness(5.0 * x.z @ W.T, x.y, weight), found.fitness_, rtol=0, atol=1e-5)


def test_no_rounds_or_no_rows_leave_the_mean():
    text, x = problem(3, 4, 3)
    for learner, rows in ((EvolvedPrompts(rounds=0), x), (EvolvedPrompts(), x.rows([]))):
        assert torch.equal(learner.fit(text, rows).chosen_CP, torch.ones(3, 4, dtype=torch.bool))
        torch.testing.assert_close(learner.text().W_CD, text.W_CD)


def test_the_same_seed_finds_the_same_and_the_input_stays():
    text, x = problem(5, 6, 5)
    before = text.prompts_CPD.clone()
    a, b, c = (EvolvedPrompts(rounds=1, generations=2, seed=s).fit(text, x) for s in (1, 1, 2))
    assert torch.equal(a.chosen_CP, b.chosen_CP)
    assert not torch.equal(a.chosen_CP, c.chosen_CP)
    assert torch.equal(text.prompts_CPD, before)


def test_bad_input_is_refused_with_the_fix():
    text, x = problem(3, 4, 3)
    with pytest.raises(ValueError, match="not fitted"):
        EvolvedPrompts().text()
    with pytest.raises(ValueError, match="with descriptions or several templates"):
        EvolvedPrompts().fit(ClassText(text.W_CD), x)
    with pytest.raises(ValueError, match="must be at least 1"):
        EvolvedPrompts(children=0).fit(text, x)
    with pytest.raises(ValueError, match="one class per row"):
        EvolvedPrompts().fit(text, Features(x.z))
    with pytest.raises(EncoderMismatch):
        EvolvedPrompts().fit(ClassText(text.W_CD, prompts_CPD=text.prompts_CPD, encoder="a"), Features(x.z, x.y, encoder="b"))
    ragged = text.prompts_CPD.clone()
    ragged[1, 0] = 0
    with pytest.raises(ValueError, match="shared=False"):
        EvolvedPrompts(shared=True).fit(ClassText(text.W_CD, prompts_CPD=ragged), x)
    ragged[1] = 0
    with pytest.raises(ValueError, match="'1' has no sentence"):
        EvolvedPrompts().fit(ClassText(text.W_CD, prompts_CPD=ragged), x)
