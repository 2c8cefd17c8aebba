"""TaskRes: starting from the class text and learning a residual beats learning a classifier from nothing."""

from __future__ import annotations

from dataclasses import replace

from pairwright.data.world.simulate import simulate
from pairwright.heads.inputs import accuracy
from pairwright.heads.linear.logistic import Logistic
from pairwright.heads.linear.text_residual import TextResidual
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.ledger.check import Check

CHECK = Check(
    id="text_residual",
    card="heads/linear/text_residual",
    claim="With few shots, a residual on the class text beats a linear probe that does not know the text",
    plant="class text that is right up to an error of its own for each class; 4 shots a class",
    baseline="logistic regression on the same shots; neither uses validation rows",
    control="the class texts are permuted, so that they know nothing",
    margin=0.05,
    control_margin=0.0,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    sim = simulate(seed, shots=4)
    text = sim.text if planted else replace(sim.text, W_CD=sim.text.W_CD.roll(1, 0), prompts_CPD=None)
    score = lambda head: accuracy(head.fit(sim.train, text).logits(sim.test), sim.test.y)
    return {"ours": score(TextResidual()), "baseline": score(Logistic()), "zero_shot": score(ZeroShot())}
