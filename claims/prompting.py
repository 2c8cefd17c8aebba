"""What checks of prompt learners share: accuracy on base and new classes, few shots with wrong labels, images in two opposite looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from claims import vector_towers as T
from pairwright.core.features import Features
from pairwright.core.numerics import generator
from pairwright.heads.inputs import accuracy
from pairwright.metrics.harmonic import harmonic_mean
from pairwright.models.dual import DualEncoder
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent
from pairwright.prompts.tokens import hand_text

HAND = "a photo of a {}"


def logits_of(learner: Any, model: DualEncoder, names: list[str], x: Features) -> Tensor:
    """Scores by the class text of each image, where a learner has that, or by the one for all."""
    return learner.logits(model, names, x) if hasattr(learner, "logits") else x.z @ learner.text(model, names).W_CD.T


def figures(name: str, learner: Any, model: DualEncoder, parts: list[tuple[list[str], Features]]) -> dict[str, float]:
    """Accuracy of one arm among the base classes, among the new ones, and their harmonic mean. parts: names and test rows of both."""
    b, n = (accuracy(logits_of(learner, model, names, x), x.y) for names, x in parts)
    return {name: float(harmonic_mean(b, n)), f"{name} base": b, f"{name} new": n}


def from_wrong_labels(ours: type[CoOp], seed: int, planted: bool) -> dict[str, float]:
    """A learner that knows the hand-written prompt, and CoOp: 4 shots of 32 base classes, planted with 40% of the labels wrong."""
    model, (base, new) = T.tower(), T.split(seed)
    look = lambda start, n: T.scenes(model, n, start + 100_000 * seed, noise=1.5)
    train = T.wrong_labels(T.only(look(30_000, 2000), base, shots=4), 0.4 if planted else 0.0, len(base), seed)
    parts, how = [(T.named(classes), T.only(look(60_000, 3000), classes)) for classes in (base, new)], Descent(epochs=15)
    found = {}
    for name, learner in {"ours": ours(HAND, how=how, template=HAND), "baseline": CoOp(HAND, how=how)}.items():  # type: ignore[call-arg]
        found |= figures(name, learner.fit(model, parts[0][0], train), model, parts)
    return {**found, "hand": float(harmonic_mean(*(accuracy(x.z @ hand_text(model, names, HAND).T, x.y) for names, x in parts)))}


def over_two_looks(learned: Mapping[str, CoOp], seed: int, offset: float) -> dict[str, float]:
    """Learners on images half of which carry an offset, the other half its opposite: 8 shots of 16 base classes, 16 new ones."""
    model, halves = T.tower(), [half[:16] for half in T.split(seed)]

    def look(n: int, start: int) -> Features:
        sign_N = torch.randint(2, (n, 1), generator=generator("looks", seed, start)) * 2.0 - 1
        return T.scenes(model, n, start + 100_000 * seed, offset * sign_N * T.direction(seed))

    train, test, found = T.only(look(2000, 30_000), halves[0], shots=8), look(1200, 60_000), {}
    parts = [(T.named(classes), T.only(test, classes)) for classes in halves]
    for name, learner in learned.items():
        found |= figures(name, learner.fit(model, parts[0][0], train), model, parts)
    return found


def astray(z_BD: Tensor) -> Tensor:
    """The same rows in an order drawn at random: what follows the image follows another one."""
    return z_BD[torch.randperm(len(z_BD), generator=generator("astray", len(z_BD), float(z_BD.sum())))]
