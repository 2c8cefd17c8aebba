"""The ledger: all 472 papers, and a status that follows from the mechanisms alone."""

from __future__ import annotations

from collections import Counter

import pytest

from pairwright.core.index import entries
from pairwright.ledger.status import STATUSES, combine, ledger, paper_status, papers


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], "untested"),
        (["untested"], "untested"),
        (["shown", "shown"], "shown"),
        (["shown", "untested"], "partly"),
        (["shown", "not_shown"], "partly"),
        (["shown", "stale"], "stale"),
        (["not_shown", "untested"], "not_shown"),
        (["partly"], "partly"),
    ],
)
def test_combine(statuses: list[str], expected: str) -> None:
    assert combine(statuses) == expected


def test_a_paper_served_only_by_anothers_mechanism_is_at_best_partly() -> None:
    assert paper_status(["shown"], ["not_shown"]) == "shown"
    assert paper_status([], ["shown"]) == "partly"
    assert paper_status([], ["untested"]) == "untested"
    assert paper_status([], []) == "absent"


def test_472_papers_without_their_abstracts() -> None:
    rows = papers()
    assert len(rows) == len({r["id"] for r in rows}) == 472
    assert Counter(r["tier"] for r in rows) == {"core": 252, "adjacent": 185, "remote": 35}
    assert {tuple(r) for r in rows} == {("id", "title", "tier", "family")}


def test_the_ledger_filters_and_counts() -> None:
    every = ledger()
    assert len(every) == 472
    assert len(ledger(tier="core")) == 252
    assert sum(len(ledger(status=s)) for s in STATUSES) == 472
    assert {p.family for p in ledger(family="medical")} == {"medical"}
    assert {p.id for p in every if p.status != "absent"} == {i for e in entries() for i in e.papers} & {p.id for p in every}
    with pytest.raises(ValueError, match="choose from core, adjacent, remote"):
        ledger(tier="kern")


def test_cards_name_papers_of_the_ledger_or_say_that_they_are_extra() -> None:
    known = {r["id"] for r in papers()}
    assert [(e.id, p) for e in entries() for p in e.papers if p not in known and not p.startswith("extra:")] == []
