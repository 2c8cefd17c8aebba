"""The choice on features: honest, deterministic, within its budget, and whole after an interrupt."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from pairwright.core.features import EncoderMismatch, Features
from pairwright.data.world.simulate import simulate
from pairwright.heads.linear.gda import GDA, default_alpha
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.recipes.adapt import portfolio
from pairwright.recipes.adapt.clock import Clock, seconds
from pairwright.recipes.adapt.folds import deal, fold_count
from pairwright.recipes.adapt.learn import Wish
from pairwright.recipes.adapt.learn import learn as learn_within

SIM = simulate(3, classes=4, shots=6, width=16, test_per_class=10, text_noise=2.0)


def learn(*args, clock=None, **more):
    """Without a deadline, so that a busy machine changes nothing."""
    return learn_within(*args, clock=clock or Clock(1e9), **more)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero-shot, Tip-Adapter and two settings of GDA: what fits in milliseconds."""
    zero, tip, (gda, settings, slow) = portfolio.ONE[:3]
    monkeypatch.setattr(portfolio, "ONE", (zero, (tip[0], tip[1][1:2], tip[2]), (gda, settings[1::2], slow)))
    monkeypatch.setattr(portfolio, "UNSEEN", (("heads/linear/gda", 1),))


def same(a, b) -> None:
    assert [m.label for m in a.committee.members] == [m.label for m in b.committee.members]
    assert torch.equal(a.committee.probabilities(SIM.test), b.committee.probabilities(SIM.test))
    assert a.metrics == b.metrics


def test_the_choice_is_the_same_for_a_seed_and_gets_its_figure_from_rows_it_did_not_see():
    one, two = (learn(SIM.train, SIM.text, wish=Wish(seed=4)) for _ in range(2))
    same(one, two)
    assert not one.cut
    assert one.protocol == "nested"
    assert bool(one.rows_N.all())
    # by hand: the first outer fold, chosen and fitted without it
    fold_N = one.search.fold_N
    asked = fold_N == 0
    known = SIM.train.rows(~asked)
    groups = (~asked).nonzero().squeeze(1).tolist()  # a row is its own group, by its number among all
    again = learn(known, SIM.text, groups, wish=Wish(seed=4))
    scores = torch.stack([m.vote(SIM.train.z[asked], one.search.kind) for m in again.committee.members]).mean(0)
    torch.testing.assert_close(scores, one.outer.scores_NC[asked])
    right = float((one.probs_NC.argmax(1) == SIM.train.y).double().mean())
    assert one.metrics["accuracy"].value == pytest.approx(right)
    zero = ZeroShot().fit(None, SIM.text).logits(SIM.train.z).argmax(1) == SIM.train.y
    assert one.metrics["zero_shot_accuracy"].value == pytest.approx(float(zero.double().mean()))


def test_a_forced_method_alone_is_taken():
    done = learn(SIM.train, SIM.text, wish=Wish(method="GDA"))
    assert {m.id for m in done.committee.members} == {"heads/linear/gda"}
    label = next(m for m in done.committee.members)
    times = float(label.label.split(", ")[1].split(" x")[0])
    expected = GDA(times * default_alpha(SIM.train.z, SIM.train.y)).fit(SIM.train, SIM.text).logits(SIM.test)
    torch.testing.assert_close(label.head.logits(SIM.test), expected)
    with pytest.raises(ValueError, match="no classifier head"):
        learn(SIM.train, SIM.text, wish=Wish(method="InfoNCE"))


def test_a_second_is_zero_shot_and_says_so():
    done = learn(SIM.train, SIM.text, clock=Clock(1.0))
    assert [m.id for m in done.committee.members] == [portfolio.ZERO_SHOT]
    assert "too short" in done.notes[0]
    expected = ZeroShot().fit(None, SIM.text).logits(SIM.test).argmax(1)
    assert torch.equal(done.committee.probabilities(SIM.test).argmax(1), expected)


