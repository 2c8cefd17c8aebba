"""DPL: where learned tokens outnumber the patches, one softmax gives them most of the attention; a fixed share should keep new classes."""

from __future__ import annotations

from claims import patch_towers as P
from claims import vector_towers as V
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.dpl import DPL
from pairwright.prompts.fit import Descent

CHECK = Check(
    id="dpl",
    card="prompts/dpl",
    claim="Where prompts would take most of the attention, a softmax and a fixed share of their own keep new classes right",
    plant="16 tokens in the image tower beside 8 patches; 8 shots of 16 base classes, shifted images",
    baseline="the same tokens in one softmax with the patches, with the same steps, at the same rate or a tenth of it, whichever is better",
    control="a single token, whose share is about a tenth by itself",
    margin=0.02,
    control_margin=0.01,
    metric="harmonic mean of base and new accuracy",
)
HAND = "a photo of a {}"
OFFSET = 3.0


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, (base, new) = P.tower(), (half[:16] for half in V.split(seed))
    look = lambda start, n: P.scenes(n, start + 100_000 * seed, OFFSET * V.direction(seed), noise=1.5)
    train, test, found = P.only(look(30_000, 800), base, shots=8), look(60_000, 800), {}
    parts = [(V.named(classes), P.only(test, classes)) for classes in (base, new)]
    for name, share, rate in (("ours", 0.1, 1e-3), ("same rate", None, 1e-3), ("tenth", None, 1e-4)):
        learner = DPL(HAND, ("image",), 16 if planted else 1, share=share, how=Descent(lr=rate, epochs=10, batch=32))
        learner.fit(model, parts[0][0], train)
        b, n = (accuracy(learner.image_features(model, x, chunk=512).z @ learner.text(model, names).W_CD.T, x.y_N) for names, x in parts)
        found |= {name: 2 * b * n / max(b + n, 1e-9), f"{name} base": b, f"{name} new": n}
    return {"baseline": max(found["same rate"], found["tenth"]), **found}
