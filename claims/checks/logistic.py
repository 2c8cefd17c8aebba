"""The linear probe: labels alone overtake zero-shot where class names say little."""

from __future__ import annotations

from pairwright.data.world.simulate import simulate
from pairwright.heads.linear.logistic import Logistic
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.ledger.check import Check
from pairwright.metrics.topk_accuracy import topk_accuracy

CHECK = Check(
    id="logistic",
    card="heads/linear/logistic",
    claim="A linear probe on 16 shots, its penalty set without validation, beats zero-shot when class text is poor.",
    plant="class text is wrong by 1.5 times its length",
    baseline="zero-shot",
    control="class text has no error: a probe that never sees text must not beat it",
    margin=0.15,
    control_margin=0.0,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    how = {"text_noise": 1.5} if planted else {"text_noise": 0.0, "prompt_noise": 0.0}
    sim = simulate(seed, **how)
    score = lambda head: topk_accuracy(head.logits(sim.test), sim.test.y)
    two = simulate(seed, shots=2, **how)
    return {
        "ours": score(Logistic().fit(sim.train)),
        "baseline": score(ZeroShot().fit(None, sim.text)),
        "ours at 2 shots": score(Logistic().fit(two.train)),
    }
