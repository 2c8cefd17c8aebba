"""CTP + TFT: where other things stand beside what the label names, prompts and images that attend to each other find it."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import torch
from torch import Tensor

from claims import vector_towers as T
from pairwright.core.features import Features
from pairwright.core.numerics import generator, unit
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.class_attend import ClassAttend
from pairwright.prompts.cocoop import CoCoOp
from pairwright.prompts.fit import Descent

CHECK = Check(
    id="class_attend",
    card="prompts/class_attend",
    claim="Where images show other things beside what the label names, attending to patches by class beats CoCoOp's one shift for all",
    plant="three of four patches show scenes of classes outside of the list; 4 shots of 8 base classes",
    baseline="CoCoOp on the image feature (the mean of the patches), from the same start, with as many steps",
    control="all four patches show the class of the label",
    margin=0.03,
    control_margin=0.01,
    metric="harmonic mean of base and new accuracy",
)
HAND = "a photo of a {}"
HOW = Descent(epochs=6, batch=16)


def fixtures() -> None:
    T.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, halves = T.tower(), [half[:8] for half in T.split(seed)]
    look = lambda start: T.scenes(model, 1200, start + 100_000 * seed, noise=5.0)
    seen, unseen = look(30_000), look(60_000)
    shots = pictures(seen, halves[0], halves, planted, seed, shots=4)
    parts = [(T.named(classes), pictures(unseen, classes, halves, planted, seed)) for classes in halves]
    learned = {"ours": ClassAttend(HAND, how=HOW), "baseline": CoCoOp(HAND, how=HOW)}
    found = {}
    for name, learner in learned.items():
        learner.fit(model, parts[0][0], shots)
        b, n = (accuracy(learner.logits(model, names, x, chunk=64), x.y) for names, x in parts)
        found |= {name: 2 * b * n / max(b + n, 1e-9), f"{name} base": b, f"{name} new": n}
        for part, off in (("without guide", ("guide_",)), ("without shift", ("up_", "up_bias_"))) if name == "ours" else ():
            lame = copy(learner)
            for tensor in off:
                setattr(lame, tensor, torch.zeros_like(getattr(learner, tensor)))
            b, n = (accuracy(lame.logits(model, names, x, chunk=64), x.y) for names, x in parts)
            found[f"ours {part}"] = 2 * b * n / max(b + n, 1e-9)
    return found


def pictures(x: Features, classes: Tensor, halves: list[Tensor], planted: bool, seed: int, shots: int | None = None) -> Features:
    """Four patches an image: a scene of its class, and three of classes outside of both halves (planted) or of its class again."""
    own = T.only(x, classes, shots)
    outside_N = ~torch.isin(x.y, torch.cat(halves))
    allowed_BN = outside_N.expand(len(own), -1) if planted else x.y == classes[own.y][:, None]
    others_B3 = torch.multinomial(allowed_BN.float(), 3, replacement=True, generator=generator("patches", seed, len(own), planted))
    tokens_B4D = torch.cat([own.z[:, None], x.z[others_B3]], 1)
    return replace(own, z_ND=unit(tokens_B4D.mean(1)), tokens_NMD=tokens_B4D)
