"""The method card: what a mechanism is, where it comes from, when to use it. One literal per mechanism file.

Cards are read by AST (`pairwright.ledger.index`), so every value has to be a plain literal.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """Facts about one mechanism. `CARD = Card(...)` stands at the top of its file, literals only."""

    name: str
    """The name the field uses, e.g. ``Tip-Adapter``."""
    symbol: str
    """The class or function in this file that implements it."""
    paper: str
    """Id in the ledger, or ``extra:<id>`` for a well-known method outside the list."""
    title: str
    year: int
    arxiv: str
    """arXiv id, or ``""`` when there is none."""
    where: str
    """Equation, algorithm or section of the paper."""
    equation: str
    """The mathematics in this project's symbols (see the shape legend in contracts.py)."""
    says: str
    """What the paper claims for it, in one or two sentences of our own."""
    needs: str
    """What it eats, e.g. ``few labelled features + class text``."""
    cost: str
    use_when: str
    not_when: str
    aliases: tuple[str, ...] = ()
    """Other names a user may search for."""
    also: tuple[str, ...] = ()
    """Further ledger ids that this mechanism serves."""
    neighbours: tuple[str, ...] = ()
    """Sibling mechanisms, as ``leaf/file``."""
    deviations: tuple[str, ...] = ()
    """Each: what differs from the paper, why, and its effect (measured or unknown)."""
    checks: tuple[str, ...] = ()
    """Check ids, e.g. ``mechanism:tip_adapter`` (a file in claims/checks)."""
