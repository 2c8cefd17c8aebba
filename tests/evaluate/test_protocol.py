"""The protocol on packs and a model whose every answer is known."""

from __future__ import annotations

import math
from dataclasses import replace

import known_answers as oracle
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from pairwright.core.features import Features
from pairwright.data.packs import splits
from pairwright.data.packs.leakage import leakage
from pairwright.evaluate.protocol import evaluate, open_rows
from pairwright.evaluate.tally import Tally, chance_in_top_k
from pairwright.suites import table
from pairwright.suites.suite import Suite

HELD = len(oracle.HELD)


@pytest.fixture(autouse=True)
def _packs(monkeypatch, tmp_path):
    oracle.install(monkeypatch, tmp_path)


def test_a_perfect_model_gets_everything_right():
    result = evaluate(oracle.model(), table.get("unseen-concept"))
    found = {k: m.value for k, m in result.metrics.items() if k != "ece"}
    assert found == dict.fromkeys(("acc1", "acc5", "acc10", "mean_per_class_recall"), 1.0)
    acc = result.metrics["acc1"]
    assert (acc.n, acc.groups, acc.chance, acc.high) == (2 * HELD, HELD, 1 / HELD, 1.0)
    assert acc.low == pytest.approx(0.025 ** (1 / HELD))


def test_known_mistakes_give_the_known_accuracy_and_are_named():
    model = oracle.model(frozenset({1, 2, 3}))
    result = evaluate(model, table.get("unseen-vendor"))
    n = oracle.THINGS - HELD
    assert result.metrics["acc1"].value == pytest.approx(1 - 3 / n)
    assert result.metrics["acc1"].chance == pytest.approx(1 / oracle.THINGS)
    wrong = [a for a in result.answers.to_pylist() if a["rank"] > 1]
    assert {(a["truth"], a["said"]) for a in wrong} == {(oracle.NAMES[i], oracle.NAMES[i + 1]) for i in (1, 2, 3)}
    items = {(r["id"], r["value"]) for r in result.items.to_pylist() if r["metric"] == "acc1"}
    assert len(items) == n
    assert ("emoji-apple/G1", 0.0) in items
    assert ("emoji-apple/G4", 1.0) in items


def test_retrieval_counts_both_ways_and_every_caption():
    suite = replace(table.get("stamps-retrieval"), data=("emoji-google", "emoji-twitter"), text="captions*")
    result = evaluate(oracle.model(), suite)
    assert all(m.value == 1.0 for m in result.metrics.values())
    assert result.metrics["image_retrieval_recall@1"].n == HELD  # captions that differ in case are one text
    assert result.metrics["text_retrieval_recall@1"].n == 2 * HELD
    assert result.metrics["image_retrieval_recall@1"].chance == pytest.approx(2 / (2 * HELD))


def test_what_is_asked_is_never_trained_on():
    """The leak test over every suite that these packs can carry: rows, concepts, and what the splits call training."""
    names = {"emoji-google", "emoji-twitter", "emoji-apple"}
    for suite in (s for s in table.SUITES if set(s.data) <= names):
        asked, everything, _ = open_rows(suite)
        if suite.learn == "split":
            asked = asked.filter(pc.field("split") == "test")
        tables = [
            splits.assign(oracle.table(v, i), oracle.splits()) for i, v in enumerate(("emoji-google", "emoji-twitter", "emoji-apple"))
        ]
        training = pa.concat_tables(tables).filter(pc.field("split") == "train")
        assert len(training) == 2 * (oracle.THINGS - HELD)
        leaks = leakage(training, asked, near=0).counts()
        assert leaks["picture"] == leaks["near"] == 0, suite.name
        unseen = leaks["group"] == leaks["name"] == 0  # known things in an unseen style are no leak
        assert unseen == (suite.concepts == "test" or suite.learn == "split"), suite.name
        if suite.concepts == "test" or suite.learn == "split":
            assert set(asked["group"].to_pylist()) == oracle.HELD, suite.name
        if suite.concepts == "train":
            assert not set(asked["group"].to_pylist()) & oracle.HELD, suite.name
        assert len(everything) == oracle.THINGS * len(suite.data)


