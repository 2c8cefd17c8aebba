"""Small words of the sentences that adapt says."""

from __future__ import annotations


def many(n: int, one: str, more: str) -> str:
    """A number and what it counts.

    >>> many(1, "image is", "images are"), many(2, "image is", "images are")
    ('1 image is', '2 images are')
    """
    return f"{n} {one if n == 1 else more}"
