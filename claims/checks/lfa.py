"""LFA: one linear map undoes a turn of the image space against the text space."""

from __future__ import annotations

from pairwright.data.world.simulate import simulate
from pairwright.heads.cache.tip_adapter import TipAdapter
from pairwright.heads.inputs import accuracy
from pairwright.heads.transport.lfa import LFA
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.ledger.check import Check

CHECK = Check(
    id="lfa",
    card="heads/transport/lfa",
    claim="Where the image space is turned against the text space, a linear map learned from a few shots finds the classes again",
    plant="text turned by 54 degrees in 32 random planes, otherwise exact; 16 shots of 20 classes",
    baseline="zero-shot",
    control="nothing turned",
    margin=0.10,
    control_margin=0.02,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    sim = simulate(seed, within=2.0, anisotropy=0.0, text_noise=0.0, prompt_noise=0.0, rotation=0.6 if planted else 0.0)
    score = lambda head: accuracy(head.fit(sim.train, sim.text).logits(sim.test), sim.test.y)
    tip = accuracy(TipAdapter().fit(sim.train, sim.text, val=sim.val).logits(sim.test), sim.test.y)
    return {"ours": score(LFA()), "baseline": score(ZeroShot()), "tip_adapter": tip, "procrustes": score(LFA(beta=0.0, steps=0))}
