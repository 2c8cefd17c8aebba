"""Ranking against a brute force over all proposals, what the writer is shown, and the limit in which nothing is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pairwright.core.features import Features
from pairwright.core.numerics import generator, unit
from pairwright.models.tiny import tiny
from pairwright.prompts.propose_and_rank import ProposeAndRank

NAMES = ["red circle", "blue square", "star"]
HAND = "a photo of a {}."
MODEL = tiny(3, width=16, dim=16, vocab=256, context=12).requires_grad_(False)
ROWS = Features(unit(torch.randn(21, 16, generator=generator("propose"))), torch.arange(21) % 3, encoder=MODEL.fingerprint)
PROPOSALS = [f"{a} {b} {{}}" for a in ("my", "one", "old") for b in ("thing", "view", "sketch of a", "drawn")]


def brute(template):
    """(accuracy, minus cross-entropy) of one template, in numpy."""
    w = MODEL.text(MODEL.tokenizer([template.replace("{}", n) for n in NAMES])).z_BD.double().numpy()
    logits = float(MODEL.scale) * ROWS.z.double().numpy() @ w.T
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    y = ROWS.y.numpy()
    return (logits.argmax(1) == y).mean(), np.log(p[np.arange(21), y]).mean()


class Writer:
    """Hands out the proposals, four at a time, and keeps the requests."""

    def __init__(self):
        self.left, self.asked = list(PROPOSALS), []

    def __call__(self, requests):
        self.asked += requests
        out, self.left = self.left[:4], self.left[4:]
        return ["\n".join(f"{i}. {t}" for i, t in enumerate(out, 1))]


def test_the_ranking_is_that_of_a_brute_force():
    learner = ProposeAndRank(rounds=3, ask=4, keep=2).fit(MODEL, NAMES, ROWS, Writer())
    expected = sorted([HAND, *PROPOSALS], key=brute, reverse=True)
    assert [t for t, _ in learner.ranked_] == expected
    assert [s for _, s in learner.ranked_] == pytest.approx([brute(t)[0] for t in expected])
    text = learner.text(MODEL, [*NAMES, "moon"])
    z = [MODEL.text(MODEL.tokenizer([t.replace("{}", n) for n in [*NAMES, "moon"]])).z_BD for t in expected[:2]]
    torch.testing.assert_close(text.W_CD, unit(z[0] + z[1]))
    torch.testing.assert_close(text.prompts_CPD, torch.stack(z, 1))


def test_the_writer_sees_the_task_the_best_and_the_worst():
    writer = Writer()
    ProposeAndRank("tell shapes apart", rounds=3, ask=4, show=2).fit(MODEL, NAMES, ROWS, writer)
    assert len(writer.asked) == 3
    assert all("tell shapes apart" in r and "4 new templates" in r for r in writer.asked)
    so_far = sorted([HAND, *PROPOSALS[:8]], key=brute, reverse=True)
    lines = [line for line in writer.asked[2].splitlines() if line[0].isdigit()]
    assert lines == [f"{100 * brute(t)[0]:.1f}: {t}" for t in (*so_far[:2], *so_far[-2:])]


def test_useless_proposals_cost_nothing():
    answer = f"{HAND}\nno place\n{{}} and {{}}\n- old {{c}}\nold {{}}\n\nnew {{}}\nnewer {{}}"
    learner = ProposeAndRank(rounds=2, ask=2).fit(MODEL, NAMES, ROWS, lambda requests: [answer])
    assert {t for t, _ in learner.ranked_} == {HAND, "old {}", "new {}", "newer {}"}


def test_no_rounds_leave_the_given_template():
    def never(requests):
        raise AssertionError

    text = ProposeAndRank(rounds=0).fit(MODEL, NAMES, ROWS, never).text(MODEL, NAMES)
    torch.testing.assert_close(text.W_CD, MODEL.text(MODEL.tokenizer([HAND.replace("{}", n) for n in NAMES])).z_BD)


def test_bad_input_is_refused_with_the_fix():
    with pytest.raises(ValueError, match="not fitted"):
        ProposeAndRank().text(MODEL, NAMES)
    with pytest.raises(ValueError, match="at least 1"):
        ProposeAndRank(keep=0).fit(MODEL, NAMES, ROWS, Writer())
    with pytest.raises(ValueError, match="at least one a class"):
        ProposeAndRank().fit(MODEL, NAMES, ROWS.rows([]), Writer())
    with pytest.raises(ValueError, match="gave 2 answers"):
        ProposeAndRank().fit(MODEL, NAMES, ROWS, lambda requests: ["a {}", "b {}"])
