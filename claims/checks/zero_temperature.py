"""ZERO: a vote of views does not listen to how sure the wrong ones are."""

from __future__ import annotations

import torch

from pairwright.core.features import ClassText
from pairwright.core.numerics import generator, unit
from pairwright.heads.stream.confident_views import ConfidentViews
from pairwright.heads.stream.views import run
from pairwright.heads.stream.zero_temperature import ZeroTemperature
from pairwright.ledger.check import Check

CHECK = Check(
    id="zero_temperature",
    card="heads/stream/zero_temperature",
    claim="Where some views are over-confident and wrong, a vote of all views beats their mean probability",
    plant="32 views an image: two thirds mildly sure and mostly right, one third sure of one wrong class; all views vote (keep=1)",
    baseline="the mean probability of the same views",
    control="no over-confident views",
    margin=0.05,
    control_margin=0.01,
)
CLASSES, WIDTH, IMAGES, VIEWS = 20, 64, 400, 32


def arms(seed: int, planted: bool) -> dict[str, float]:
    normal = lambda what, *shape: torch.randn(*shape, generator=generator("votes", seed, what)) / shape[-1] ** 0.5
    mean_CD = unit(normal("means", CLASSES, WIDTH))
    y = torch.arange(CLASSES).repeat(IMAGES // CLASSES)
    wrong_N = (y + torch.randint(1, CLASSES, (IMAGES,), generator=generator("votes", seed, "wrong"))) % CLASSES
    views = mean_CD[y][:, None] + 1.4 * normal("views", IMAGES, VIEWS, WIDTH)
    if planted:
        misled_NA = torch.rand(IMAGES, VIEWS, generator=generator("votes", seed, "misled")) < 1 / 3
        views = torch.where(misled_NA[..., None], mean_CD[wrong_N][:, None] + 0.3 * normal("misled", IMAGES, VIEWS, WIDTH), views)
    views = unit(views)
    text = ClassText(mean_CD, scale=8.0)
    score = lambda head: float((run(head.fit(None, text), views).argmax(1) == y).double().mean())
    return {
        "ours": score(ZeroTemperature(keep=1.0)),
        "baseline": score(ConfidentViews(keep=1.0)),
        "vote of the surest 0.3 (default)": score(ZeroTemperature()),
        "mean of the surest 0.1 (TPT)": score(ConfidentViews()),
    }
