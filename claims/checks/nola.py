"""NoLA: a second encoder without the image tower's blind spot labels the pool better than that tower can, and prompts learn from it."""

from __future__ import annotations

import torch

from claims import vector_towers as T
from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import unit
from pairwright.data.world import vectors
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent
from pairwright.prompts.tokens import hand_text
from pairwright.recipes.nola import NoLA

CHECK = Check(
    id="nola",
    card="recipes/nola",
    claim="Prompts tuned on labels from a head on a second encoder beat those tuned on labels from a head on the image tower itself",
    plant="a common offset that pretraining never saw draws images of different classes together in the image tower; the second encoder, "
    "the plain input vectors, keeps them apart; 1,000 unlabelled rows of 32 classes",
    baseline="the same three steps with the image tower's own features in place of the second encoder's",
    control="the second encoder is the image tower",
    margin=0.02,
    control_margin=0.005,
)
HAND = "a photo of a {}"
HOW = Descent(epochs=5, batch=64)
NOISE, OFFSET, SHOTS = 2.5, 4.0, 4


def fixtures() -> None:
    T.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, classes = T.tower(), T.split(seed)[0]
    offset_W, names = OFFSET * T.direction(seed), T.named(classes)

    def look(start: int, n: int) -> Features:
        batch = T.WORLD.sample(n, start + 100_000 * seed)
        x_NW = vectors.image_vectors(batch, noise=NOISE) + offset_W
        y_N = torch.from_numpy(batch.facts.shape_NO[:, 0] * T.WORLD.colours + batch.facts.colour_NO[:, 0])
        z_ND = model.image(x_NW).z_BD
        place_C = torch.full((len(T.NAMES),), -1)
        place_C[classes] = torch.arange(len(classes))
        side = {"own": z_ND, "second": unit(x_NW) if planted else z_ND}
        return Features(z_ND, place_C[y_N], encoder=model.fingerprint, side=side).rows(place_C[y_N] >= 0)

    pool, test = look(30_000, 2000), look(60_000, 2000)
    hand_CD = hand_text(model, names, HAND)
    described = ClassText(hand_CD, tuple(names), encoder=model.fingerprint, scale=float(model.scale))
    found = {"hand": accuracy(test.z @ hand_CD.T, test.y)}
    for name, side in (("ours", "second"), ("baseline", "own")):
        tuned = NoLA(side, SHOTS, learner=CoOp(HAND, how=HOW)).fit(model, names, pool, described)
        found[name] = accuracy(tuned.logits(model, names, test), test.y)
        found[f"{name} labels"] = float((tuned.labels_ == pool.y).double().mean())
    return found
