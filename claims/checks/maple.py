"""MaPLe: where images and wording both differ from pretraining, coupled prompts in both towers beat those of one side."""

from __future__ import annotations

import torch

from claims import patch_towers as P
from claims import vector_towers as V
from claims.prompting import HAND, figures
from pairwright.core.features import Features
from pairwright.ledger.check import Check
from pairwright.prompts.coop import CoOp
from pairwright.prompts.deep_prefix import DeepPrefix
from pairwright.prompts.fit import Descent
from pairwright.prompts.maple import MaPLe

CHECK = Check(
    id="maple",
    card="prompts/maple",
    claim="Where images and wording are both unlike pretraining, coupled prompts in both towers beat prompts in either one",
    plant="an offset of all pixels, and class names behind the words 'green thing'; 16 shots of 32 base classes",
    baseline="the better of CoOp on cached features and VPT, from the same template, with as many steps, each at its best rate",
    control="the offset alone, plain class names",
    margin=0.02,
    control_margin=0.01,
    metric="harmonic mean of base and new accuracy",
)
OFFSET = 4.0
RATES = {"ours": 1e-2, "vpt": 5e-3, "coop": 5e-3, "independent": 5e-3}  # the best of 5e-4 to 1e-2 on other seeds


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, halves, found = P.tower(), V.split(seed), {}
    look = lambda start, n: P.scenes(n, start + 100_000 * seed, OFFSET * V.direction(seed), noise=1.5)
    names = [[f"green thing {name}" if planted else name for name in V.named(classes)] for classes in halves]
    plain = lambda x: Features(torch.cat([model.image(part).z_BD for part in x.x.split(512)]), x.y_N, encoder=model.fingerprint)
    train, test = P.only(look(30_000, 2400), halves[0], shots=16), look(60_000, 1600)
    how = {name: Descent(lr=rate, epochs=10, batch=32, optimizer="adamw") for name, rate in RATES.items()}
    learned = {"ours": MaPLe(HAND, how=how["ours"]), "vpt": DeepPrefix(HAND, how=how["vpt"]), "coop": CoOp(HAND, how=how["coop"])}
    if planted:
        learned["independent"] = DeepPrefix(HAND, towers=("image", "text"), length=2, how=how["independent"])
    for name, learner in learned.items():
        see = plain if name == "coop" else lambda x, learner=learner: learner.image_features(model, x, chunk=512)
        learner.fit(model, names[0], plain(train) if name == "coop" else train)
        parts = [(own, see(P.only(test, classes))) for own, classes in zip(names, halves)]
        found |= figures(name, learner, model, parts)
    return {"baseline": max(found["vpt"], found["coop"]), **found}
