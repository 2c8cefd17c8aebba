"""A whole comparison on cached features: heads that do not descend, 5 numbers of shots, 5 draws, 100 classes, intervals and tests."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from typing import Any

import torch

from bench.harness import Case, Entry
from pairwright.data.world.simulate import simulate
from pairwright.evaluate import scoreboard
from pairwright.evaluate.contest import contest
from pairwright.evaluate.methods import select
from pairwright.evaluate.problem import problem_of
from pairwright.evaluate.standings import standings

NOT_LINEAR = (
    "heads/cache/tip_adapter_f",
    "heads/cache/cascade_cache",
    "heads/linear/clip_adapter",
    "heads/linear/ranking_aware",
    "heads/zero_shot/sentence_attention",
    "heads/transport/lfa",
)
"""Heads that train more than a linear layer."""
SHOTS, SEEDS, CLASSES = (1, 2, 4, 8, 16), range(5), 100


def cases() -> Iterator[Case]:
    sim = simulate(0, classes=CLASSES, shots=20, width=256, test_per_class=50)
    problem = problem_of(sim.train, sim.text, sim.test)
    methods = [m for m in select(["heads"]) if m.face == "head" and m.id not in NOT_LINEAR and not m.why_not(problem)]

    def measure() -> tuple[float, Any]:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            found = contest(problem, methods, shots=SHOTS, seeds=SEEDS, out=folder, workers=torch.get_num_threads())
            scoreboard.save(standings(found), folder)
        seconds = time.perf_counter() - start
        assert not found.failed, found.failed
        assert not found.left_out, found.left_out
        return seconds, len(found.trials)

    yield Case(
        name="methods_100_classes",
        title=f"Comparison of {len(methods)} heads x {len(SHOTS)} shots x {len(SEEDS)} draws, {CLASSES} classes, 5,000 questions",
        inputs="Simulated features of width 256; every run is written to disk; intervals, paired tests, table, plot and page included.",
        cost="seconds",
        ours=Entry("pairwright", "contest(workers=…), standings, scoreboard.save", measure),
        peers=[],
        agree=lambda ours, theirs: "",
        rounds=1,
        warmups=0,
        limit=60.0,
    )
