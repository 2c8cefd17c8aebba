"""The chooser page: every method once, under what it eats and gives, the shown ones first, every link to a place that exists."""

from __future__ import annotations

import re

from pairwright.core.index import entries
from pairwright.ledger import pages

PAGE = pages.choose_page(entries())


def test_every_method_stands_on_it_once_with_what_its_card_says() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "](methods/" in line]
    assert len(rows) == len(entries())
    for e in entries():
        (row,) = [r for r in rows if f"({pages.leaf_path(e.kind)}#{e.id.rsplit('/', 1)[-1].replace('_', '-')})" in r]
        for said in (e.card.needs, e.card.use_when, e.card.not_when, e.card.cost, e.status):
            assert " ".join(said.split()).replace("|", "\\|") in row


def test_links_lead_to_pages_and_anchors_that_are_made() -> None:
    made = {pages.leaf_path(k): pages.leaf_page(k, [e for e in entries() if e.kind == k]) for k in {e.kind for e in entries()}}
    for path, anchor in re.findall(r"\((methods/[^)#]+)#([^)]+)\)", PAGE):
        assert f"{{ #{anchor} }}" in made[path]


def test_within_a_table_shown_methods_come_first() -> None:
    for table in PAGE.split("\n## ")[1:]:
        states = [
            line.rsplit("| ", 1)[-1].removesuffix(" |") for line in table.splitlines() if "](methods/" in line and line.startswith("| ")
        ]
        assert [s == "shown" for s in states] == sorted((s == "shown" for s in states), reverse=True)
        assert table.startswith(("I have", "Methods")) or "{ #" in table.splitlines()[0]
