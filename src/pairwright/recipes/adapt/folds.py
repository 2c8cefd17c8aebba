"""Folds that keep look-alikes together and classes apart: which rows are asked when the others are learned from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pairwright.core.numerics import seed_of

MOST = 5


def fold_count(label_N: Sequence[int], group_N: Sequence[int]) -> int:
    """How many folds suit the rows: as many as a class in the middle has groups, between 2 and 5.

    With fewer folds a class of n rows is learned from less than it will be; with more, the class that is asked would have fewer rows than
    its rivals.
    """
    sizes = sorted(len(groups) for groups in _groups(label_N, group_N).values())
    return int(min(MOST, max(2, sizes[len(sizes) // 2]))) if sizes else 2


def deal(label_N: Sequence[int], group_N: Sequence[int], folds: int, seed: int, *, singles: bool = False) -> np.ndarray:
    """The fold (N,) of each row, -1 where a row is always learned from and never asked.

    All rows of a group share a fold. The groups of a class go round the folds in an order drawn by hash, from a start that differs by
    class. A class with a single group is never asked, since nothing of it would be left to learn from (singles: ask it all the same).
    """
    fold_of: dict[int, int] = {}
    for place, (label, groups) in enumerate(sorted(_groups(label_N, group_N).items())):
        if len(groups) == 1 and not singles:
            fold_of[groups[0]] = -1
            continue
        for i, group in enumerate(sorted(groups, key=lambda g: (seed_of("fold", seed, label, g), g))):
            fold_of[group] = (i + place) % folds
    return np.array([fold_of[g] for g in group_N], dtype=np.int64)


def _groups(label_N: Sequence[int], group_N: Sequence[int]) -> dict[int, list[int]]:
    """label -> its groups; a group with several labels belongs to its first."""
    label_of: dict[int, int] = {}
    for label, group in zip(label_N, group_N, strict=True):
        label_of.setdefault(group, label)
    found: dict[int, list[int]] = {}
    for group, label in label_of.items():
        found.setdefault(label, []).append(group)
    return found
