"""LP-FT: a probe's head as the start of fine-tuning bends good features less than a random head does."""

from __future__ import annotations

import torch

from claims import tuning as P
from claims import vector_towers as T
from pairwright.core.features import Features
from pairwright.core.numerics import generator
from pairwright.heads.linear.logistic import Logistic
from pairwright.ledger.check import Check
from pairwright.recipes._fine_tune import image_tower

CHECK = Check(
    id="lp_ft",
    card="recipes/lp_ft",
    claim="Fine-tuning from a linear probe's head is better than from a random head, on the task and on what the tower knew besides.",
    plant="a trained image tower, 32 classes in one style, 8 shots; half of the score is zero-shot accuracy on the other 32 classes",
    baseline="fine-tuning from a random head with the same steps",
    control="an untrained image tower: there are no features to bend",
    margin=0.08,
    control_margin=0.02,
    metric="mean of the accuracy on the task and of zero-shot accuracy on other classes",
)
NOISE, STEPS = 1.5, 80


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    base, new = T.split(seed)
    style = 2.5 * T.direction("style", seed)
    train = P.only(P.scenes(1200, 30_000 + 10_000 * seed, style, NOISE), base, shots=8)
    test = P.scenes(1000, 500_000 + 10_000 * seed, style, NOISE)
    task, others = P.only(test, base), P.only(test, new)

    def score(probe: bool) -> tuple[float, float]:
        model = P.tower()
        if not planted:
            model.towers["image"].load_state_dict(P.untrained(seed + 7).towers["image"].state_dict())
        head = 0.1 * torch.randn(len(base), 64, generator=generator("random head", seed)), torch.zeros(len(base))
        if probe:
            fitted = Logistic().fit(Features(model.image(train[0]).z_BD, train[1]))
            head = fitted.weight_, fitted.bias_
        objective = P.tune(model, train, None, 1e-3, STEPS, head=head, seed=seed, trainable=image_tower)
        with torch.no_grad():
            right = (objective.logits(model.image(task[0]).z_BD).argmax(1) == task[1]).double().mean()
        return float(right), P.accuracy(model, others, T.named(new))

    (a, b), (c, d) = score(True), score(False)
    return {"ours": (a + b) / 2, "baseline": (c + d) / 2, "task": a, "others": b, "random head, task": c, "random head, others": d}
