"""What a reader yields: one picture (or text) with its captions, before rendering."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass
class Row:
    """One row of a pack before rendering.

    data: SVG text or PNG bytes, None for a text row. captions: (language, text), English first. trim: cut transparent margins off?
    """

    key: str
    data: bytes | None
    name: str
    captions: list[tuple[str, str]]
    group: str
    category: str = ""
    label: str = ""
    weight: float = 1.0
    trim: bool = False


@dataclass
class Log:
    """What a reader left out and what it changed: skipped files with the reason, and counts of caption rules."""

    skipped: list[tuple[str, str]] = field(default_factory=list)
    rules: Counter[str] = field(default_factory=Counter)

    def skip(self, file: str, reason: str) -> None:
        self.skipped.append((file, reason))


class Files(Protocol):
    """The files of an archive, read one by one: those whose path `want` accepts, as (path, bytes)."""

    def files(self, want: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]: ...


Lookup = Callable[[str], Any]
"""name of a needed pack -> its table"""


def english(captions: Iterable[str]) -> list[tuple[str, str]]:
    """Captions in English, each once (compared without case), empty ones left out."""
    seen: dict[str, str] = {}
    for c in captions:
        c = c.strip()
        if c:
            seen.setdefault(c.casefold(), c)
    return [("en", c) for c in seen.values()]
