"""CLIP-Adapter: its network reads class evidence that no linear map can."""

from __future__ import annotations

from pairwright.data.world.simulate import simulate
from pairwright.heads.inputs import accuracy
from pairwright.heads.linear.clip_adapter import ClipAdapter
from pairwright.heads.transport.lfa import LFA
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.ledger.check import Check

CHECK = Check(
    id="clip_adapter",
    card="heads/linear/clip_adapter",
    claim="Where a hidden factor flips the sign of each class's direction, a residual network learns the classes and a linear map does not",
    plant="0.95 of a class's signal lies along a direction of its own with a random sign; 16 shots of 10 classes",
    baseline="LFA, the best linear map towards the same text; neither uses validation rows",
    control="no such factor",
    margin=0.10,
    control_margin=0.02,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    sim = simulate(seed, classes=10, within=1.2, anisotropy=0.0, text_noise=0.5, modes=0.95 if planted else 0.0)
    score = lambda head: accuracy(head.fit(sim.train, sim.text).logits(sim.test), sim.test.y)
    return {"ours": score(ClipAdapter()), "baseline": score(LFA()), "zero_shot": score(ZeroShot())}
