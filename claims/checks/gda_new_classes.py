"""GDA on new classes: the covariance of the labelled classes whitens images of classes that have no label at all."""

from __future__ import annotations

from pairwright.data.world.simulate import simulate
from pairwright.heads.inputs import accuracy
from pairwright.heads.linear.gda import GDA
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.ledger.check import Check

CHECK = Check(
    id="gda_new_classes",
    card="heads/linear/gda",
    claim="A mean made from a new class's text and the labelled rows near it, whitened by the covariance of other classes, beats its text",
    plant="20 classes with 16 shots and 20 with a name only; variation inside classes has a steep spectrum, the same for all",
    baseline="zero-shot among the new classes (as is GDA whose new classes take the mean of all rows)",
    control="round variation (anisotropy 0)",
    margin=0.1,
    control_margin=0.02,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    sim = simulate(seed, classes=40, anisotropy=1.0 if planted else 0.0)
    train, test = sim.train.rows(sim.train.y < 20), sim.test.rows(sim.test.y >= 20)
    new = lambda head: accuracy(head.fit(train, sim.text).logits(test)[:, 20:], test.y - 20)
    joint = lambda head: accuracy(head.fit(train, sim.text).logits(sim.test), sim.test.y)
    return {
        "ours": new(GDA()),
        "baseline": new(ZeroShot()),
        "new, one mean for all": new(GDA(near=0)),
        "all 40 classes": joint(GDA()),
        "all 40 classes, one mean for all new": joint(GDA(near=0)),
        "all 40 classes, zero-shot": joint(ZeroShot()),
    }
