"""RESTORE: with both towers' shifts kept alike, deep prompts that learn from partly wrong labels should serve new classes better."""

from __future__ import annotations

from claims import patch_towers as P
from claims import vector_towers as V
from claims.prompting import HAND, figures
from pairwright.ledger.check import Check
from pairwright.prompts.fit import Descent
from pairwright.prompts.restore import RESTORE, feature_shift

CHECK = Check(
    id="restore",
    card="prompts/restore",
    claim="Keeping the feature shifts of both towers alike holds deep prompts to what serves new classes",
    plant="40% of the labels of 4 shots of 16 base classes are wrong, so that prompts drift, one tower further than the other",
    baseline="the same tokens without the consistency, with the same steps",
    control="all labels right: hardly any drift",
    margin=0.015,
    control_margin=0.005,
    metric="harmonic mean of base and new accuracy",
)
HOW = Descent(lr=1e-2, epochs=20, batch=16, optimizer="adamw")


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, (base, new) = P.tower(), (half[:16] for half in V.split(seed))
    look = lambda start, n: P.scenes(n, start + 100_000 * seed, noise=1.5)
    train = P.wrong_labels(P.only(look(30_000, 800), base, shots=4), 0.4 if planted else 0.0, len(base), seed)
    test, found = look(60_000, 1600), {}
    parts = [(V.named(classes), P.only(test, classes)) for classes in (base, new)]
    for name, weight in (("ours", 3.0), ("baseline", 0.0)):
        learner = RESTORE(HAND, weight=weight, surgery=0.0, how=HOW).fit(model, parts[0][0], train)
        seen = [(names, learner.image_features(model, x, chunk=512)) for names, x in parts]
        shift = feature_shift(learner, model, parts[0][0], train)
        found |= {**figures(name, learner, model, seen), f"{name} mismatch": float((shift["image"] - shift["text"]).abs().mean())}
    return found
