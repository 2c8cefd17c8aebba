"""CaFo: described classes, generated shots that the model itself believes, and caches of two encoders."""

from __future__ import annotations

from dataclasses import replace

import torch

from pairwright.core.features import ClassText, Features
from pairwright.heads.cache.cascade_cache import CascadeCache
from pairwright.heads.zero_shot.classifier import ZeroShot
from pairwright.recipes.sus_x import Generate, generated


def cafo(
    train: Features,
    text: ClassText,
    generate: Generate | None = None,
    *,
    shots: int = 16,
    keep: float = 0.5,
    head: CascadeCache | None = None,
    val: Features | None = None,
) -> CascadeCache:
    """A fitted cascade of caches from few labelled rows, class text, and as many generated rows a class as `shots`.

    train: labelled rows, with those of a second encoder in `side["second"]`. text: made from descriptions
    (`class_text(model, names, descriptions=...)`). generate(name, n): rows of images made for a class by both encoders; None adds none.
    keep: the share of the generated rows of each class that zero-shot finds likeliest to show it. head: settings of the cache.
    """
    head = CascadeCache() if head is None else head
    if generate is not None:
        made = generated(text, generate, shots)
        if set(made.side) != set(train.side):
            raise ValueError(
                f"generated rows have the second encoders {sorted(made.side)}, the labelled ones {sorted(train.side)}: same wanted"
            )
        train = joined(train, believed(made, text, keep))
    return head.fit(train, text, val=val)


def believed(made: Features, text: ClassText, keep: float) -> Features:
    """Of the rows of each label the `keep` share (at least one) to which zero-shot gives that label with the highest probability."""
    if not 0 < keep <= 1:
        raise ValueError(f"keep is the share of generated rows to keep, above 0 and at most 1: got {keep}")
    assert made.y_N is not None
    own_N = ZeroShot().fit(None, text).logits(made).softmax(1).gather(1, made.y_N[:, None]).squeeze(1)
    parts = []
    for c in made.y_N.unique():
        rows = (made.y_N == c).nonzero().squeeze(1)
        parts.append(rows[own_N[rows].argsort(descending=True, stable=True)[: max(1, round(keep * len(rows)))]])
    return made.rows(torch.cat(parts))


def joined(a: Features, b: Features) -> Features:
    """Rows of both, labels and second encoders included."""
    assert a.y_N is not None
    assert b.y_N is not None
    side = {k: torch.cat([a.side[k], b.side[k]]) for k in a.side}
    return replace(a, z_ND=torch.cat([a.z_ND, b.z_ND]), y_N=torch.cat([a.y_N, b.y_N]), ids=(*a.ids, *b.ids), side=side)