def test_nothing_is_embedded_twice_and_other_weights_share_nothing():
    model = oracle.model()
    first = evaluate(model, table.get("unseen-concept"))
    seen = model.towers["image"].seen
    again = evaluate(model, table.get("unseen-concept"))
    assert model.towers["image"].seen == seen == 2 * HELD
    assert again.metrics == first.metrics
    assert again.data["embedded"] == 0
    other = oracle.model(frozenset({4}))
    evaluate(other, table.get("unseen-concept"))
    assert other.towers["image"].seen == 2 * HELD
    cold = oracle.model()
    evaluate(cold, table.get("unseen-concept"), cache=False)
    assert cold.towers["image"].seen == 2 * HELD


class _Spy:
    """A head that remembers what it saw and votes by the text."""

    fitted: list[Features] = []
    asked: list[Features] = []

    def fit(self, train, text, *, val=None):
        self.text = text
        _Spy.fitted.append(train)
        return self

    def logits(self, z):
        _Spy.asked.append(z)
        return z.z_ND @ self.text.W_CD.T


def test_few_shot_learns_from_other_concepts_than_it_is_asked():
    _Spy.fitted, _Spy.asked = [], []
    suite = replace(table.get("emoji-few-shot"), shots=(1, 3), templates=("{}",), headline="acc1[spy,k=3]")
    result = evaluate(oracle.model(), suite, seeds=(0, 1), heads={"spy": _Spy})
    assert [len(f) for f in _Spy.fitted] == [oracle.KINDS, 3 * oracle.KINDS] * 2
    for train, asked in zip(_Spy.fitted, _Spy.asked, strict=True):
        assert not set(train.ids) & set(asked.ids)
        assert torch.bincount(train.y_N).unique().numel() == 1
    assert len(_Spy.asked[0]) == oracle.THINGS // 2
    assert {k: m.value for k, m in result.metrics.items()} == {"acc1[zero_shot,k=0]": 1.0, "acc1[spy,k=1]": 1.0, "acc1[spy,k=3]": 1.0}
    assert (result.metrics["acc1[spy,k=3]"].n, result.metrics["acc1[spy,k=3]"].groups) == (oracle.THINGS, oracle.THINGS // 2)
    assert result.seeds == (0, 1)


def test_results_of_two_models_compare_item_by_item():
    good, bad = (evaluate(m, table.get("unseen-vendor")) for m in (oracle.model(), oracle.model(frozenset(range(1, 25)))))
    wrong = sum(i % 5 != 0 for i in range(1, 25))
    d = good.against(bad)
    assert d.value == pytest.approx(wrong / (oracle.THINGS - HELD))
    assert d.p_permutation < 0.01
    with pytest.raises(ValueError, match="same questions"):
        good.against(evaluate(oracle.model(), table.get("unseen-vendor-all")))


def test_an_empty_split_says_so():
    with pytest.raises(ValueError, match="none of 60 rows"):
        evaluate(oracle.model(), Suite("none", "", "classify", ("emoji-apple",), splits=("val",), headline="acc1"))


def test_a_headline_that_was_not_measured_is_refused():
    with pytest.raises(ValueError, match="pass other shots"):
        evaluate(oracle.model(), replace(table.get("unseen-concept"), headline="acc3"))


def test_chance_is_the_hypergeometric_probability():
    rng = np.random.default_rng(0)
    simulated = np.mean([min(rng.permutation(20)[:3]) < 5 for _ in range(20000)])
    assert chance_in_top_k([3], 20, 5) == pytest.approx(simulated, abs=0.01)
    assert chance_in_top_k([3, 1], 20, 5) == pytest.approx((1 - math.comb(17, 5) / math.comb(20, 5) + 0.25) / 2)
    assert chance_in_top_k([2], 20, 19) == 1.0
    assert chance_in_top_k([1], 4, 10) == 1.0


def test_the_tally_keeps_each_item():
    tally = Tally(draws=50)
    tally.add("m", [1, 0, 1], ["a", "b", "c"], ["g", "g", "h"])
    assert tally.items.to_pylist()[1] == {"metric": "m", "id": "b", "group": "g", "seed": 0, "value": 0.0}
    assert tally.metrics["m"].groups == 2
