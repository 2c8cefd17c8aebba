"""`pairwright ledger`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from pairwright.cli import show
from pairwright.cli.options import Json


def ledger(
    *,
    tier: Annotated[str | None, Parameter(help="core, adjacent or remote.")] = None,
    status: Annotated[str | None, Parameter(help="shown, partly, not_shown, stale, untested or absent.")] = None,
    family: Annotated[str | None, Parameter(help="A family of papers, e.g. prompt-learning.")] = None,
    json: Json = False,
) -> None:
    """List the papers and how far each has been shown.

    A status is computed from the results of the mechanism checks.

    For example:

        pairwright ledger --tier core --status shown
        pairwright ledger --family adapter-few-shot
        pairwright ledger --json
    """
    from collections import Counter
    from dataclasses import asdict

    from pairwright.ledger.status import STATUSES
    from pairwright.ledger.status import ledger as read

    papers = read(tier, status, family)
    if json:
        show.as_json([asdict(p) for p in papers])
        return
    if papers:
        show.out(
            show.table([(p.id, p.tier, p.family, p.status, p.title) for p in papers], ("paper", "tier", "family", "status", "title")) + "\n"
        )
    counts = Counter(p.status for p in papers)
    show.out(f"{len(papers)} papers: " + ", ".join(f"{counts[s]} {s}" for s in STATUSES if counts[s] or s in ("shown", "absent")))