def test_a_budget_that_ends_is_said_and_keeps_what_was_tried():
    ticks = iter(range(10_000))
    done = learn(SIM.train, SIM.text, clock=Clock(30.0, lambda: float(next(ticks))))
    assert done.cut
    assert any("ended before" in n for n in done.notes)
    assert done.committee.probabilities(SIM.test).shape == (40, 4)


@pytest.mark.parametrize("after", [0, 5, 60])
def test_an_interrupt_keeps_the_best_so_far(monkeypatch, after):
    fits = []
    fit = portfolio.Candidate.fit

    def interrupted(self, *args):
        fits.append(self)
        if len(fits) == after + 1:
            raise KeyboardInterrupt
        return fit(self, *args)

    monkeypatch.setattr(portfolio.Candidate, "fit", interrupted)
    done = learn(SIM.train, SIM.text)
    assert done.interrupted
    assert "interrupted" in done.notes[0]
    assert torch.isfinite(done.committee.probabilities(SIM.test)).all()
    assert ([m.id for m in done.committee.members] == [portfolio.ZERO_SHOT]) == (after == 0)


def test_copies_never_stand_on_both_sides():
    label, group = [0, 0, 0, 0, 1, 1, 1, 2], [0, 0, 1, 2, 3, 4, 4, 5]
    fold_N = deal(label, group, fold_count(label, group), 0)
    assert fold_N[0] == fold_N[1]
    assert fold_N[5] == fold_N[6]
    assert fold_N[7] == -1  # one group: always learned from
    for c in (0, 1):  # every class is on both sides of each fold that asks it
        folds = {f for f, l in zip(fold_N, label) if l == c}
        assert len(folds) > 1
    order = np.random.default_rng(0).permutation(8)
    again = deal([label[i] for i in order], [group[i] for i in order], 2, 0)
    assert again.tolist() == deal(label, group, 2, 0)[order].tolist()


def test_one_label_a_class_is_taken_on_trust_and_not_measured():
    done = learn(SIM.train.rows([0, 1, 2, 3]), SIM.text)
    assert (done.protocol, list(done.metrics)) == ("none", ["zero_shot_accuracy"])
    assert {m.id for m in done.committee.members} == {"heads/linear/gda"}
    assert any("two labelled" in n for n in done.notes)


def test_a_class_without_labels_and_one_with_one_are_said():
    keep = [i for i, c in enumerate(SIM.train.y.tolist()) if c in (0, 1) or i in (2,)]
    done = learn(SIM.train.rows(keep), SIM.text)
    assert any("class 3" in n and "no label" in n for n in done.notes)
    assert any("class 2" in n and "one label" in n for n in done.notes)
    assert int(done.rows_N.sum()) == len(keep) - 1


def test_bad_features_are_refused():
    bad = SIM.train.z.clone()
    bad[3, 2] = torch.nan
    with pytest.raises(ValueError, match="row 3"):
        learn(Features(bad, SIM.train.y), SIM.text)
    with pytest.raises(EncoderMismatch):
        learn(dataclasses.replace(SIM.train, encoder="another"), SIM.text)
    with pytest.raises(ValueError, match="no labels"):
        learn(Features(SIM.train.z), SIM.text)


def test_overfitting_is_said():
    g = torch.Generator().manual_seed(0)
    noise = Features(torch.nn.functional.normalize(torch.randn(24, 16, generator=g), dim=1), SIM.train.y)
    done = learn(noise, dataclasses.replace(SIM.text, encoder=""), wish=Wish(method="logistic regression"))
    assert done.train_right > done.held_right + 0.15
    assert any("overfits" in n for n in done.notes)


def test_budgets_are_times():
    assert [seconds(t) for t in ("90", "45s", "5m", "1.5 h", 3)] == [90.0, 45.0, 300.0, 5400.0, 3.0]
    for bad in ("", "soon", "-3", "0"):
        with pytest.raises(ValueError, match="30s"):
            seconds(bad)
