"""The scoreboard: the order of methods, the cells of the table, and a page that holds every figure."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pairwright.evaluate.methods import ZERO_SHOT
from pairwright.evaluate.scoreboard import lines_of, markdown, others, page, ranked, save
from pairwright.evaluate.standings import Standings

FACTS = {
    "suite": "icons", "setting": "shots", "lead": "accuracy", "shots": [1, 4], "seeds": [0, 1], "hyper_parameters": "defaults",
    "tests": "Holm", "classes": 3, "exams": {"": {"n": 9, "groups": 9, "classes": 3}}, "encoder": "e", "commit": "c" * 40,
    "seconds": 2.0,
}  # fmt: skip
VALUES = {ZERO_SHOT: (0.4, 0.4), "gda|x": (0.5, 0.7), "tip": (0.6, 0.65)}


def row(method: str, k: int, value: float, score: str = "accuracy") -> dict:
    zero = method == ZERO_SHOT
    return {
        "method": method, "title": f"{method} (long)", "shots": k, "score": score, "n": 9, "learns": not zero, "seconds_fit": k / 100,
        "value": value, "low": value - 0.05, "high": value + 0.05, "best": value == 0.7, "tied": value == 0.65,
        "p_zero_shot": None if zero else 0.01, "over_zero_shot": value - 0.4, "over_low": 0.0, "over_high": 0.3,
    }  # fmt: skip


@pytest.fixture
def standings() -> Standings:
    rows = [row(m, k, v) for m, values in VALUES.items() for k, v in zip((1, 4), values, strict=True)]
    rows += [row(m, 4, 0.1, "forgetting") for m in VALUES]
    return Standings(tuple(rows), FACTS, {"coop": "no tower"}, {"ape": "broke"}, pa.table({"id": ["0"]}))


def test_the_best_at_the_most_shots_comes_first(standings):
    assert [rows[0]["method"] for rows in ranked(standings)] == ["gda|x", "tip", ZERO_SHOT]
    assert others(standings) == ["forgetting"]


def test_the_table_marks_the_best_and_what_is_not_told_apart(standings):
    lines = markdown(standings).splitlines()
    at = lines.index("| method | 1 shot | 4 shots | fit, s |")
    assert lines[at + 2] == "| gda\\|x (long) | 50.0 [45.0, 55.0] | **70.0** [65.0, 75.0] | 0.04 |"
    assert lines[at + 3] == "| tip (long) | 60.0 [55.0, 65.0] | 65.0= [60.0, 70.0] | 0.04 |"
    assert {"- `coop`: no tower", "- `ape`: broke", "Every score at 4 shots:"} <= set(lines)


def test_curves_are_those_that_learn_over_the_level_of_zero_shot(standings):
    curves, thin, (name, level) = lines_of(standings)
    assert ([c.label for c in curves], thin, name, level) == (["gda|x", "tip"], [], "zero-shot", 0.4)


def test_files_and_page(standings, tmp_path):
    written = save(standings, tmp_path)
    assert written.read_text() == page(standings)
    assert {p.name for p in tmp_path.iterdir()} >= {"table.md", "few_shot.png", "report.html", "results.json"}
    for part in ("tip (long)", "no tower", "broke", "+30.0 [+0.0, +30.0], p 0.01", "9 in 9 groups"):
        assert part in written.read_text()
