"""UniPT: a side network on the layers recovers what the tower's output has lost."""

from __future__ import annotations

import torch

from claims import patch_towers as T
from claims import tuning as P
from pairwright.core.features import Features
from pairwright.core.numerics import generator, unit
from pairwright.heads.linear.logistic import Logistic
from pairwright.ledger.check import Check
from pairwright.tune.weights.parallel_side import ParallelSide

CHECK = Check(
    id="parallel_side",
    card="tune/weights/parallel_side",
    claim="Without gradients through the tower, a network beside its layers learns a cue that the tower's output has lost.",
    plant="one of four signs in one patch of eight, anywhere, which contrastive training has no use for; 400 labelled images",
    baseline="a linear probe on the tower's output, from which the head beside the side network starts",
    control="the colour of the thing in the same images, which the output holds: 8 classes",
    margin=0.1,
    control_margin=0.02,
)
SIGNS, SHOTS, TESTS, STEPS = 4, 400, 600, 200


def fixtures() -> None:
    T.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, images = T.tower(), T.scenes(SHOTS + TESTS, 30_000 + 10_000 * seed)
    rng = generator("signs", seed)
    sign_S3HW = 2 * unit(torch.randn(SIGNS, 3 * T.PATCH[0] * T.PATCH[1], generator=rng)).view(SIGNS, 3, *T.PATCH)
    which_N, rows, columns = torch.randint(SIGNS, (len(images),), generator=rng), T.SIZE[0] // T.PATCH[0], T.SIZE[1] // T.PATCH[1]
    at_N = torch.randint(rows * columns, (len(images),), generator=rng)
    grid_N3HWhw = images.x.clone().unfold(2, T.PATCH[0], T.PATCH[0]).unfold(3, T.PATCH[1], T.PATCH[1])
    grid_N3HWhw[torch.arange(len(images)), :, at_N // columns, at_N % columns] += sign_S3HW[which_N]
    x_N = grid_N3HWhw.permute(0, 1, 2, 4, 3, 5).reshape(images.x.shape)
    y_N = which_N if planted else images.y_N % 8
    train, test = (x_N[:SHOTS], y_N[:SHOTS]), (x_N[SHOTS:], y_N[SHOTS:])

    probe = Logistic().fit(Features(model.image(train[0]).z_BD, train[1]))
    right = lambda logits_NC: float((logits_NC.argmax(1) == test[1]).double().mean())
    found = {"baseline": right(probe.logits(model.image(test[0]).z_BD))}
    head = probe.weight_, probe.bias_
    objective = P.tune(model, train, None, 5e-3, STEPS, head=head, seed=seed, modifiers=[ParallelSide(towers=("image",))])
    with torch.no_grad():
        return {**found, "ours": right(objective.logits(model.image(test[0]).z_BD))}
