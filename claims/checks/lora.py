"""LoRA: a rank-2 update of both towers follows a shift of the images, which a learned prompt cannot."""

from __future__ import annotations

from claims import tuning as P
from claims import vector_towers as T
from pairwright.core.features import Features
from pairwright.ledger.check import Check
from pairwright.prompts.coop import CoOp
from pairwright.prompts.fit import Descent
from pairwright.tune.weights.lora import LoRA

CHECK = Check(
    id="lora",
    card="tune/weights/lora",
    claim="With 4 shots in an unseen style, low-rank updates of both towers beat a learned prompt on base and new classes.",
    plant="all images are shifted by a style that the towers have not seen; 4 shots of 32 base classes",
    baseline="CoOp from the words 'a photo of a', 40 steps",
    control="no style",
    margin=0.04,
    control_margin=0.02,
    metric="harmonic mean of base and new accuracy",
)
NOISE, STEPS = 1.5, 40


def fixtures() -> None:
    P.tower()


def arms(seed: int, planted: bool) -> dict[str, float]:
    model, (base, new) = P.tower(), T.split(seed)
    style = 3.0 * T.direction("style", seed) if planted else None
    train = P.only(P.scenes(800, 30_000 + 10_000 * seed, style, NOISE), base, shots=4)
    test = P.scenes(1000, 500_000 + 10_000 * seed, style, NOISE)
    parts = [(T.named(classes), P.only(test, classes)) for classes in (base, new)]
    found = {"zero_shot": P.harmonic(*(P.accuracy(model, rows, names) for names, rows in parts))}

    stored = Features(model.image(train[0]).z_BD, train[1], encoder=model.fingerprint)
    coop = CoOp(P.PROMPT, how=Descent(epochs=10)).fit(model, parts[0][0], stored)
    score = lambda names, rows: (model.image(rows[0]).z_BD @ coop.text(model, names).W_CD.T).argmax(1).eq(rows[1]).double().mean()
    found["baseline"] = P.harmonic(*(float(score(*part)) for part in parts))

    P.tune(model, train, parts[0][0], 4e-3, STEPS, seed=seed, modifiers=[LoRA(parts=("q", "k", "v", "fc", "proj"))])
    found["ours"] = P.harmonic(*(P.accuracy(model, rows, names) for names, rows in parts))
    return found
