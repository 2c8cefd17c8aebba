"""HyperAdapter: adapters from one generator learn what the tasks share; an adapter for each task sees only its own few labels."""

from __future__ import annotations

from claims import many_tasks as M
from claims import patch_towers as T
from pairwright.ledger.check import Check
from pairwright.recipes.fm3 import FM3

CHECK = Check(
    id="hyper_adapter",
    card="tune/weights/hyper_adapter",
    claim="With 8 labels a class, six tasks that suffer from the same disturbances are learnt better by one generator of adapters "
    "than by an adapter for each task.",
    plant="6 tasks of 8 classes in images moved at random along four directions, the same for all tasks",
    baseline="a generator with one task, which is an ordinary adapter, for each task: the same rows, steps and rate",
    control="four directions of its own for each task: there is nothing to share",
    margin=0.03,
    control_margin=0.01,
    seeds=3,
    need=3,
    metric="mean accuracy over tasks",
)
HOW = {"pair_steps": 0, "steps": 40, "lr": 1e-3, "reduction": 2, "precision": "fp32"}


def fixtures() -> None:
    T.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    given = M.tasks(seed, related=planted, n=6)
    alone = [M.accuracy(FM3(**HOW), {name: task}) for name, task in given.items()]
    return {"ours": M.accuracy(FM3(**HOW), given), "baseline": sum(alone) / len(alone)}
