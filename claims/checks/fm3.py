"""FM3: contrastive pairs from the few rows of all tasks, before the adapters, teach the towers what the tasks have in common."""

from __future__ import annotations

from claims import many_tasks as M
from claims import patch_towers as T
from pairwright.ledger.check import Check
from pairwright.recipes.fm3 import FM3

CHECK = Check(
    id="fm3",
    card="recipes/fm3",
    claim="Contrastive tuning on pairs of few labelled rows before adapters and heads raises the accuracy over tasks.",
    plant="4 tasks of 8 classes named in three invented languages, 8 labels a class, behind disturbances that all tasks share",
    baseline="adapters and heads without the contrastive stage",
    control="the training labels are exchanged at random: pairs say nothing",
    margin=0.05,
    control_margin=0.02,
    seeds=3,
    need=3,
    metric="mean accuracy over tasks",
)
HOW = {"pair_lr": 1e-3, "steps": 20, "lr": 1e-3, "reduction": 2, "precision": "fp32"}


def fixtures() -> None:
    T.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    given = M.tasks(seed, shuffled=not planted)
    return {"ours": M.accuracy(FM3(pair_steps=30, **HOW), given), "baseline": M.accuracy(FM3(pair_steps=0, **HOW), given)}
