"""UniPT: a side network on the layers recovers what the tower's output has lost."""

from __future__ import annotations

import torch

from claims import tuning as P
from claims import vector_towers as T
from pairwright.core.features import Features
from pairwright.core.numerics import generator
from pairwright.data.world.grammar import TEMPLATES
from pairwright.heads.linear.logistic import Logistic
from pairwright.ledger.check import Check
from pairwright.models.dual import DualEncoder
from pairwright.tune.weights.parallel_side import ParallelSide

CHECK = Check(
    id="parallel_side",
    card="tune/weights/parallel_side",
    claim="Without gradients through the tower, a network beside its layers learns a cue that the tower's output has lost.",
    plant="the wording of a caption, which contrastive training makes the text tower forget: 5 classes, 200 labelled captions",
    baseline="a linear probe on the tower's output",
    control="the colour in a caption, which the output holds: 8 classes, 200 labelled captions",
    margin=0.1,
    control_margin=0.02,
)
SHOTS, STEPS = 200, 200


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model = P.tower()
    texts = [f"{t} a {name}".strip() for t in TEMPLATES for name in T.NAMES]
    wording, name = torch.arange(len(texts)) // len(T.NAMES), torch.arange(len(texts)) % len(T.NAMES)
    y_N = wording if planted else name % T.WORLD.colours
    order = torch.randperm(len(texts), generator=generator("captions", seed))
    ids_NL = model.tokenizer([texts[i] for i in order])
    train, test = (ids_NL[:SHOTS], y_N[order[:SHOTS]]), (ids_NL[SHOTS:], y_N[order[SHOTS:]])
    reader = DualEncoder({"image": model.towers["text"]})  # the tower under test takes the place of the images

    probe = Logistic().fit(Features(reader.image(train[0]).z_BD, train[1]))
    right = lambda logits_NC: float((logits_NC.argmax(1) == test[1]).double().mean())
    found = {"baseline": right(probe.logits(reader.image(test[0]).z_BD))}
    classes = len(probe.bias_)
    head = 3 * torch.randn(classes, 64, generator=generator("head", seed)), torch.zeros(classes)
    objective = P.tune(reader, train, None, 5e-3, STEPS, head=head, seed=seed, modifiers=[ParallelSide(towers=("image",))])
    with torch.no_grad():
        return {**found, "ours": right(objective.logits(reader.image(test[0]).z_BD))}
