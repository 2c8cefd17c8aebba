"""A whole comparison on cached features: heads that do not descend, 5 numbers of shots, 5 draws, 100 classes, intervals and tests."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from typing import Any

from bench.harness import Case, Entry
from pairwright.data.world.simulate import simulate
from pairwright.evaluate import scoreboard
from pairwright.evaluate.contest import contest
from pairwright.evaluate.methods import select
from pairwright.evaluate.problem import problem_of
from pairwright.evaluate.standings import standings

HEADS = ("tip_adapter", "ape", "tip_x", "proker", "gda", "logistic", "prompt_ensemble", "description_ensemble")
SHOTS, SEEDS, CLASSES = (1, 2, 4, 8, 16), range(5), 100


def cases() -> Iterator[Case]:
    sim = simulate(0, classes=CLASSES, shots=20, width=256, test_per_class=50)
    methods = select(["heads"], HEADS)

    def measure() -> tuple[float, Any]:
        problem = problem_of(sim.train, sim.text, sim.test)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            found = contest(problem, methods, shots=SHOTS, seeds=SEEDS, out=folder)
            scoreboard.save(standings(found), folder)
        seconds = time.perf_counter() - start
        assert not found.failed, found.failed
        assert not found.left_out, found.left_out
        heads = sum(t.seconds_fit + t.seconds_ask for t in found.trials)
        print(f"  of {seconds:.1f} s the heads took {heads:.1f} s")
        return seconds, len(found.trials)

    yield Case(
        name="methods_100_classes",
        title=f"Comparison of {len(methods)} heads x {len(SHOTS)} shots x {len(SEEDS)} draws, {CLASSES} classes, 5,000 questions",
        inputs="Simulated features of width 256; every run is written to disk; intervals, paired tests, table, plot and page included.",
        cost="seconds",
        ours=Entry("pairwright", "contest, standings, scoreboard.save", measure),
        peers=[],
        agree=lambda ours, theirs: "",
        rounds=1,
        warmups=0,
        limit=60.0,
    )
