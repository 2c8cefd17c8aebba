"""Which rows and which classes a learner may see: k per class, halves of the concepts, base and new classes, sessions. All by hash.

Every choice depends on a seed or a fixed word and on the names of what is chosen, never on the order of rows or on the machine. So a split
need not be stored to be fixed: the same suite gives the same one everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pairwright.core.numerics import seed_of


def shuffled_by_class(label_N: Sequence[object], id_N: Sequence[str], seed: int) -> dict[object, list[int]]:
    """For each class its row numbers in the order of a hash of seed and id: the first k are the k shots of that seed."""
    by_class: dict[object, list[int]] = {}
    for i, label in enumerate(label_N):
        by_class.setdefault(label, []).append(i)
    return {c: sorted(rows, key=lambda i: (seed_of("shot", seed, id_N[i]), id_N[i])) for c, rows in by_class.items()}


def k_shot(label_N: Sequence[object], id_N: Sequence[str], k: int, seed: int) -> list[int]:
    """Row numbers of up to k rows for every class, in row order.

    Each class lists its rows by a hash of seed and id and takes the first k. So draws are nested (the 2 shots of a seed contain its 1
    shot, which makes curves comparable), do not depend on the order of rows or on other classes, and a class with fewer than k rows
    gives all it has.
    """
    return draws(label_N, id_N, (k,), seed)[k][0]


def draws(label_N: Sequence[object], id_N: Sequence[str], shots: Sequence[int], seed: int) -> dict[int, tuple[list[int], list[int]]]:
    """For each k: the rows of `k_shot`, and up to min(k, 4) further rows of each class to choose hyper-parameters on (the usual val)."""
    if low := [k for k in shots if k < 1]:
        raise ValueError(f"shots must be at least 1, got {low[0]}")
    ordered = shuffled_by_class(label_N, id_N, seed).values()
    return {
        k: (sorted(i for rows in ordered for i in rows[:k]), sorted(i for rows in ordered for i in rows[k : k + min(k, 4)])) for k in shots
    }


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


def class_parts(names: Sequence[str], parts: int, salt: str) -> list[list[int]]:
    """The classes dealt into `parts` of nearly equal size by a hash of their names: base and new, or the sessions of a stream.

    Returns class numbers, sorted within each part.
    """
    if not 2 <= parts <= len(names):
        raise ValueError(f"{len(names)} classes cannot be dealt into {parts} parts: choose 2 to {len(names)}")
    order = sorted(range(len(names)), key=lambda c: (seed_of(salt, names[c].casefold()), names[c], c))
    return [sorted(part.tolist()) for part in np.array_split(np.array(order), parts)]
