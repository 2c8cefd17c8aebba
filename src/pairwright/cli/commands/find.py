"""`pairwright find`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from pairwright.cli import show
from pairwright.cli.options import Json, Top


def find(
    *query: Annotated[str, Parameter(help="A name of the method, of its paper, or an arXiv id.")], top: Top = 5, json: Json = False
) -> None:
    """Find a method by any name it goes by.

    Prints what it does, how to import it, when to use it, the paper, and how far it has been shown.

    For example:

        pairwright find "tip adapter"
        pairwright find siglip
        pairwright find 2103.00020 --json
    """
    from dataclasses import asdict

    from pairwright.cli.options import at_least_one
    from pairwright.core.find import find as search
    from pairwright.ledger.status import matching

    at_least_one("--top", top)
    wanted = " ".join(query)
    found = search(wanted, top)
    papers = matching(wanted)[:top]
    if json:
        show.as_json({"methods": [{**asdict(e), "import": e.import_line} for e in found], "papers": [asdict(p) for p in papers]})
        return
    if not found and not papers:
        raise ValueError(
            f"nothing here is called {wanted!r}; `pairwright ledger` lists the papers, `pairwright find contrast` shows how it looks"
        )
    for e in found:
        year = f", {e.card.year}" + (f", arXiv {e.card.arxiv}" if e.card.arxiv else "")
        rows = [
            ("what", e.summary),
            ("import", e.import_line),
            ("use when", e.card.use_when),
            ("not when", e.card.not_when),
            ("paper", f"{e.card.title} ({e.card.where}{year})"),
            ("status", status_line(e.status, e.results)),
            ("near", ", ".join(e.card.neighbours)),
        ]
        show.out(f"{e.card.name}  [{e.id}]")
        show.out(show.table([("  " + k, v) for k, v in rows if v]) + "\n")
    absent = [p for p in papers if not p.mechanisms]
    if absent:
        show.out("In the ledger, not implemented yet:")
        show.out(show.table([("  " + p.id, p.title) for p in absent]))


def status_line(status: str, results: dict[str, dict[str, object]]) -> str:
    """``shown: tip_adapter, accuracy +0.21 in 5 of 5 seeds``."""
    runs = [f"{name}, {r['metric']} {r['advantage']:+.3f} in {r['k']} of {r['n']} seeds" for name, r in results.items()]
    return f"{status}: {'; '.join(runs)}" if runs else status
