"""Which rows a few-shot learner may see: k per class, the same for the same seed, whatever the order of the rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pairwright.core.numerics import seed_of


def k_shot(label_N: Sequence[object], id_N: Sequence[str], k: int, seed: int) -> list[int]:
    """Row numbers of up to k rows for every class, in row order.

    Each class lists its rows by a hash of seed and id and takes the first k. So draws are nested (the 2 shots of a seed contain its 1
    shot, which makes curves comparable), do not depend on the order of rows or on other classes, and a class with fewer than k rows
    gives all it has.
    """
    if k < 1:
        raise ValueError(f"shots must be at least 1, got {k}")
    by_class: dict[object, list[int]] = {}
    for i, label in enumerate(label_N):
        by_class.setdefault(label, []).append(i)
    return sorted(i for rows in by_class.values() for i in sorted(rows, key=lambda i: (seed_of("shot", seed, id_N[i]), id_N[i]))[:k])


def halves(label_N: Sequence[object], group_N: Sequence[str], salt: str = "halves") -> np.ndarray:
    """Split rows in two by group, class by class: True for the half to learn from, False for the half that is asked.

    All rows of a group land on the same side (a concept drawn by two vendors is one group); within a class every second group, in hash
    order, goes to each side, so that both sides know every class with two groups or more. A group that carries several labels goes with
    its first.
    """
    label_of: dict[str, object] = {}
    for label, group in zip(label_N, group_N, strict=True):
        label_of.setdefault(group, label)
    by_class: dict[object, list[str]] = {}
    for group, label in label_of.items():
        by_class.setdefault(label, []).append(group)
    learn: set[str] = set()
    for groups in by_class.values():
        learn.update(sorted(groups, key=lambda g: (seed_of(salt, g), g))[::2])
    return np.array([g in learn for g in group_N], dtype=bool)
