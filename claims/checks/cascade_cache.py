"""CaFo: two encoders with different blind spots know together what neither knows alone."""

from __future__ import annotations

import torch

from pairwright.core.features import ClassText, Features
from pairwright.core.numerics import generator, unit
from pairwright.heads.cache.cascade_cache import CascadeCache
from pairwright.heads.cache.tip_adapter import TipAdapter
from pairwright.heads.cache.tip_adapter_f import TipAdapterF
from pairwright.heads.inputs import accuracy
from pairwright.ledger.check import Check

CHECK = Check(
    id="cascade_cache",
    card="heads/cache/cascade_cache",
    claim="Caches of two encoders with complementary blind spots, weighed alike (sharp=0), beat the best cache of either",
    plant="20 classes, 8 shots; the first encoder hardly separates one half of the classes, the second not the other half",
    baseline="the best of Tip-Adapter and Tip-Adapter-F on either encoder; nothing is tuned",
    control="the second encoder sees what the first sees, and no more (its rows are the first's)",
    margin=0.04,
    control_margin=0.02,
)
CLASSES, WIDTH = 20, 64


def arms(seed: int, planted: bool) -> dict[str, float]:
    normal = lambda what, *shape: torch.randn(*shape, generator=generator("cascade", seed, what)) / shape[-1] ** 0.5
    half_C = torch.arange(CLASSES) % 2 == 0

    def means(encoder: str, blind_C: torch.Tensor) -> torch.Tensor:
        own_CD, common_D = unit(normal(f"{encoder} means", CLASSES, WIDTH)), unit(normal(f"{encoder} common", 1, WIDTH))
        return torch.where(blind_C[:, None], unit(common_D + 0.25 * own_CD), own_CD)

    first_CD, second_CD = means("first", half_C), means("second", ~half_C)

    def rows(split: str, per_class: int) -> Features:
        y = torch.arange(CLASSES).repeat(per_class)
        first, second = (unit(m[y] + 1.2 * normal(f"{split} {i}", len(y), WIDTH)) for i, m in enumerate((first_CD, second_CD)))
        return Features(first, y, side={"second": second if planted else first})

    train, test = rows("train", 8), rows("test", 100)
    text = ClassText(unit(first_CD + 0.7 * normal("text", CLASSES, WIDTH)), scale=16.0)
    # the second encoder has no text: its best one is the mean of the shots
    means_CD = unit(torch.stack([train.side["second"][train.y == c].mean(0) for c in range(CLASSES)]))
    other = lambda x: Features(x.side["second"], x.y)
    first = lambda head: accuracy(head.fit(train, text).logits(test), test.y)
    second = lambda head: accuracy(head.fit(other(train), ClassText(means_CD, scale=16.0)).logits(other(test)), test.y)
    return {
        "ours": first(CascadeCache(alpha=3.0, sharp=0.0)),
        "baseline": max(f(h()) for f in (first, second) for h in (TipAdapter, TipAdapterF)),
        "untrained": first(CascadeCache(alpha=3.0, sharp=0.0, epochs=0)),
        "weights by agreement (default)": first(CascadeCache(alpha=3.0)),
        "weights by agreement, a twentieth as sharp": first(CascadeCache(alpha=3.0, sharp=0.05)),
    }
