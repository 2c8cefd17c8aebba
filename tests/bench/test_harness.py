"""The harness on a toy whose costs are known: order, medians, ratio, goals, agreement; and the page that is rendered from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import run
from bench.harness import Case, Entry, compare, spread, timed
from bench.render import amount, page, render

MACHINE = {
    "date": "2026-01-02",
    "commit": "0123456789abcdef+",
    "processor": "a toy, 1 cores",
    "threads": 1,
    "capability": "NONE",
    "versions": {"python": "3"},
    "gemm_gflops": {"fp32": 10.0, "bf16": 20.0, "int8": 40.0},
}


def toy(log: list[str] | None = None, **more: object) -> Case:
    log = [] if log is None else log

    def entry(name: str, costs: list[float]) -> Entry:
        left = iter([99.0, *costs])  # the first run is the warm-up

        def measure() -> tuple[float, int]:
            log.append(name)
            return next(left), 42

        return Entry(name, f"{name}()", measure)

    def agree(ours: int, theirs: int) -> str:
        assert ours == theirs
        return "equal"

    peers = [entry("fast", [4.0, 6.0, 8.0]), entry("slow", [9.0, 9.0, 9.0])]
    return Case("toy", "A toy", "seconds", entry("us", [1.0, 3.0, 2.0]), peers, agree, rounds=3, **more)  # type: ignore[arg-type]


def test_medians_ratio_and_order() -> None:
    log: list[str] = []
    r = compare(toy(log, bar=3.0, work=4e9))
    assert [e["median"] for e in r["entries"]] == [2.0, 6.0, 9.0]
    assert r["best_peer"] == "fast"
    assert r["ratio"] == 4.0  # of 4/1, 6/3, 8/2
    assert r["gflops"] == 2.0
    assert r["agreement"] == {"fast": "equal", "slow": "equal"}
    assert log == ["us", "fast", "slow", "us", "fast", "slow", "slow", "fast", "us", "us", "fast", "slow"]


@pytest.mark.parametrize(
    ("goal", "reached"),
    [({"bar": 4.0}, True), ({"bar": 4.1}, False), ({"limit": 1.9}, False), ({"bar": 4.0, "limit": 2.0}, True), ({}, None)],
)
def test_goals(goal: dict[str, float], reached: bool | None) -> None:
    assert compare(toy(**goal))["reached"] is reached


def test_outputs_that_differ_end_the_run() -> None:
    wrong = Entry("us", "", lambda: (1.0, 41))
    with pytest.raises(AssertionError):
        compare(replace(toy(), ours=wrong))


def test_spread_is_the_distance_of_quartiles() -> None:
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    assert spread([7.0]) == 0


def test_timed_counts_the_call_and_keeps_its_output() -> None:
    import time

    cost, output = timed(lambda: time.sleep(0.05) or "done")()
    assert 0.05 <= cost < 1
    assert output == "done"


def test_amounts() -> None:
    assert amount(0.0123, "seconds") == "12.3 ms"
    assert amount(3 * 2**30, "bytes") == "3 GiB"
    assert amount(0.5 * 2**20, "bytes") == "512 KiB"


def test_page_says_what_was_reached_and_where(tmp_path: Path) -> None:
    results, docs = tmp_path / "results", tmp_path / "docs"
    results.mkdir()
    for name, bar in (("good", 3.0), ("bad", 5.0)):
        record = {"subject": "toy", **compare(toy(bar=bar)), "name": name, "title": f"A {name} toy", "machine": MACHINE}
        (results / f"{name}.json").write_text(json.dumps(record))
    (docs / "benchmarks").mkdir(parents=True)
    (docs / "benchmarks" / "gone.svg").write_text("old")
    render(results, docs)
    text = (docs / "benchmarks.md").read_text()
    assert "| A good toy | 2 s | 6 s (fast) | 4.00 | reached (goal: at least 3 times) |" in text
    assert "**not reached** (goal: at least 5 times)" in text
    assert text.count("0123456789ab+") == 1  # both results come from one machine and commit
    assert {p.name for p in (docs / "benchmarks").iterdir()} == {"good.svg", "bad.svg"}
    assert page([json.loads((results / f"{n}.json").read_text()) for n in ("bad", "good")]) == text


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run.main(["nothing"], tmp_path) == 2
    assert "loss_time" in capsys.readouterr().err


def test_committed_page_belongs_to_the_committed_results(tmp_path: Path) -> None:
    if not list(run.RESULTS.glob("*.json")):
        pytest.skip("no results yet")
    render(run.RESULTS, tmp_path)
    docs = Path(run.__file__).parent.parent / "docs"
    assert (tmp_path / "benchmarks.md").read_text() == (docs / "benchmarks.md").read_text()
