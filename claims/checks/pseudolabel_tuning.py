"""Pseudolabel prompt tuning: where images are shifted, the surest rows of each class, refined in rounds, beat the surest rows of all."""

from __future__ import annotations

import torch

from claims import vector_towers as T
from pairwright.core.features import Features
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent
from pairwright.prompts.pseudolabel_tuning import PseudolabelTuning
from pairwright.prompts.tokens import hand_text

CHECK = Check(
    id="pseudolabel_tuning",
    card="prompts/pseudolabel_tuning",
    claim="Where zero-shot knows some classes well and others badly, balanced pseudolabels refined in rounds raise the worst classes above "
    "what the same number of globally surest rows teach",
    plant="a common offset of the image vectors that pretraining never saw draws images to some of 32 classes; 1,000 unlabelled rows",
    baseline="the same prompt learner on the rows that zero-shot is surest of among all, as many as 8 a class give, once",
    control="no offset: zero-shot knows all classes about equally well",
    margin=0.05,
    control_margin=0.03,
    metric="mean accuracy of the worst fifth of the classes",
)
HAND = "a photo of a {}"
HOW = Descent(epochs=5, batch=64)
NOISE = 2.0


def fixtures() -> None:
    T.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, classes = T.tower(), T.split(seed)[0]
    offset = (3.0 if planted else 0.0) * T.direction(seed)
    look = lambda start, n: T.only(T.scenes(model, n, start + 100_000 * seed, offset, noise=NOISE), classes)
    train, test, names = look(30_000, 2000), look(60_000, 2000), T.named(classes)
    hand_CD = hand_text(model, names, HAND)
    pool = Features(train.z, encoder=train.encoder)
    tune = lambda strategy: PseudolabelTuning(CoOp(HAND, how=HOW), strategy, k=8, rounds=3, template=HAND).fit(model, names, pool)
    grown, fixed = tune("grow"), tune("fixed")
    probs_NC = (model.scale * train.z @ hand_CD.T).softmax(1)
    top = probs_NC.amax(1).topk(len(fixed.rows_)).indices
    surest = CoOp(HAND, how=HOW).fit(model, names, Features(train.z[top], probs_NC[top].argmax(1), encoder=train.encoder))
    found = {}
    for name, logits_NC in {
        "ours": grown.logits(model, names, test),
        "fixed": fixed.logits(model, names, test),
        "baseline": test.z @ surest.text(model, names).W_CD.T,
        "hand": test.z @ hand_CD.T,
    }.items():
        hit_C = torch.stack([(logits_NC.argmax(1) == c)[test.y == c].double().mean() for c in range(len(names))])
        found |= {name: float(hit_C.sort().values[: len(names) // 5].mean()), f"{name} accuracy": accuracy(logits_NC, test.y)}
    return found
