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
    claim="Weighing two caches by their agreement with zero-shot beats equal weights where one of them is wrong about some rows",
    plant="20 classes, 8 shots; the second encoder sees another class in half of the rows to classify, the first sees the right one, "
    "dimly; text nearly exact",
    baseline="equal weights (sharp=0); both untrained, the weight of the caches chosen on 10 val rows a class",
    control="the second encoder sees the right class in every row",
    margin=0.02,
    control_margin=0.005,
)
CLASSES, WIDTH, LOST = 20, 64, 0.5


def arms(seed: int, planted: bool) -> dict[str, float]:
    normal = lambda what, *shape: torch.randn(*shape, generator=generator("agreement", seed, what)) / shape[-1] ** 0.5
    first_CD, second_CD = (unit(normal(f"{e} means", CLASSES, WIDTH)) for e in ("first", "second"))

    def rows(split: str, per_class: int, lost: float) -> Features:
        y, rng = torch.arange(CLASSES).repeat(per_class), generator("agreement", seed, split)
        wrong = torch.rand(len(y), generator=rng) < lost
        seen = torch.where(wrong, (y + torch.randint(1, CLASSES, (len(y),), generator=rng)) % CLASSES, y)
        pair = [unit(m + n * normal(f"{split} {n}", len(y), WIDTH)) for m, n in ((first_CD[y], 2.5), (second_CD[seen], 1.0))]
        return Features(pair[0], y, side={"second": pair[1]})

    train, val, test = rows("train", 8, 0.0), rows("val", 10, LOST * planted), rows("test", 100, LOST * planted)
    text = ClassText(unit(first_CD + 0.3 * normal("text", CLASSES, WIDTH)), scale=16.0)
    one = lambda x: Features(x.z, x.y)
    score = lambda see=lambda x: x, **settings: accuracy(
        CascadeCache(epochs=0, **settings).fit(see(train), text, val=see(val)).logits(see(test)), test.y
    )
    return {
        "ours": score(),
        "baseline": score(sharp=0.0),
        "a twentieth as sharp": score(sharp=0.05),
        "the first cache alone": score(one),
    }
