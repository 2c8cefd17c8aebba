"""The runner: the status rule by hand, the bootstrap against its closed form, a real child process, and its time limit."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from pairwright.ledger import claims
from pairwright.ledger.build import build, generate
from pairwright.ledger.check import Check
from pairwright.ledger.claims import CheckFailed, bootstrap, is_stale, run_check, verdict


def a_check(**more: object) -> Check:
    base = {"id": "x", "card": "a/b", "claim": "c", "plant": "p", "baseline": "b", "control": "k", "margin": 0.1, "control_margin": 0.02}
    return Check(**{**base, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gains", "control", "expected"),
    [
        ([0.2, 0.1, 0.3, 0.1, 0.0], [0.0, 0.02], ("shown", 4)),
        ([0.2, 0.2, 0.2, 0.2, 0.2], [0.1, 0.0], ("partly", 5)),
        ([0.9, 0.9, 0.9, 0.0, 0.0], [0.0, 0.0], ("not_shown", 3)),
        ([0.2, 0.2, 0.2, 0.2, 0.2], [-0.5, -0.5], ("shown", 5)),
        ([0.2, 0.0], [0.0], ("not_shown", 1)),  # two seeds: 4 of 5 means both
        ([0.2, 0.2], [0.0], ("shown", 2)),
    ],
)
def test_verdict(gains: list[float], control: list[float], expected: tuple[str, int]) -> None:
    assert verdict(a_check(), gains, control) == expected


def test_lower_is_better_turns_the_sign() -> None:
    arms = {"ours": 1.0, "baseline": 3.0}
    assert a_check().advantage(arms) == -2.0
    assert a_check(higher_is_better=False).advantage(arms) == 2.0


@pytest.mark.parametrize("bad", [{"need": 6}, {"margin": 0.0}, {"limit_seconds": 90.0}])
def test_a_check_that_cannot_fail_or_last_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        a_check(**bad)


def test_bootstrap_agrees_with_the_normal_limit() -> None:
    values = np.random.default_rng(1).normal(0.3, 0.1, 400)
    low, high = bootstrap(values.tolist())
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert bootstrap([0.4] * 5) == (pytest.approx(0.4), pytest.approx(0.4))


def test_a_run_writes_its_result_and_goes_stale(checkout: Path) -> None:
    result = run_check("nearest_mean", root=checkout, threads=1)
    assert json.loads((checkout / "claims/results/nearest_mean.json").read_text()) == result
    assert (result["status"], result["k"], result["n"]) == ("shown", 4, 4)
    assert result["advantage"] == pytest.approx(0.2 + (0 + 1 + 2 + 3) / 400)
    assert result["control_advantage"] == pytest.approx(0.01)
    assert result["seeds"]["planted"]["ours"] == [0.7, 0.71, 0.72, 0.73]
    assert result["versions"]["python"]
    assert (result["commit"], result["dirty"]) == ("", True)

    assert not is_stale(checkout, "nearest_mean")
    build(checkout)
    rows = json.loads((checkout / "src/pairwright/_index.json").read_text())["entries"]
    assert rows[0]["status"] == "shown"
    assert rows[0]["results"]["nearest_mean"]["k"] == 4
    helper = checkout / "src/pairwright/core/helper.py"
    helper.write_text(helper.read_text().replace("2 * x", "x + x"))
    assert is_stale(checkout, "nearest_mean")
    build(checkout)
    assert json.loads((checkout / "src/pairwright/_index.json").read_text())["entries"][0]["status"] == "stale"


def test_fewer_seeds_are_not_a_result(checkout: Path) -> None:
    assert run_check("nearest_mean", root=checkout, seeds=1, threads=1)["n"] == 1
    assert not (checkout / "claims/results").exists()


def test_the_time_limit_kills(checkout: Path) -> None:
    file = checkout / "claims/checks/nearest_mean.py"
    burn = (
        "import time\n\n\ndef burn(seconds):\n    end = time.process_time() + seconds\n    while time.process_time() < end:\n        pass\n"
    )
    text = file.read_text().replace("limit_seconds=20", "limit_seconds=1").replace("def arms", f"{burn}\n\ndef arms")
    # fixtures may take longer than the limit, runs may not
    file.write_text(text.replace("    print(", "    burn(0.8)\n    print(") + "\n\ndef fixtures():\n    burn(2.4)\n")
    start = time.perf_counter()
    with pytest.raises(CheckFailed, match=r"more than its limit of 1 s on 2 cores; it was stopped after [0-3] of 8 runs"):
        run_check("nearest_mean", root=checkout, threads=1)
    assert time.perf_counter() - start < 60
    assert not (checkout / "claims/results").exists()


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('return {"ours"', 'raise OSError("no disk")\n    return {"ours"', "no disk"),
        ('"baseline": 0.5}', '"baseline": float("nan")}', "not finite"),
        ('"baseline": 0.5}', '"other": 0.5}', "lacks"),
    ],
)
def test_a_failing_check_says_why(checkout: Path, old: str, new: str, complaint: str) -> None:
    file = checkout / "claims/checks/nearest_mean.py"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(CheckFailed, match=complaint):
        run_check("nearest_mean", root=checkout, threads=1)


def test_unknown_names_are_answered_with_the_known_ones(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="there are: nearest_mean"):
        run_check("nearest_meen", root=checkout)
    monkeypatch.setattr(claims, "check_files", lambda root=None: {})
    assert claims.main(["nope"]) == 2
    assert "no check 'nope'" in capsys.readouterr().err


def test_card_and_check_have_to_name_each_other(checkout: Path) -> None:
    assert generate(checkout)[2] == []
    (checkout / "claims/checks/nearest_mean.py").rename(checkout / "claims/checks/other.py")
    assert sorted(generate(checkout)[2]) == [
        "claims/checks/other.py:1: no card names it: add 'mechanism:other' to the checks of its card",
        "heads/linear/nearest_mean.py:1: the card names the check 'nearest_mean', but claims/checks/nearest_mean.py does not exist",
    ]
