"""BATCLIP: on a stream of shifted images, pulling class means to their text and apart beats minimising entropy alone."""

from __future__ import annotations

from claims import tuning as P
from claims import vector_towers as T
from pairwright.ledger.check import Check
from pairwright.recipes.batclip import BATCLIP

CHECK = Check(
    id="batclip",
    card="recipes/batclip",
    claim="Online and without labels, BATCLIP is better on shifted images than entropy minimisation on the same norm layers.",
    plant="a stream of 20 batches of 200 images in an unseen style with more noise than in training, 64 classes",
    baseline="Tent on both towers: pull = spread = 0, the same rate",
    control="images as in training: there is nothing to adapt to",
    margin=0.01,
    control_margin=0.005,
)
BATCH, BATCHES = 200, 20


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    style, noise = (3.0 * T.direction("style", seed), 2.0) if planted else (None, T.NOISE)
    x_NW, y_N = P.scenes(BATCH * BATCHES, 30_000 + 10_000 * seed, style, noise)

    def score(**how) -> float:
        model, method = P.tower(), BATCLIP(T.NAMES, template=P.PROMPT, **how)
        right = [float((method.step(model, x).argmax(1) == y).double().mean()) for x, y in zip(x_NW.split(BATCH), y_N.split(BATCH))]
        return sum(right) / len(right)

    return {
        "ours": score(),
        "baseline": score(pull=0.0, spread=0.0),
        "image tower only": score(towers=("image",)),
        "not adapted": score(lr=0.0),
    }
