"""PromptSRC: held to the frozen model, deep prompts that learn from partly wrong labels forget less, on new classes above all."""

from __future__ import annotations

from claims import patch_towers as P
from claims import vector_towers as V
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.deep_prefix import DeepPrefix
from pairwright.prompts.fit import Descent
from pairwright.prompts.promptsrc import PromptSRC

CHECK = Check(
    id="promptsrc",
    card="prompts/promptsrc",
    claim="With wrong labels among few shots, deep prompts held to the frozen model in three ways beat the same prompts let free",
    plant="40% of the labels of 4 shots of 16 base classes are wrong; images as in pretraining",
    baseline="the same tokens in both towers without terms and without averaging, with the same steps",
    control="all labels right",
    margin=0.03,
    control_margin=0.02,
    metric="harmonic mean of base and new accuracy",
)
HAND = "a photo of a {}"
HOW = Descent(lr=2.5e-3, epochs=15, batch=16)


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, (base, new) = P.tower(), (half[:16] for half in V.split(seed))
    look = lambda start, n: P.scenes(n, start + 100_000 * seed, noise=1.5)
    right = P.only(look(30_000, 800), base, shots=4)
    train = P.wrong_labels(right, 0.4 if planted else 0.0, len(base), seed)
    test = look(60_000, 1600)
    parts = [(V.named(classes), P.only(test, classes)) for classes in (base, new)]
    learned = {
        "ours": PromptSRC(HAND, template=HAND, how=HOW),
        "baseline": DeepPrefix(HAND, ("image", "text"), how=HOW),
        "last tokens": PromptSRC(HAND, template=HAND, centre=None, how=HOW),
    }
    found = {}
    for name, learner in learned.items():
        learner.fit(model, parts[0][0], train)
        b, n = (accuracy(learner.image_features(model, x, chunk=512).z @ learner.text(model, names).W_CD.T, x.y_N) for names, x in parts)
        found |= {name: 2 * b * n / max(b + n, 1e-9), f"{name} base": b, f"{name} new": n}
    return found
