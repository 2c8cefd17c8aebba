"""Us and the peers in turn, in one run, on the same inputs: several rounds, medians, spread, the ratio, and whether the answers agree."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

Measure = Callable[[], tuple[float, Any]]


@dataclass(frozen=True)
class Entry:
    """One contestant. call: what it does, in its user's words. measure: one run -> (cost, output); the smaller cost wins."""

    name: str
    call: str
    measure: Measure


@dataclass(frozen=True)
class Case:
    """One comparison.

    name: of the result file. cost: what is measured ("seconds", "bytes"). agree(ours, theirs): says in a few words how well the outputs
    agree, and raises AssertionError where they do not. bar: the least ratio peer / ours that we promise. limit: the largest cost that we
    promise. work: floating-point operations of one run of ours, for a figure in GFLOP/s, and peak: the precision that they run in.
    note: what bounds us. inputs: what was asked.
    """

    name: str
    title: str
    cost: str
    ours: Entry
    peers: Sequence[Entry]
    agree: Callable[[Any, Any], str]
    rounds: int = 5
    warmups: int = 1
    bar: float | None = None
    limit: float | None = None
    work: float | None = None
    peak: str = "fp32"
    note: str = ""
    inputs: str = ""


@dataclass(frozen=True)
class Figure:
    """One plot of a quantity against a setting, where no peer is raced. series: name -> points (x, y), of one run each."""

    name: str
    title: str
    x: str
    y: str
    series: dict[str, list[tuple[float, float]]]
    inputs: str = ""
    note: str = ""

    def record(self) -> dict[str, Any]:
        return {"kind": "figure", **asdict(self)}


def timed(run: Callable[[], Any]) -> Measure:
    """Seconds of one call by the wall clock."""

    def measure() -> tuple[float, Any]:
        start = time.perf_counter()
        output = run()
        return time.perf_counter() - start, output

    return measure


def compare(case: Case) -> dict[str, Any]:
    """Measure all contestants of a case, interleaved, and return the record that is written and rendered."""
    entries = (case.ours, *case.peers)
    outputs: dict[str, Any] = {}
    for _ in range(case.warmups):
        for e in entries:
            outputs[e.name] = e.measure()[1]
    costs: dict[str, list[float]] = {e.name: [] for e in entries}
    for round_ in range(case.rounds):
        for e in entries if round_ % 2 == 0 else reversed(entries):  # nobody always runs in another's warm cache
            cost, output = e.measure()
            costs[e.name].append(cost)
            outputs.setdefault(e.name, output)
    agreement = {p.name: case.agree(outputs[case.ours.name], outputs[p.name]) for p in case.peers}
    middle = {name: median(values) for name, values in costs.items()}
    best = min((p.name for p in case.peers), key=middle.__getitem__, default=None)
    ratio = None if best is None else median(t / o for o, t in zip(costs[case.ours.name], costs[best], strict=True))
    reached = [ratio >= case.bar] if case.bar is not None and ratio is not None else []
    reached += [middle[case.ours.name] <= case.limit] if case.limit is not None else []
    return {
        "name": case.name,
        "title": case.title,
        "inputs": case.inputs,
        "cost": case.cost,
        "rounds": case.rounds,
        "entries": [summary(e, costs[e.name]) for e in entries],
        "best_peer": best,
        "ratio": ratio,
        "bar": case.bar,
        "limit": case.limit,
        "reached": all(reached) if reached else None,
        "gflops": case.work / middle[case.ours.name] / 1e9 if case.work else None,
        "peak": case.peak,
        "agreement": agreement,
        "note": case.note,
    }


def summary(e: Entry, costs: Sequence[float]) -> dict[str, Any]:
    return {"name": e.name, "call": e.call, "median": median(costs), "spread": spread(costs), "costs": list(costs)}


def spread(values: Sequence[float]) -> float:
    """Distance between the quartiles over the median."""
    if len(values) < 2:
        return 0.0
    low, _, high = quantiles(values, n=4, method="inclusive")
    return (high - low) / median(values) if median(values) else 0.0
