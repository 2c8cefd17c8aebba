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
    plant="three streams of 8 batches of 200 images, each in a strong unseen style of its own with more noise; 64 classes",
    baseline="Tent on both towers: pull = spread = 0, the same rate",
    control="images as in training: there is nothing to adapt to",
    margin=0.01,
    control_margin=0.005,
)
BATCH, BATCHES, STREAMS = 200, 8, 3


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    streams = []
    for k in range(STREAMS):
        style, noise = (4.0 * T.direction("style", seed, k), 2.0) if planted else (None, T.NOISE)
        streams.append(P.scenes(BATCH * BATCHES, 30_000 + 10_000 * seed + BATCH * BATCHES * k, style, noise))

    def score(**how) -> float:
        """Accuracy while adapting, averaged over the streams; each starts from the trained towers."""
        right = []
        for x_NW, y_N in streams:
            model, method = P.tower(), BATCLIP(T.NAMES, template=P.PROMPT, **how)
            right += [method.step(model, x).argmax(1).eq(y).double().mean() for x, y in zip(x_NW.split(BATCH), y_N.split(BATCH))]
        return float(sum(right) / len(right))

    return {
        "ours": score(),
        "baseline": score(pull=0.0, spread=0.0),
        "image tower only": score(towers=("image",)),
        "not adapted": score(lr=0.0),
    }
