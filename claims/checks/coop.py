"""CoOp: a context learned on some classes takes up what is common to all images, and carries it to classes that it never saw."""

from __future__ import annotations

from claims import vector_towers as T
from claims.prompting import HAND
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent
from pairwright.prompts.tokens import hand_text

CHECK = Check(
    id="coop",
    card="prompts/coop",
    claim="Where all images are shifted alike, a context learned from 32 classes beats the hand-written prompt, on 32 new classes too",
    plant="a common offset of the image vectors that pretraining never saw; 8 shots of 32 base classes",
    baseline="the hand-written prompt that pretraining used; the start of the context; nothing is tuned",
    control="no offset",
    margin=0.03,
    control_margin=0.015,
    metric="accuracy of the half of the classes on which learning gains less",
)
OFFSET = 3.0


def fixtures() -> None:
    T.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, (base, new) = T.tower(), T.split(seed)
    offset = (OFFSET if planted else 0.0) * T.direction(seed)
    look = lambda start, n: T.scenes(model, n, start + 100_000 * seed, offset, noise=1.5)
    learner = CoOp(HAND, how=Descent(epochs=10)).fit(model, T.named(base), T.only(look(30_000, 2000), base, shots=8))
    test, found = look(60_000, 3000), {}
    for name, classes in (("base", base), ("new", new)):
        x, names = T.only(test, classes), T.named(classes)
        found[name] = accuracy(x.z @ learner.text(model, names).W_CD.T, x.y)
        found[f"hand {name}"] = accuracy(x.z @ hand_text(model, names, HAND).T, x.y)
    worse = min(("base", "new"), key=lambda name: found[name] - found[f"hand {name}"])
    return {"ours": found[worse], "baseline": found[f"hand {worse}"], **found}
