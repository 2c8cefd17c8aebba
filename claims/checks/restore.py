"""RESTORE: with both towers' shifts kept alike, deep prompts that learn from partly wrong labels should drift less from the model."""

from __future__ import annotations

from claims import patch_towers as P
from claims import vector_towers as V
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.fit import Descent
from pairwright.prompts.restore import RESTORE, feature_shift

CHECK = Check(
    id="restore",
    card="prompts/restore",
    claim="Keeping the feature shifts of both towers alike holds deep prompts to what serves new classes",
    plant="40% of the labels of 4 shots of 16 base classes are wrong; a learning rate at which prompts drift",
    baseline="the same tokens without the consistency, with the same steps",
    control="a twentieth of the learning rate: no drift",
    margin=0.015,
    control_margin=0.005,
    metric="harmonic mean of base and new accuracy",
)
HAND = "a photo of a {}"


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, (base, new) = P.tower(), (half[:16] for half in V.split(seed))
    look = lambda start, n: P.scenes(n, start + 100_000 * seed, noise=1.5)
    train = P.wrong_labels(P.only(look(30_000, 800), base, shots=4), 0.4, len(base), seed)
    test, found = look(60_000, 1600), {}
    parts = [(V.named(classes), P.only(test, classes)) for classes in (base, new)]
    how = Descent(lr=2.5e-3 if planted else 1.25e-4, epochs=15, batch=16, first_lr=0.0)
    for name, weight in (("ours", 3.0), ("baseline", 0.0)):
        learner = RESTORE(HAND, weight=weight, surgery=0.0, how=how).fit(model, parts[0][0], train)
        b, n = (accuracy(learner.image_features(model, x, chunk=512).z @ learner.text(model, names).W_CD.T, x.y_N) for names, x in parts)
        shift = feature_shift(learner, model, parts[0][0], train)
        mismatch = float((shift["image"] - shift["text"]).abs().mean())
        found |= {name: 2 * b * n / max(b + n, 1e-9), f"{name} base": b, f"{name} new": n, f"{name} mismatch": mismatch}
    return found
