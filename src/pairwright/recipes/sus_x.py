"""SuS-X and CapS-Adapter: a classifier from class names alone, with support images that are retrieved or generated for each name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from pairwright.core.features import ClassText, Features, check_same_encoder
from pairwright.heads.cache.mixed_keys import MixedKeys
from pairwright.heads.cache.tip_x import TipX

Generate = Callable[[str, int], Features]
"""(class name, how many) -> rows of the same encoder for that class; their captions' rows, if any, in `side["caption"]`."""


def retrieved(text: ClassText, pool: Features, shots: int) -> Features:
    """The `shots` rows of an unlabelled pool nearest to each class text, labelled with that class (SuS-LC).

    A row that is among the nearest of several classes goes to the one whose text is most like it, so that no row has two labels; a
    class may then get fewer. pool: rows of the same encoder, of images or of their captions.
    """
    check_same_encoder(pool, text)
    if shots < 1:
        raise ValueError(f"shots is the number of support rows a class, at least 1: got {shots}")
    cosine_NC = pool.z_ND @ text.W_CD.T
    wanted_NC = torch.zeros_like(cosine_NC, dtype=torch.bool)
    wanted_NC.scatter_(0, cosine_NC.topk(min(shots, len(pool)), dim=0).indices, True)
    best = cosine_NC.masked_fill(~wanted_NC, -torch.inf)
    rows = wanted_NC.any(1).nonzero().squeeze(1)
    return replace(pool.rows(rows), y_N=best[rows].argmax(1), classes=text.names)


def generated(text: ClassText, generate: Generate, shots: int) -> Features:
    """`shots` rows a class from a generator that is asked by name (SuS-SD): a text-to-image model behind an image encoder, say."""
    parts = [generate(name, shots) for name in text.names]
    check_same_encoder(text, *parts)
    y_N = torch.cat([torch.full((len(p),), c) for c, p in enumerate(parts)])
    ids = tuple(f"{name}/{i}" for name, part in zip(text.names, parts, strict=True) for i in range(len(part)))
    side = {k: torch.cat([p.side[k] for p in parts]) for k in parts[0].side if all(k in p.side for p in parts)}
    return Features(torch.cat([p.z_ND for p in parts]), y_N, ids, encoder=text.encoder, side=side, classes=text.names)


def sus_x(
    text: ClassText, *, pool: Features | None = None, generate: Generate | None = None, shots: int = 16, val: Features | None = None
) -> TipX:
    """A fitted TIP-X head from class text and either an unlabelled pool or a generator; no labelled image of the target is needed.

    shots: support rows a class. val: labelled rows to choose alpha, beta and gamma on; the published defaults otherwise.
    """
    if (pool is None) == (generate is None):
        raise ValueError("give either pool=Features to retrieve support images from, or generate=callable(name, n) that makes them")
    support = retrieved(text, pool, shots) if pool is not None else generated(text, generate, shots)  # type: ignore[arg-type]
    return TipX().fit(support, text, val=val)


def caps_adapter(text: ClassText, generate: Generate, *, delta: float = 0.5, shots: int = 16, val: Features | None = None) -> MixedKeys:
    """A fitted CapS-Adapter head: generated support images mixed with the captions that they were made from.

    generate(name, n) has to give the captions' embeddings in `side["caption"]`. `class_captions` writes such captions.
    """
    support = generated(text, generate, shots)
    if "caption" not in support.side:
        raise ValueError('generate has to give side["caption"], the embedding of the caption of each row: without captions use sus_x')
    return MixedKeys(delta=delta).fit(support, text, val=val)


def class_captions(captions: Sequence[str], names: Sequence[str], subject: str = "{}") -> dict[str, list[str]]:
    """Captions of a few target images with each class name put where the subject stood: class -> captions to generate images from.

    captions: with `subject` in the place of the thing shown ("a drawing of {} on a table"), so that the look of the target is kept.
    """
    if lost := [c for c in captions if subject not in c]:
        raise ValueError(f"caption {lost[0]!r} has no {subject!r} where the class name goes")
    return {name: [c.replace(subject, name) for c in captions] for name in names}
