"""The notebook of a comparison: what was written is read again, a cut line is not, and another plan is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pairwright.evaluate.trials import Notebook, Trial, pack, unpack

PLAN = {"suite": "icons", "shots": (1, 4)}


def trial(seed: int, **more) -> Trial:
    return Trial("gda", 4, seed, scores={"": np.array([0.0, 1.0, 0.5])}, commit="abc", **more)


def test_scores_come_back_as_float32_holds_them():
    values = np.array([0.0, 1.0, 1 / 3, -2.5])
    np.testing.assert_array_equal(unpack(pack(values)), values.astype(np.float32).astype(np.float64))
    assert unpack(pack(np.zeros(0))).shape == (0,)
    assert len(pack(np.ones(100_000))) < 1000


def test_a_comparison_goes_on_where_it_stopped(tmp_path):
    first = Notebook(PLAN, tmp_path)
    for t in (trial(0), trial(1, outcome="failed", why="no memory"), trial(2)):
        first.add(t)
    again = Notebook(PLAN, tmp_path)
    assert list(again.trials) == [("gda", 4, 0), ("gda", 4, 2)]  # what failed is tried again
    np.testing.assert_array_equal(again.trials["gda", 4, 2].scores[""], [0.0, 1.0, 0.5])
    assert again.trials["gda", 4, 0].commit == "abc"


def test_a_line_that_a_kill_cut_short_is_dropped(tmp_path):
    notebook = Notebook(PLAN, tmp_path)
    notebook.add(trial(0))
    notebook.add(trial(1))
    text = notebook.path.read_text()
    notebook.path.write_text(text[:-20])
    again = Notebook(PLAN, tmp_path)
    assert list(again.trials) == [("gda", 4, 0)]
    again.add(trial(1))
    assert [json.loads(line).get("seed") for line in notebook.path.read_text().splitlines()] == [None, 0, 1]


def test_another_plan_is_refused_with_what_differs(tmp_path):
    Notebook(PLAN, tmp_path)
    with pytest.raises(ValueError, match=r"shots was \[1, 4\], is \[1, 2\]"):
        Notebook({**PLAN, "shots": (1, 2)}, tmp_path)


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Notebook(PLAN).add(trial(0))
    assert list(tmp_path.iterdir()) == []
