"""CoCoOp: where images come in two looks, a context that follows the image serves both; one fed with other images does not."""

from __future__ import annotations

import torch

from claims import vector_towers as T
from pairwright.core.features import Features
from pairwright.core.numerics import generator
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.cocoop import CoCoOp
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent

CHECK = Check(
    id="cocoop",
    card="prompts/cocoop",
    claim="Where images come in two opposite looks, a context that each image shifts beats the single context of CoOp, on new classes too",
    plant="half of the images carry an offset, the other half its opposite; 8 shots of 16 base classes",
    baseline="CoOp from the same start, with as many steps of the same size",
    control="the network is fed with the features of other images, in training and in use",
    margin=0.03,
    control_margin=0.01,
    metric="harmonic mean of base and new accuracy",
)
HAND = "a photo of a {}"
HOW = Descent(epochs=8, batch=8)
OFFSET = 2.5


class Astray(CoCoOp):
    """The same learner, but each image takes the tokens of another one, drawn at random."""

    def shift(self, z_BD):
        return super().shift(z_BD[torch.randperm(len(z_BD), generator=generator("astray", len(z_BD), float(z_BD.sum())))])


def fixtures() -> None:
    T.tower()


def two_looks(model, n: int, start: int, seed: int) -> Features:
    """Features of n scenes whose offset is one direction or its opposite, at random for each."""
    sign_N = torch.randint(2, (n, 1), generator=generator("looks", seed, start)) * 2.0 - 1
    return T.scenes(model, n, start + 100_000 * seed, OFFSET * sign_N * T.direction(seed))


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, (base, new) = T.tower(), (half[:16] for half in T.split(seed))
    train = T.only(two_looks(model, 2000, 30_000, seed), base, shots=8)
    test = two_looks(model, 1200, 60_000, seed)
    names = T.named(base)
    learned = {"ours": (CoCoOp if planted else Astray)(HAND, how=HOW), "baseline": CoOp(HAND, how=HOW)}
    found = {}
    for name, learner in learned.items():
        learner.fit(model, names, train)
        b, n = (accuracy(logits_of(learner, model, T.named(c), x), x.y) for c in (base, new) for x in [T.only(test, c)])
        found |= {name: 2 * b * n / max(b + n, 1e-9), f"{name} base": b, f"{name} new": n}
    return found


def logits_of(learner: CoOp, model, names: list[str], x: Features) -> torch.Tensor:
    return learner.logits(model, names, x) if isinstance(learner, CoCoOp) else x.z @ learner.text(model, names).W_CD.T
