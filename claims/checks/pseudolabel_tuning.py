"""Pseudolabel prompt tuning: where images are shifted, the surest rows of each class, refined in rounds, beat the surest rows of all."""

from __future__ import annotations

import torch

from claims import vector_towers as T
from pairwright.core.features import Features
from pairwright.core.numerics import generator, unit
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent
from pairwright.prompts.pseudolabel_tuning import PseudolabelTuning
from pairwright.prompts.tokens import hand_text

CHECK = Check(
    id="pseudolabel_tuning",
    card="prompts/pseudolabel_tuning",
    claim="Where zero-shot knows half of the classes badly, balanced pseudolabels refined in rounds raise the worst classes above those "
    "that the same number of globally surest rows teach",
    plant="the prompt that makes the first pseudolabels is wrong by a random direction for half of 32 classes, so confidence is biased; "
    "a common offset of the images; 2,000 unlabelled rows",
    baseline="the same prompt learner on as many rows, the surest of all, once",
    control="the first pseudolabels are equally good for all classes, and there is no offset",
    margin=0.05,
    control_margin=0.03,
    metric="mean accuracy of the worst fifth of the classes",
)
HAND = "a photo of a {}"
HOW = Descent(epochs=6)


def fixtures() -> None:
    T.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, classes = T.tower(), T.split(seed)[0]
    offset = (1.5 if planted else 0.0) * T.direction(seed)
    look = lambda start, n: T.only(T.scenes(model, n, start + 100_000 * seed, offset, noise=1.5), classes)
    train, test, names = look(30_000, 4000), look(60_000, 3000), T.named(classes)
    hand_CD = hand_text(model, names, HAND)
    rng = generator("pseudolabel_tuning", seed)
    bad_C = torch.randperm(len(names), generator=rng) < len(names) // 2
    wrong_CD = unit(torch.randn(hand_CD.shape, generator=rng))
    first_CD = unit(hand_CD + (0.7 if planted else 0.0) * bad_C[:, None] * wrong_CD)
    pool = Features(train.z, encoder=train.encoder)
    probs_NC = (model.scale * train.z @ first_CD.T).softmax(1)
    tune = lambda strategy: PseudolabelTuning(CoOp(HAND, how=HOW), strategy, rounds=3).fit(model, names, pool, probs_NC=probs_NC)
    grown, fixed = tune("grow"), tune("fixed")
    top = probs_NC.amax(1).topk(len(fixed.rows_)).indices
    surest = CoOp(HAND, how=HOW).fit(model, names, Features(train.z[top], probs_NC[top].argmax(1), encoder=train.encoder))
    found = {}
    for name, logits_NC in {
        "ours": grown.logits(model, names, test),
        "fixed": fixed.logits(model, names, test),
        "baseline": test.z @ surest.text(model, names).W_CD.T,
        "first labels": test.z @ first_CD.T,
        "hand": test.z @ hand_CD.T,
    }.items():
        hit_C = torch.stack([(logits_NC.argmax(1) == c)[test.y == c].double().mean() for c in range(len(names))])
        found |= {name: float(hit_C.sort().values[: len(names) // 5].mean()), f"{name} accuracy": accuracy(logits_NC, test.y)}
    return found
