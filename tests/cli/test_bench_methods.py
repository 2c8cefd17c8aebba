"""`pairwright bench-methods` on the generated world with a tiny model: the table, the files, resumption, wrong input."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from pairwright.evaluate import world_rows


@pytest.fixture(autouse=True)
def _small_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(world_rows, "things", partial(world_rows.things, n=300))
    monkeypatch.setattr("pairwright.prompts.fit.Descent.rates", lambda self, rows, shots: [1e-3])  # one epoch
    monkeypatch.setenv("PAIRWRIGHT_CACHE", str(tmp_path / "cache"))


def test_heads_and_prompts_on_one_table_and_again_from_the_folder(run, model_name: str, tmp_path: Path) -> None:
    line = ["bench-methods", "heads,prompts", "--suite", "world-natural", "--model", model_name, "--shots", "1,2", "--seeds", 2]
    line += ["--methods", "gda,coop,mixed-keys", "--out", tmp_path / "out"]
    ran = run(*line, "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    assert found["suite"] == "shapes-few-shot-natural"
    assert "second feature (caption)" in found["left_out"]["heads/cache/mixed_keys"]
    assert {r["method"] for r in found["rows"]} == {"heads/zero_shot/classifier", "heads/linear/gda", "prompts/coop"}
    assert all(0 <= r["low"] <= r["value"] <= r["high"] <= 1 for r in found["rows"])
    assert found["data"]["suites"]["shapes-few-shot-natural"]["rows"] <= 300
    written = {p.name for p in (tmp_path / "out").iterdir()}
    assert written == {"trials.jsonl", "results.json", "results.parquet", "items.parquet", "table.md", "few_shot.png", "report.html"}
    before = (tmp_path / "out" / "trials.jsonl").read_text()
    again = run(*line)
    assert again.code == 0
    assert again.out == (tmp_path / "out" / "table.md").read_text()
    assert (tmp_path / "out" / "trials.jsonl").read_text() == before


def test_another_look_is_asked_with_shift(run, model_name: str) -> None:
    line = ["--suite", "shapes-few-shot-natural", "--to", "world-dusk", "--setting", "shift", "--shots", "1", "--seeds", 1]
    ran = run("bench-methods", "heads/cache", *line, "--methods", "tip_adapter", "--model", model_name, "--json")
    assert ran.code == 0, ran.err
    assert set(ran.json["exams"]) == {"shapes-few-shot-natural", "shapes-few-shot-dusk"}
    assert ran.json["lead"] == "shapes-few-shot-dusk"


def test_the_list_of_suites(run) -> None:
    assert "emoji-few-shot" in run("bench-methods", "list").out
    assert all(s["task"] == "few_shot" for s in run("bench-methods", "list", "--json").json)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("heads --suite emoji-aple", "did you mean emoji-apple"),
        ("heads --suite emoji-group", "asks without examples"),
        ("haeds --suite world-natural", "did you mean heads"),
        ("heads --suite world-natural --methods tip-adaptor", "did you mean tip_adapter"),
        ("heads --suite world-natural --shots 1,two", "--shots is '1,two'"),
        ("heads --suite world-natural --shots 0", "--shots is '0'"),
        ("heads --suite world-natural --seeds 0", "--seeds is 0"),
        ("heads --suite world-natural --setting basetonew", "did you mean base-to-new"),
        ("heads --suite world-natural --setting cross", "--to SUITE"),
    ],
)
def test_one_clear_line_on_wrong_input(run, words: str, complaint: str) -> None:
    ran = run("bench-methods", *words.split())
    assert (ran.code, ran.out) == (2, "")
    assert complaint in ran.err
    assert ran.err.count("\n") == 1
