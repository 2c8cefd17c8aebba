"""Build the method index: what the scan found, with the status that the committed check results give it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pairwright.core.index import INDEX, Entry, entries
from pairwright.ledger.depends import changed
from pairwright.ledger.scan import Found
from pairwright.ledger.status import combine

__all__ = ["INDEX", "Entry", "entries", "index_text", "read_results"]

SHOWN = ("status", "claim", "metric", "advantage", "interval", "control_advantage", "margin", "k", "n", "seconds", "commit")
"""What of a check's result travels with the package."""
_MECHANISM = "mechanism:"


def read_results(root: Path) -> dict[str, dict[str, Any]]:
    """Every committed check result by id, with the status `stale` where the code under it has changed since."""
    found = {}
    for file in sorted((root / "claims" / "results").glob("*.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        if changed(root, result["depends"]):
            result["status"] = "stale"
        found[file.stem] = result
    return found


def index_text(found: list[Found], results: dict[str, dict[str, Any]], checks: set[str]) -> tuple[str, list[str]]:
    """(the text of `_index.json`, problems). `checks`: ids of the check files that exist."""
    rows, problems = [], []
    claimed = {(f.id, c) for f in found for c in _named(f)}
    for f in found:
        problems += [
            f"{f.file}:1: the card names the check {c!r}, but claims/checks/{c}.py does not exist" for c in _named(f) if c not in checks
        ]
        # a check proves the one mechanism that it is about; a card may point to a neighbour's check, but gains no status from it
        mine = {c: results[c] for c in _named(f) if c in results and results[c]["card"] == f.id}
        open_ = [c for c in _named(f) if c not in results]
        status = combine([r["status"] for r in mine.values()] + ["untested"] * len(open_))
        rows.append({**asdict(f), "status": status, "results": {c: {k: r[k] for k in SHOWN} for c, r in mine.items()}})
    for c, r in results.items():
        if (r["card"], c) not in claimed:
            problems.append(
                f"claims/checks/{c}.py:1: it checks {r['card']!r}, whose card does not name it: add 'mechanism:{c}' to its checks"
            )
    for c in sorted(checks - {c for _, c in claimed} - set(results)):
        problems.append(f"claims/checks/{c}.py:1: no card names it: add 'mechanism:{c}' to the checks of its card")
    return json.dumps({"entries": rows}, indent=1, ensure_ascii=False) + "\n", problems


def _named(f: Found) -> list[str]:
    """Ids of the mechanism checks that a card names."""
    return [c.removeprefix(_MECHANISM) for c in f.card["checks"] if c.startswith(_MECHANISM)]
