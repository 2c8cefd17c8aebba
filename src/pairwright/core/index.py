"""The method index: every `CARD` in the package, read from the generated `_index.json` without importing a single method."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from pairwright.core.card import Card

INDEX = Path(__file__).parent.parent / "_index.json"
_TUPLES = frozenset(f.name for f in fields(Card) if str(f.type).startswith("tuple"))


@dataclass(frozen=True)
class Entry:
    """One mechanism: where it lives, what it does, its card, and what its checks have shown.

    id: ``heads/cache/tip_adapter``. kind: the leaf folder, ``heads/cache``. file: path below the package. summary: the first line of the
    symbol's docstring. signature: how it is made or called. status: shown, partly, not_shown, stale or untested. results: per check id,
    the figures of the last run.
    """

    id: str
    kind: str
    file: str
    module: str
    symbol: str
    summary: str
    signature: str
    card: Card
    status: str
    results: dict[str, dict[str, Any]]

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def papers(self) -> tuple[str, ...]:
        """Ledger ids that this mechanism serves, its own paper first."""
        return (self.card.paper, *self.card.also)

    @property
    def import_line(self) -> str:
        return f"from {self.module} import {self.symbol}"

    def load(self) -> Any:
        """Import the mechanism and return its class or function."""
        return getattr(importlib.import_module(self.module), self.symbol)


def card_of(values: dict[str, Any]) -> Card:
    """A Card from JSON values (lists become tuples again)."""
    typed: dict[str, Any] = {k: tuple(v) if k in _TUPLES else v for k, v in values.items()}
    return Card(**typed)


@cache
def _read(path: Path, _mtime_ns: int) -> tuple[Entry, ...]:
    raw = json.loads(path.read_text(encoding="utf-8"))
    return tuple(Entry(**{**row, "card": card_of(row["card"])}) for row in raw["entries"])


def entries(prefix: str = "") -> list[Entry]:
    """Every mechanism whose id lies under `prefix` (a folder such as ``"losses"`` or ``"heads/cache"``, or one id), sorted by id."""
    if not INDEX.is_file():
        raise FileNotFoundError(f"{INDEX} is missing: build it with `python -m pairwright.ledger.build`")
    prefix = prefix.strip("/")
    found = _read(INDEX, INDEX.stat().st_mtime_ns)
    return [e for e in found if not prefix or e.id == prefix or e.id.startswith(prefix + "/")]
