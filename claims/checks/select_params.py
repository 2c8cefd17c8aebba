"""LN-tuning: what only the norm layers learn carries over to a style that was not in training better than what all weights learn."""

from __future__ import annotations

from claims import tuning as P
from claims import vector_towers as T
from pairwright.ledger.check import Check
from pairwright.tune.weights.select_params import SelectParams

CHECK = Check(
    id="select_params",
    card="tune/weights/select_params",
    claim="Tuned on one style, gains and biases of the norm layers are better on other styles than full fine-tuning.",
    plant="trained on one style, tested on three others; 4 shots of 32 classes",
    baseline="full fine-tuning of the same towers, at the rate that is best for it on other seeds",
    control="tested on the style of the training",
    margin=0.02,
    control_margin=0.01,
)
NOISE, STEPS = 1.5, 60


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    base, _ = T.split(seed)
    names = T.named(base)
    style = lambda k: 2.5 * T.direction("style", seed, k)
    train = P.only(P.scenes(800, 30_000 + 10_000 * seed, style(0), NOISE), base, shots=4)
    tests = [P.only(P.scenes(600, 500_000 + 10_000 * seed, style(k), NOISE), base) for k in ((1, 2, 3) if planted else (0,))]

    def score(lr: float, **how) -> float:
        model = P.tower()
        if lr:
            P.tune(model, train, names, lr, STEPS, seed=seed, **how)
        return sum(P.accuracy(model, rows, names) for rows in tests) / len(tests)

    return {
        "ours": score(2e-3, modifiers=[SelectParams("norm")]),
        "baseline": score(5e-4, trainable=P.towers_only),
        "biases": score(2e-3, modifiers=[SelectParams("bias")]),
        "zero_shot": score(0.0),
    }
