"""UPL's selection against a loop over classes in numpy, and its runs against CoOp on the selected rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pairwright.core.features import Features
from pairwright.core.numerics import generator, unit
from pairwright.models.tiny import tiny
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent
from pairwright.prompts.upl import UPL, top_per_class

NAMES = ["red circle", "blue square", "star"]
HAND = "a photo of a {}"
MODEL = tiny(4, width=16, dim=16, vocab=256, context=12).requires_grad_(False)
ROWS = Features(unit(torch.randn(40, 16, generator=generator("upl"))), encoder=MODEL.fingerprint)
HOW = Descent(lr=0.02, epochs=2, batch=4)


@pytest.mark.parametrize("k", [0, 1, 3, 100])
def test_selection_is_the_loop_over_classes(k):
    rng = np.random.default_rng(k)
    probs = rng.dirichlet(np.ones(5), 30)
    probs[:, 4] = 0  # a class that wins nothing
    expected = {}
    for c in range(5):
        mine = [i for i in range(30) if probs[i].argmax() == c]
        for i in sorted(mine, key=lambda i: -probs[i, c])[:k]:
            expected[i] = c
    rows, labels = top_per_class(torch.from_numpy(probs), k)
    assert dict(zip(rows.tolist(), labels.tolist())) == expected
    assert rows.tolist() == sorted(rows.tolist())


def test_ties_go_to_the_lower_row():
    rows, labels = top_per_class(torch.tensor([[0.6, 0.4]]).repeat(5, 1), 2)
    assert rows.tolist() == [0, 1]
    assert labels.tolist() == [0, 0]


def test_it_is_the_mean_text_of_coop_runs_on_zero_shots_surest_rows():
    fitted = UPL(HAND, k=2, runs=2, seed=5, template=HAND, how=HOW).fit(MODEL, NAMES, ROWS)
    probs = F.softmax(MODEL.scale * ROWS.z @ MODEL.text(MODEL.tokenizer([HAND.format(n) for n in NAMES])).z_BD.T, 1)
    rows, labels = top_per_class(probs, 2)
    chosen = Features(ROWS.z[rows], labels, encoder=MODEL.fingerprint)
    runs = [CoOp(HAND, seed=s, how=HOW).fit(MODEL, NAMES, chosen).text(MODEL, NAMES).W_CD for s in (5, 6)]
    torch.testing.assert_close(fitted.text(MODEL, NAMES).W_CD, F.normalize(runs[0] + runs[1], dim=1), atol=1e-5, rtol=0)
    assert torch.equal(fitted.rows_, rows)


def test_given_probabilities_replace_zero_shot_and_labels_are_not_looked_at():
    probs = torch.rand(40, 3, generator=generator("others"))
    wrong = Features(ROWS.z, torch.full((40,), 99), encoder=MODEL.fingerprint)
    fitted = UPL(HAND, k=3, runs=1, template=HAND, how=HOW).fit(MODEL, NAMES, wrong, probs_NC=probs)
    assert torch.equal(fitted.labels_, probs.argmax(1)[fitted.rows_])
    with pytest.raises(ValueError, match="probs_NC must have the shape"):
        UPL(HAND).fit(MODEL, NAMES, ROWS, probs_NC=probs[:, :2])


def test_no_rows_a_class_leave_the_hand_prompt():
    fitted = UPL(HAND, k=0, template=HAND, how=HOW).fit(MODEL, NAMES, ROWS)
    hand = MODEL.text(MODEL.tokenizer([HAND.format(n) for n in NAMES])).z_BD
    torch.testing.assert_close(fitted.text(MODEL, NAMES).W_CD, hand, atol=1e-6, rtol=0)
