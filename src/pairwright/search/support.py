"""Pictures for class names without labels: a support set retrieved from an embedded pool.

A *picture source* is a callable, (class names, n) -> Features with about n rows for each name, labelled by the place of the name. Methods
that need pictures nobody labelled take one: this retrieval, a text-to-image model behind an embedding, or a folder of one's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from pairwright.core.features import ClassText, Features, check_finite, check_same_encoder
from pairwright.core.numerics import unit

PictureSource = Callable[[Sequence[str], int], Features]


@dataclass(frozen=True)
class PoolPictures:
    """Retrieve a support set: the n pictures of a pool that are nearest to each class's text, as labelled features.

    pool: embedded pictures without labels (`pairwright.embed`). text: class names -> class text of the same model, for example
    ``partial(class_text, model)``. once: a picture serves only the class whose text it is nearest to of all classes, so that a class may
    get fewer than n; else classes may share pictures. Rows stand by class, the nearest first; ids are those of the pool; equal
    similarities go to the lower row.
    """

    pool: Features
    text: Callable[[Sequence[str]], ClassText]
    once: bool = True

    def __call__(self, names: Sequence[str], n: int) -> Features:
        if n < 1:
            raise ValueError(f"n must be at least one picture a class, got {n}")
        if not len(self.pool):
            raise ValueError("the pool holds no pictures: embed some first")
        text = self.text(names)
        check_same_encoder(self.pool, text)
        check_finite(self.pool.z_ND)
        cosine_NC = self.pool.z_ND @ unit(text.W_CD).T
        if self.once:
            mine_NC = cosine_NC.argmax(1, keepdim=True) == torch.arange(len(text), device=cosine_NC.device)
            cosine_NC = cosine_NC.masked_fill(~mine_NC, -torch.inf)
        best_NC = cosine_NC.argsort(dim=0, descending=True, stable=True)[:n]
        kept_NC = cosine_NC.gather(0, best_NC) > -torch.inf
        y_N = torch.arange(len(text), device=cosine_NC.device).expand(len(best_NC), -1).T[kept_NC.T]
        found = self.pool.rows(best_NC.T[kept_NC.T])
        return replace(found, y_N=y_N, split="support", classes=tuple(names))
