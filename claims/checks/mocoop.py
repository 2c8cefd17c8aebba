"""MoCoOp: where images come in two looks, a router over two contexts serves both; one fed with other images does not."""

from __future__ import annotations

import torch

from claims import vector_towers as T
from pairwright.core.features import Features
from pairwright.core.numerics import generator
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent
from pairwright.prompts.mocoop import MoCoOp

CHECK = Check(
    id="mocoop",
    card="prompts/mocoop",
    claim="Where images come in two opposite looks, two contexts behind a router beat the single context of CoOp, on new classes too",
    plant="half of the images carry an offset, the other half its opposite; 8 shots of 16 base classes; templates that do not name the "
    "looks, and so no weight of what they teach",
    baseline="CoOp from the same start, with the same steps",
    control="the router is fed with the features of other images, in training and in use",
    margin=0.08,
    control_margin=0.03,
    metric="harmonic mean of base and new accuracy",
)
HAND = "a photo of a {}"
GROUPS = ((HAND, "a picture of a {}"), ("an image with a {}", "here is a {}"))
HOW = Descent(epochs=15, batch=16)
OFFSET = 6.0


class Astray(MoCoOp):
    """The same learner, but each image is routed like another one, drawn at random."""

    def shares(self, z_BD, scale):
        return super().shares(z_BD[torch.randperm(len(z_BD), generator=generator("astray", len(z_BD), float(z_BD.sum())))], scale)


def fixtures() -> None:
    T.tower()


def two_looks(model, n: int, start: int, seed: int) -> Features:
    """Features of n scenes whose offset is one direction or its opposite, at random for each."""
    sign_N = torch.randint(2, (n, 1), generator=generator("looks", seed, start)) * 2.0 - 1
    return T.scenes(model, n, start + 100_000 * seed, OFFSET * sign_N * T.direction(seed))


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, halves = T.tower(), [half[:16] for half in T.split(seed)]
    train, test = T.only(two_looks(model, 2000, 30_000, seed), halves[0], shots=8), two_looks(model, 1200, 60_000, seed)
    learned = {
        "ours": (MoCoOp if planted else Astray)(HAND, groups=GROUPS, gate=0.0, hold=0.0, how=HOW),
        "baseline": CoOp(HAND, how=HOW),
    }
    if planted:
        learned["taught by templates"] = MoCoOp(HAND, groups=GROUPS, how=HOW)
    found = {}
    for name, learner in learned.items():
        learner.fit(model, T.named(halves[0]), train)
        b, n = (accuracy(logits_of(learner, model, T.named(c), x), x.y) for c in halves for x in [T.only(test, c)])
        found |= {name: 2 * b * n / max(b + n, 1e-9), f"{name} base": b, f"{name} new": n}
    return found


def logits_of(learner: CoOp, model, names: list[str], x: Features) -> torch.Tensor:
    return learner.logits(model, names, x) if isinstance(learner, MoCoOp) else x.z @ learner.text(model, names).W_CD.T
