"""Find leaks between training and test tables: the same concept, name or picture, or a near-duplicate, on both sides."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pairwright.data.packs.names import normal
from pairwright.data.packs.phash import distances


@dataclass(frozen=True)
class Leaks:
    """Pairs (training id, test id) by kind. `picture`: equal bytes; `near`: perceptual hashes within the asked distance."""

    group: list[tuple[str, str]] = field(default_factory=list)
    name: list[tuple[str, str]] = field(default_factory=list)
    picture: list[tuple[str, str]] = field(default_factory=list)
    near: list[tuple[str, str]] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """How many test rows are touched, by kind."""
        return {kind: len({test for _, test in pairs}) for kind, pairs in vars(self).items()}


def _same(train: list[str], test: list[str], train_ids: list[str], test_ids: list[str]) -> list[tuple[str, str]]:
    first: dict[str, str] = {}
    for key, row in zip(train, train_ids, strict=True):
        if key:
            first.setdefault(key, row)
    return [(first[key], row) for key, row in zip(test, test_ids, strict=True) if key in first]


def leakage(train: Any, test: Any, *, near: int = 2) -> Leaks:
    """What of `test` is in `train` already: pyarrow tables with id, name, group and, for pictures, image and phash.

    Each test row is listed at most once per kind, with the first training row that it meets. `near` is the number of differing bits (of
    64) up to which two perceptual hashes are near-duplicates; hashes of simple shapes meet by chance, so look before you judge.
    """
    a, b = train["id"].to_pylist(), test["id"].to_pylist()

    def column(name: str) -> tuple[list[Any], list[Any]]:
        return train[name].to_pylist(), test[name].to_pylist()

    names = tuple([normal(n) for n in side] for side in column("name"))
    leaks = Leaks(_same(*column("group"), a, b), _same(*names, a, b))
    both = set(train.column_names) & set(test.column_names)
    if "image" in both:
        digests = tuple([hashlib.sha256(i).hexdigest() if i else "" for i in side] for side in column("image"))
        leaks.picture.extend(_same(*digests, a, b))
    if "phash" in both:
        ta, tb = (np.array([(i, h) for i, h in enumerate(side) if h is not None], np.uint64).reshape(-1, 2) for side in column("phash"))
        for start in range(0, len(tb), 256):  # blocks bound the memory of the distance table
            block = tb[start : start + 256]
            if not len(ta):
                break
            d = distances(block[:, 1], ta[:, 1])
            for row, j in enumerate(d.argmin(1)):
                if d[row, j] <= near:
                    leaks.near.append((a[int(ta[j, 0])], b[int(block[row, 0])]))
    return leaks
