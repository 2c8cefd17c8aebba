"""MoCoOp: where images come in two looks, a router over two contexts serves both; one fed with other images does not."""

from __future__ import annotations

from claims import prompting
from claims import vector_towers as T
from claims.prompting import HAND
from pairwright.ledger.check import Check
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent
from pairwright.prompts.mocoop import MoCoOp

CHECK = Check(
    id="mocoop",
    card="prompts/mocoop",
    claim="Where images come in two opposite looks, two contexts behind a router beat the single context of CoOp, on new classes too",
    plant="half of the images carry an offset, the other half its opposite; 8 shots of 16 base classes; templates that do not name the "
    "looks, and so no weight of what they teach; mean of three draws of classes and offset",
    baseline="CoOp from the same start, with the same steps",
    control="the router is fed with the features of other images, in training and in use",
    margin=0.025,
    control_margin=0.015,
    metric="harmonic mean of base and new accuracy",
)
GROUPS = ((HAND, "a picture of a {}"), ("an image with a {}", "here is a {}"))
HOW = Descent(epochs=20, batch=16, optimizer="adamw")
OFFSET, DRAWS = 5.0, 3


class Astray(MoCoOp):
    """The same learner, but each image is routed like another one, drawn at random."""

    def shares(self, z_BD, scale):
        return super().shares(prompting.astray(z_BD), scale)


def fixtures() -> None:
    T.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    routed = MoCoOp if planted else Astray
    learned = {"ours": routed(HAND, groups=GROUPS, gate=0.0, hold=0.0, how=HOW), "baseline": CoOp(HAND, how=HOW)}
    if planted:
        learned["taught by templates"] = MoCoOp(HAND, groups=GROUPS, how=HOW)
    each = [prompting.over_two_looks(learned, DRAWS * seed + draw, OFFSET) for draw in range(DRAWS)]
    return {name: sum(found[name] for found in each) / DRAWS for name in each[0]}
