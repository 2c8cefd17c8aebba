"""CaFo's weights: does agreement with zero-shot tell which of two caches to trust?"""

from __future__ import annotations

import torch

from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import generator, unit
from pairwright.heads.cache.cascade_cache import CascadeCache
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check

CHECK = Check(
    id="cascade_agreement",
    card="heads/cache/cascade_cache",
    claim="Weighing two caches by their agreement with zero-shot beats equal weights where one of them is noise for some rows",
    plant="20 classes, 8 shots; for every row one of the two encoders, drawn at random, sees next to nothing; text nearly exact",
    baseline="equal weights (sharp=0); both untrained",
    control="both encoders see every row alike",
    margin=0.02,
    control_margin=0.005,
)
CLASSES, WIDTH = 20, 64


def arms(seed: int, planted: bool) -> dict[str, float]:
    normal = lambda what, *shape: torch.randn(*shape, generator=generator("agreement", seed, what)) / shape[-1] ** 0.5
    first_CD, second_CD = (unit(normal(f"{e} means", CLASSES, WIDTH)) for e in ("first", "second"))

    def rows(split: str, per_class: int) -> Features:
        y = torch.arange(CLASSES).repeat(per_class)
        blind = torch.rand(len(y), 1, generator=generator("agreement", seed, split)) < 0.5
        seen = lambda mean_CD, lost, what: unit(torch.where(lost, 0.1, 1.0) * mean_CD[y] + 1.5 * normal(f"{split} {what}", len(y), WIDTH))
        never = torch.zeros_like(blind)
        pair = [seen(first_CD, blind if planted else never, "first"), seen(second_CD, ~blind if planted else never, "second")]
        return Features(pair[0], y, side={"second": pair[1]})

    train, test = rows("train", 8), rows("test", 100)
    text = ClassText(unit(first_CD + 0.3 * normal("text", CLASSES, WIDTH)), scale=16.0)
    score = lambda **settings: accuracy(CascadeCache(alpha=3.0, epochs=0, **settings).fit(train, text).logits(test), test.y)
    return {
        "ours": score(),
        "baseline": score(sharp=0.0),
        "a twentieth as sharp": score(sharp=0.05),
    }
