"""Confident views: crops that miss the object are unsure, and leaving them out helps."""

from __future__ import annotations

import torch

from pairwright.core.features import ClassText
from pairwright.core.numerics import generator, unit
from pairwright.heads.stream.confident_views import ConfidentViews
from pairwright.heads.stream.views import run
from pairwright.ledger.check import Check

CHECK = Check(
    id="confident_views",
    card="heads/stream/confident_views",
    claim="The mean over the surest tenth of the views beats the mean over all views, and the plain view",
    plant="32 views an image: an eighth show the object well, the others its background with a trace of the object",
    baseline="the better of the mean over all views and the plain view",
    control="all views are alike",
    margin=0.05,
    control_margin=0.01,
)
CLASSES, WIDTH, IMAGES, VIEWS = 20, 64, 400, 32


def arms(seed: int, planted: bool) -> dict[str, float]:
    normal = lambda what, *shape: torch.randn(*shape, generator=generator("views", seed, what)) / shape[-1] ** 0.5
    mean_CD = unit(normal("means", CLASSES, WIDTH))
    y = torch.arange(CLASSES).repeat(IMAGES // CLASSES)
    strength_NA = torch.full((IMAGES, VIEWS), 0.4)
    if planted:
        strength_NA = torch.where(torch.rand(IMAGES, VIEWS, generator=generator("views", seed, "hit")) < 1 / 8, 1.0, 0.15)
        strength_NA[:, 0] = 0.3  # the plain image shows it small
    object_ND = mean_CD[y] + 0.7 * normal("objects", IMAGES, WIDTH)
    scene_ND = unit(normal("scenes", IMAGES, WIDTH))
    views = strength_NA[..., None] * object_ND[:, None] + (1 - strength_NA)[..., None] * scene_ND[:, None]
    views = unit(views + 0.5 * normal("views", IMAGES, VIEWS, WIDTH))
    text = ClassText(unit(mean_CD + 0.7 * normal("text", CLASSES, WIDTH)), scale=16.0)
    score = lambda x, **settings: float((run(ConfidentViews(**settings).fit(None, text), x).argmax(1) == y).double().mean())
    plain, mean = score(views[:, :1]), score(views, keep=1.0)
    return {
        "ours": score(views),
        "baseline": max(plain, mean),
        "plain view": plain,
        "mean of all views": mean,
        "DiffTPT's point": score(views, similar=0.8, keep=0.3),
    }
