"""LP++: blending the text into a probe carries it where shots are too few to learn from."""

from __future__ import annotations

from dataclasses import replace

from pairwright.data.world.simulate import simulate
from pairwright.heads.inputs import accuracy
from pairwright.heads.linear.blend_probe import BlendProbe
from pairwright.heads.linear.logistic import Logistic
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.ledger.check import Check

CHECK = Check(
    id="blend_probe",
    card="heads/linear/blend_probe",
    claim="With one shot a class, a probe blended with the class text beats a probe without it",
    plant="class text right for half of the classes and poor for the others; one shot; features with a common mean, as CLIP's have",
    baseline="logistic regression on the same shots; no validation rows",
    control="the class texts are permuted, so that they know nothing",
    margin=0.10,
    control_margin=0.0,
)


def arms(seed: int, planted: bool) -> dict[str, float]:
    sim = simulate(seed, shots=1, within=1.5, text_noise=1.4, uneven=0.9, offset=2.0, scale=48.0)
    text = sim.text if planted else replace(sim.text, W_CD=sim.text.W_CD.roll(1, 0), prompts_CPD=None)
    head = BlendProbe().fit(sim.train, text)
    score = lambda head: accuracy(head.fit(sim.train, text).logits(sim.test), sim.test.y)
    return {
        "ours": accuracy(head.logits(sim.test), sim.test.y),
        "baseline": score(Logistic()),
        "zero_shot": score(ZeroShot()),
        "spread_of_alpha": float(head.alpha_.std() / head.alpha_.mean()),
    }
