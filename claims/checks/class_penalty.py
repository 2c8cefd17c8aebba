"""CLAP: holding each class as tightly as its text deserves beats holding all alike."""

from __future__ import annotations

from pairwright.data.world.simulate import simulate
from pairwright.heads.inputs import accuracy
from pairwright.heads.linear.class_penalty import ClassPenalty
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.ledger.check import Check

CHECK = Check(
    id="class_penalty",
    card="heads/linear/class_penalty",
    claim="Where some class texts are good and others bad, penalties from zero-shot confidence beat one penalty of the same mean",
    plant="half of the class texts almost right, half almost useless; 4 shots a class",
    baseline="the same probe with the mean of the penalties for every class; no validation rows",
    control="all class texts equally good",
    margin=0.01,
    control_margin=0.01,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    planting = {"text_noise": 2.1, "uneven": 0.99} if planted else {"text_noise": 1.0}
    sim = simulate(seed, shots=4, within=2.0, anisotropy=0.0, prompt_noise=0.0, **planting)
    score = lambda head: accuracy(head.fit(sim.train, sim.text).logits(sim.test), sim.test.y)
    return {
        "ours": score(ClassPenalty()),
        "baseline": score(ClassPenalty(adaptive=False)),
        "no_penalty": score(ClassPenalty(strength=0.0)),
        "zero_shot": score(ZeroShot()),
    }
