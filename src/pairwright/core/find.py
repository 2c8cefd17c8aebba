"""Find a method by any of the names people use for it: its own, the paper's, a class name, an arXiv id, or a misspelling."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from pairwright.core.index import Entry, entries

_ENOUGH = 0.72
"""Least likeness of a misspelled name. Below it, unrelated acronyms of four letters begin to match."""


def find(query: str, limit: int = 10) -> list[Entry]:
    """Mechanisms that `query` may mean, best first; an empty list where nothing comes close.

    Exact names win over parts of names, parts over words of the summary, and those over misspellings.

    >>> [e.id for e in find("tip adapter")][:1]
    ['heads/cache/tip_adapter']
    """
    if not plain(query):
        raise ValueError("nothing to look for: give a method's name, e.g. find('tip adapter')")
    scored = [(score(query, e), e) for e in entries()]
    best = sorted((s, e.id, e) for s, e in ((-s, e) for s, e in scored if s > 0))
    return [e for _, _, e in best][:limit]


def names_of(e: Entry) -> list[str]:
    """Everything a user may call this mechanism."""
    return [e.card.name, *e.card.aliases, e.symbol, e.id.rpartition("/")[2], e.id, e.card.paper.removeprefix("extra:"), *e.card.also]


def score(query: str, e: Entry) -> float:
    """How well an entry answers a query: 1 for one of its names, 0 for nothing in common."""
    wanted = plain(query)
    names = [plain(n) for n in names_of(e)]
    if wanted in names or query.strip().removeprefix("arXiv:") == e.card.arxiv:
        return 1.0
    if wanted == plain(e.card.title):
        return 0.99
    words = _words(query)
    if len(wanted) > 2 and any(wanted in n for n in names):
        return 0.95
    if words <= set().union(*(_words(n) for n in names_of(e))):
        return 0.94
    if words <= _words(e.card.title) | set().union(*(_words(n) for n in names_of(e))):
        return 0.9
    if words <= _words(f"{e.summary} {e.card.title} {e.card.says} {e.kind}"):
        return 0.8
    like = max(SequenceMatcher(None, wanted, n, autojunk=False).ratio() for n in names)
    return like if like >= _ENOUGH else 0.0


def plain(text: str) -> str:
    """Lower case, letters and digits only: `Tip-Adapter` and `tip adapter` are one name."""
    return re.sub(r"[^\w]|_", "", text.lower())


def _words(text: str) -> set[str]:
    """The words of a text, with CamelCase taken apart and plural s dropped."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return {w.rstrip("s") or w for w in re.findall(r"[^\W_]+", text.lower())}
