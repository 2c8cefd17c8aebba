"""LiT: from few pairs a text tower learns to read a good image tower best when that one is locked."""

from __future__ import annotations

import torch

from claims import tuning as P
from claims import vector_towers as T
from pairwright.core.numerics import generator
from pairwright.ledger.check import Check
from pairwright.tune.weights.lock_tower import LockTower

CHECK = Check(
    id="lock_tower",
    card="tune/weights/lock_tower",
    claim="With few pairs, locking a trained image tower gives a better zero-shot classifier of unseen classes than training both towers.",
    plant="a trained image tower, a new text tower, pairs of 48 of 64 classes; tested on the other 16",
    baseline="both towers trained on the same pairs with the same steps",
    control="the image tower is new as well: locking it locks what is no good",
    margin=0.02,
    control_margin=0.0,
)
PAIRS, STEPS = 150, 60


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    order = torch.randperm(len(T.NAMES), generator=generator("lit", seed))
    seen, unseen = order[:48].sort().values, order[48:].sort().values
    pairs = P.only(P.scenes(PAIRS, 30_000 + 10_000 * seed), seen)
    test = P.only(P.scenes(1500, 500_000 + 10_000 * seed), unseen)

    def score(**how) -> float:
        model = P.untrained(1000 + seed).eval().requires_grad_(False)
        if planted:
            model.towers["image"].load_state_dict(P.tower().towers["image"].state_dict())
        P.tune(model, pairs, T.named(seen), 3e-3, STEPS, seed=seed, **how)
        return P.accuracy(model, test, T.named(unseen))

    return {"ours": score(modifiers=[LockTower("image")]), "baseline": score(trainable=P.towers_only)}
