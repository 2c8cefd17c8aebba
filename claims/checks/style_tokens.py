"""StyLIP: prompts made from style statistics serve a style that was never seen; made from other images' statistics they do not."""

from __future__ import annotations

from claims import patch_towers as P
from claims import style_domains as S
from claims import vector_towers as V
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent
from pairwright.prompts.style_tokens import StyleTokens

CHECK = Check(
    id="style_tokens",
    card="prompts/style_tokens",
    claim="Learned on three styles, prompts made from an image's style statistics classify a fourth style better than one context does",
    plant="a style is two offsets of the pixels, each one way or the other, of any strength; 10 shots of 8 "
    "classes in three styles, tested in the fourth",
    baseline="CoOp on the three styles together, from the same start, with as many steps",
    control="each image carries the style statistics of an image of any style and class, in training and in use",
    margin=0.05,
    control_margin=0.02,
    metric="accuracy in the style that was held out, mean over two of the four",
)
HAND = "a photo of a {}"
HOW = Descent(lr=3e-3, epochs=10, batch=32, optimizer="adamw", decay=0.0)
LOOK = {"size": 4.0, "noise": 1.0}


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, classes = P.tower(), V.split(seed)[0][:8]
    names, found = V.named(classes), {}
    train = [S.rows(model, classes, k, seed, start=30_000, n=1500, shots=10, **LOOK) for k in range(4)]
    for held in (seed % 4, (seed + 2) % 4):
        known = [x for k, x in enumerate(train) if k != held]
        pooled, test = S.join(known), S.rows(model, classes, held, seed, start=60_000, n=500, **LOOK)
        ways = {"ours": (pooled, test)}
        if planted:
            alike = S.join([S.borrow(x, x, seed, k) for k, x in enumerate(known)])
            ways["statistics of others in the same style"] = (alike, S.borrow(test, test, seed, "test"))
        else:
            every = S.join(train)
            ways["ours"] = (S.borrow(pooled, every, seed), S.borrow(test, every, seed, "test"))
        coop = CoOp(HAND, how=HOW).fit(model, names, pooled)
        right = {"baseline": accuracy(test.z @ coop.text(model, names).W_CD.T, test.y)}
        for way, (learn, use) in ways.items():
            right[way] = accuracy(StyleTokens(HAND, how=HOW).fit(model, names, learn).logits(model, names, use, chunk=64), use.y)
        found = {way: found.get(way, 0.0) + value / 2 for way, value in right.items()}
    return found
