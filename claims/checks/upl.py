"""UPL: the surest rows of each class teach a context; the surest rows of all, or a broken model's labels, do not."""

from __future__ import annotations

from claims import vector_towers as T
from pairwright.core.features import Features
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.fit import Descent
from pairwright.prompts.tokens import hand_text
from pairwright.prompts.upl import UPL

CHECK = Check(
    id="upl",
    card="prompts/upl",
    claim="Where all images are shifted alike, a context learned from each class's surest unlabelled rows beats the hand-written prompt",
    plant="a common offset of the image vectors that pretraining never saw; 1,500 unlabelled rows of 32 classes, 16 taken for each",
    baseline="the hand-written prompt that pretraining used, which also makes the pseudo-labels",
    control="no offset: there is nothing to take up",
    margin=0.03,
    control_margin=0.01,
)
HAND = "a photo of a {}"
HOW = Descent(epochs=6)


def fixtures() -> None:
    T.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, classes = T.tower(), T.split(seed)[0]
    offset = (3.0 if planted else 0.0) * T.direction(seed)
    look = lambda start, n: T.only(T.scenes(model, n, start + 100_000 * seed, offset, noise=1.5), classes)
    train, test, names = look(30_000, 3000), look(60_000, 2000), T.named(classes)
    hand_CD = hand_text(model, names, HAND)
    learner = UPL(HAND, runs=1, template=HAND, how=HOW)
    score = lambda: accuracy(test.z @ learner.text(model, names).W_CD.T, test.y)
    learner.fit(model, names, Features(train.z, encoder=train.encoder))
    found = {"ours": score(), "pseudo-labels right": float((train.y[learner.rows_] == learner.labels_).double().mean())}
    probs_NC = (model.scale * train.z @ hand_CD.T).softmax(1)
    surest = train.rows(probs_NC.amax(1).topk(len(learner.rows_)).indices)
    learner.k = len(surest)  # as many rows, but the surest of all instead of each class's
    learner.fit(model, names, surest)
    return {**found, "baseline": accuracy(test.z @ hand_CD.T, test.y), "surest of all": score()}
