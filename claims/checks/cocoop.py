"""CoCoOp: where images come in two looks, a context that follows the image serves both; one fed with other images does not."""

from __future__ import annotations

from claims import prompting
from claims import vector_towers as T
from pairwright.ledger.check import Check
from pairwright.prompts.cocoop import CoCoOp
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent

CHECK = Check(
    id="cocoop",
    card="prompts/cocoop",
    claim="Where images come in two opposite looks, a context that each image shifts beats the single context of CoOp, on new classes too",
    plant="half of the images carry an offset that pretraining never saw, the other half its opposite; 8 shots of 16 base classes",
    baseline="CoOp from the same start, with as many steps of the same size",
    control="the network is fed with the features of other images, in training and in use",
    margin=0.02,
    control_margin=0.01,
    metric="harmonic mean of base and new accuracy",
)
HOW = Descent(epochs=16, batch=16, optimizer="adamw")


class Astray(CoCoOp):
    """The same learner, but each image takes the tokens of another one, drawn at random."""

    def shift(self, z_BD):
        return super().shift(prompting.astray(z_BD))


def fixtures() -> None:
    T.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    ours = CoCoOp if planted else Astray
    return prompting.over_two_looks({"ours": ours(prompting.HAND, how=HOW), "baseline": CoOp(prompting.HAND, how=HOW)}, seed, 4.5)
