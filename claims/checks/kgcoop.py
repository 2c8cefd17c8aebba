"""KgCoOp: held near the hand-written prompt, a context learned from partly wrong labels forgets less."""

from __future__ import annotations

from claims import vector_towers as T
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent
from pairwright.prompts.kgcoop import KgCoOp
from pairwright.prompts.tokens import hand_text

CHECK = Check(
    id="kgcoop",
    card="prompts/kgcoop",
    claim="With wrong labels among few shots, holding the class text near the hand-written prompt's keeps base and new classes right",
    plant="40% of the labels of 4 shots of 32 base classes are wrong; images as in pretraining",
    baseline="CoOp from the same start, with the same steps",
    control="all labels right",
    margin=0.015,
    control_margin=0.01,
    metric="harmonic mean of base and new accuracy",
)
HAND = "a photo of a {}"
HOW = Descent(epochs=15)


def fixtures() -> None:
    T.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, (base, new) = T.tower(), T.split(seed)
    look = lambda start, n: T.scenes(model, n, start + 100_000 * seed, noise=1.5)
    train = T.wrong_labels(T.only(look(30_000, 2000), base, shots=4), 0.4 if planted else 0.0, len(base), seed)
    parts = [(T.named(classes), T.only(look(60_000, 3000), classes)) for classes in (base, new)]
    learned = {
        "ours": KgCoOp(HAND, how=HOW, template=HAND).fit(model, parts[0][0], train),
        "baseline": CoOp(HAND, how=HOW).fit(model, parts[0][0], train),
    }
    found = {}
    for name, learner in learned.items():
        b, n = (accuracy(x.z @ learner.text(model, names).W_CD.T, x.y) for names, x in parts)
        found |= {name: 2 * b * n / (b + n), f"{name} base": b, f"{name} new": n}
    b, n = (accuracy(x.z @ hand_text(model, names, HAND).T, x.y) for names, x in parts)
    return {**found, "hand": 2 * b * n / (b + n)}
