"""MaPLe: where images and wording both differ from pretraining, coupled prompts in both towers beat those of one side."""

from __future__ import annotations

import torch

from claims import patch_towers as P
from claims import vector_towers as V
from pairwright.core.features import Features
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.coop import CoOp
from pairwright.prompts.deep_prefix import DeepPrefix
from pairwright.prompts.fit import Descent
from pairwright.prompts.maple import MaPLe

CHECK = Check(
    id="maple",
    card="prompts/maple",
    claim="Where images and wording are both unlike pretraining, coupled prompts in both towers beat prompts in either one",
    plant="an offset of all pixels, and class names that drag along another object ('… and blue square'); 8 shots of 16 base classes",
    baseline="the better of CoOp on cached features and VPT, from the same template, with as many steps",
    control="the offset alone, plain class names",
    margin=0.02,
    control_margin=0.01,
    metric="harmonic mean of base and new accuracy",
)
HAND = "a photo of a {}"
OFFSET = 4.0


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, halves = P.tower(), [half[:16] for half in V.split(seed)]
    look = lambda start, n: P.scenes(n, start + 100_000 * seed, OFFSET * V.direction(seed), noise=1.5)
    wording = "{} and blue square" if planted else "{}"
    named = lambda classes: [wording.format(name) for name in V.named(classes)]
    plain = lambda x: Features(torch.cat([model.image(part).z_BD for part in x.x.split(512)]), x.y_N, encoder=model.fingerprint)
    train, test, found = P.only(look(30_000, 1600), halves[0], shots=8), look(60_000, 1600), {}
    how = lambda rate: Descent(lr=rate, epochs=20, batch=32)
    learned = {"ours": MaPLe(HAND, how=how(2e-3)), "vpt": DeepPrefix(HAND, how=how(2e-4)), "coop": CoOp(HAND, how=how(2e-3))}
    for name, learner in learned.items():
        learner.fit(model, named(halves[0]), plain(train) if name == "coop" else train)
        right = []
        for classes in halves:
            x = P.only(test, classes)
            z_ND = plain(x).z if name == "coop" else learner.image_features(model, x, chunk=512).z
            right.append(accuracy(z_ND @ learner.text(model, named(classes)).W_CD.T, x.y_N))
        found |= {name: 2 / sum(1 / max(r, 1e-9) for r in right), f"{name} base": right[0], f"{name} new": right[1]}
    return {"baseline": max(found["vpt"], found["coop"]), **found}
