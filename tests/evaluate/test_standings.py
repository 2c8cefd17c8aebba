"""Standings against plain numpy, and what they look like on paper and on disk."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from pairwright.data.world.simulate import simulate
from pairwright.evaluate import scoreboard
from pairwright.evaluate.contest import Contest, contest
from pairwright.evaluate.intervals import compare
from pairwright.evaluate.methods import ZERO_SHOT, Method, select
from pairwright.evaluate.problem import problem_of
from pairwright.evaluate.standings import Standings, standings

SIM = simulate(0, classes=6, shots=8, width=16, test_per_class=15)
GDA = "heads/linear/gda"


@pytest.fixture(scope="module")
def found() -> Contest:
    broken = Method("broken|method", "broken", lambda: None, "head", frozenset({"train"}))
    methods = [*select(only=["gda", "tip_adapter"]), broken]
    return contest(problem_of(SIM.train, SIM.text, SIM.test, name="toy"), methods, shots=(1, 8), seeds=(0, 1, 2))


@pytest.fixture(scope="module")
def table(found) -> Standings:
    return standings(found, draws=4000)


def row(s: Standings, method: str, shots: int) -> dict:
    (one,) = [r for r in s.rows if (r["method"], r["shots"]) == (method, shots)]
    return one


def test_values_spread_and_tests_are_those_of_numpy_and_of_the_paired_test(found, table):
    items = {t.key: t.scores[""] for t in found.trials}
    runs = np.stack([items[GDA, 8, s] for s in range(3)])
    mine = row(table, GDA, 8)
    assert mine["value"] == pytest.approx(runs.mean())
    assert mine["sd_seeds"] == pytest.approx(runs.mean(1).std(ddof=1))
    assert mine["low"] < mine["value"] < mine["high"]
    assert (mine["n"], mine["groups"], mine["seeds"], mine["chance"]) == (90, 90, 3, 1 / 6)
    zero = items[ZERO_SHOT, 0, 0]
    one = compare(zero, runs.mean(0), SIM.test.ids, draws=20000)
    assert mine["over_zero_shot"] == pytest.approx(one.value)
    assert mine["p_zero_shot"] == pytest.approx(min(1, 2 * one.p_permutation), abs=0.01)  # Holm: the smaller of two
    assert mine["over_low"] == pytest.approx(one.low, abs=0.03)


def test_methods_without_shots_stand_in_every_column(table):
    assert row(table, ZERO_SHOT, 1)["value"] == row(table, ZERO_SHOT, 8)["value"]
    assert not row(table, ZERO_SHOT, 1)["learns"]
    assert row(table, ZERO_SHOT, 1)["p_zero_shot"] is None
    for shots in (1, 8):
        best = [r for r in table.rows if r["shots"] == shots and r["best"]]
        assert len(best) == 1
        assert best[0]["value"] == max(r["value"] for r in table.rows if r["shots"] == shots)
        assert best[0]["tied"]


def test_a_method_that_lacks_a_seed_is_not_ranked(found):
    fewer = replace(found, trials=tuple(t for t in found.trials if t.key != (GDA, 8, 1)))
    assert not [r for r in standings(fewer, draws=50).rows if r["method"] == GDA and r["shots"] == 8]
    with pytest.raises(ValueError, match=r"no method ran: .*broken"):
        standings(replace(found, trials=()))


def test_files_hold_every_item_and_the_same_numbers(found, table, tmp_path):
    page = scoreboard.save(table, tmp_path)
    items = pq.read_table(tmp_path / "items.parquet").to_pandas()
    mean = items.groupby(["method", "shots"], observed=True)["score"].mean()
    assert mean[GDA, 8] == pytest.approx(row(table, GDA, 8)["value"])
    assert set(items["id"]) == set(SIM.test.ids)
    facts = json.loads((tmp_path / "results.json").read_text())
    assert facts["hyper_parameters"] == "validation-free defaults"
    assert facts["failed"].keys() == {"broken|method"}
    assert pq.read_table(tmp_path / "results.parquet").to_pylist() == list(table.rows)
    assert (tmp_path / "few_shot.png").read_bytes()[:4] == b"\x89PNG"
    html = page.read_text()
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org", "")
    for text in ("GDA", "zero-shot", "broken|method", "<svg", "paired by item"):
        assert text in html
    assert len(html) < 200_000


def test_markdown_marks_the_best_and_lists_what_failed(table):
    text = scoreboard.markdown(table)
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert lines[0] == "| method | 1 shot | 8 shots | fit, s |"
    assert len({line.count(" | ") for line in lines}) == 1
    assert text.count("**") == 2 * (1 + 2)  # the word Bold, and one best for each number of shots
    assert "- `broken|method`: at 1 shots" in text
