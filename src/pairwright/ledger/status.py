"""The ledger: the 472 papers with a status that is computed from the mechanisms and the results of their checks, never typed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pairwright.core.find import plain
from pairwright.core.index import Entry, entries

STATUSES = ("shown", "partly", "not_shown", "stale", "untested", "absent")
TIERS = ("core", "adjacent", "remote")
_PAPERS = Path(__file__).with_name("papers.json")


@dataclass(frozen=True)
class Paper:
    """One paper of the ledger. mechanisms: ids of the index entries that serve it."""

    id: str
    title: str
    tier: str
    family: str
    status: str
    mechanisms: tuple[str, ...] = ()


@cache
def papers() -> tuple[dict[str, str], ...]:
    """The rows of papers.json: id, title, tier, family."""
    return tuple(json.loads(_PAPERS.read_text(encoding="utf-8")))


def combine(statuses: Iterable[str]) -> str:
    """One status out of several: `shown` only if all are; anything stale makes it `stale`; some success makes it `partly`."""
    have = set(statuses) - {"absent"}
    if not have or have == {"untested"}:
        return "untested"
    if have == {"shown"}:
        return "shown"
    if "stale" in have:
        return "stale"
    return "partly" if have & {"shown", "partly"} else "not_shown"


def paper_status(own: Iterable[str], serving: Iterable[str]) -> str:
    """Status of a paper from the statuses of its own mechanisms and of others' that serve it too (cards that name it in `also`).

    A paper that is only served by somebody else's mechanism is at best `partly`: what is its own has not been shown.
    """
    own, serving = list(own), ["partly" if s == "shown" else s for s in serving]
    if not own and not serving:
        return "absent"
    return combine(own) if own else combine(serving)


def ledger(tier: str | None = None, status: str | None = None, family: str | None = None) -> list[Paper]:
    """All papers (or those of one tier, status or family) with their computed status, in the order of the list."""
    rows = papers()
    families = sorted({r["family"] for r in rows})
    for what, value, known in (("tier", tier, TIERS), ("status", status, STATUSES), ("family", family, families)):
        if value is not None and value not in known:
            raise ValueError(f"there is no {what} {value!r}; choose from {', '.join(known)}")
    own: dict[str, list[Entry]] = {}
    serving: dict[str, list[Entry]] = {}
    for e in entries():
        own.setdefault(e.card.paper, []).append(e)
        for other in e.card.also:
            serving.setdefault(other, []).append(e)
    found = []
    for r in rows:
        mine, others = own.get(r["id"], []), serving.get(r["id"], [])
        state = paper_status([e.status for e in mine], [e.status for e in others])
        found.append(Paper(r["id"], r["title"], r["tier"], r["family"], state, tuple(e.id for e in mine + others)))
    return [p for p in found if (tier in (None, p.tier)) and (status in (None, p.status)) and (family in (None, p.family))]


def matching(query: str) -> list[Paper]:
    """Papers whose id or title holds all words of `query`."""
    words = {plain(w) for w in query.split()} - {""}
    return [p for p in ledger() if words and all(w in plain(p.id) or w in plain(p.title) for w in words)]
