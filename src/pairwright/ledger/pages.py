"""Documentation pages rendered from the index and the ledger: a leaf (chooser table, cards), a paper, the ledger.

Markdown text only; the site's build hook asks for it, so that no generated page is ever committed or out of date.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pairwright.core.index import Entry
from pairwright.ledger.leaves import LEAVES
from pairwright.ledger.status import STATUSES, Paper

MEANING = {
    "shown": "the advantage reaches its margin and vanishes in the control",
    "partly": "some of it is shown: the margin is reached but the control does not vanish, or not all its parts are there",
    "not_shown": "the margin is not reached at our scale",
    "stale": "the code under a result has changed since it was measured",
    "untested": "implemented and tested; no mechanism check has been run",
    "absent": "not implemented",
}


def leaf_path(kind: str) -> str:
    return f"methods/{kind}.md"


def paper_path(id_: str) -> str:
    return f"papers/{id_.replace(':', '-')}.md"


def methods_page(entries: Sequence[Entry]) -> str:
    """The map of the leaves that hold methods."""
    counts = Counter(e.kind for e in entries)
    rows = [f"| [{kind}]({kind}.md) | {LEAVES.get(kind, '')} | {counts[kind]} |" for kind in sorted(counts)]
    head = "# Methods\n\nOne page for each kind of method. Ask what a method eats and what it returns: that names its folder.\n\n"
    return head + _table("folder", "contract", "methods") + "\n".join(rows) + "\n"


def choose_page(entries: Sequence[Entry]) -> str:
    """The chooser: for every contract (I have this and want that) the methods that serve it, what each needs, and when to take which."""
    rank = {status: i for i, status in enumerate(STATUSES)}
    parts = [
        "# Which method?\n\nFind what you have and what you want; within a table take the first whose *when* fits and whose *not when* "
        "does not. Made from the methods' cards; those whose reason to exist has been [shown](claims.md) stand first. To see which is best "
        "on data like yours, [compare them](protocol.md).\n"
    ]
    for kind in sorted({e.kind for e in entries}, key=lambda k: (-sum(e.kind.split("/")[0] == k.split("/")[0] for e in entries), k)):
        have, _, want = LEAVES.get(kind, "").partition(" -> ")
        what = f"I have {have} and want {want}" if want else (have or kind).capitalize()
        parts += [f"\n## {what} {{ #{kind.replace('/', '-')} }}\n\n[{kind}]({leaf_path(kind)})\n\n"]
        parts.append(_table("I have", "use", "when", "not when", "cost", "status"))
        for e in sorted((e for e in entries if e.kind == kind), key=lambda e: (rank[e.status], e.id)):
            c = e.card
            use = f"[{_cell(c.name)}]({leaf_path(kind)}#{_anchor(e)})"
            cells = (_cell(c.needs), use, *map(_cell, (c.use_when, c.not_when, c.cost)), e.status)
            parts.append("| " + " | ".join(cells) + " |\n")
    return "".join(parts)


def leaf_page(kind: str, entries: Sequence[Entry]) -> str:
    """Chooser table and cards of one leaf."""
    parts = [
        f"# {kind}\n\n{LEAVES.get(kind, '').capitalize()}.\n\n## Which one?\n\n",
        _table("method", "use it when", "not when", "needs", "cost", "status"),
    ]
    for e in entries:
        c = e.card
        cells = (f"[{_cell(c.name)}](#{_anchor(e)})", *map(_cell, (c.use_when, c.not_when, c.needs, c.cost)), e.status)
        parts.append("| " + " | ".join(cells) + " |\n")
    up = "../" * (kind.count("/") + 1)
    parts += [_card(e, up) for e in entries]
    return "".join(parts)


def _card(e: Entry, up: str) -> str:
    c = e.card
    year = f"{c.year}, arXiv {c.arxiv}" if c.arxiv else str(c.year)
    lines = [
        f"\n## {c.name} {{ #{_anchor(e)} }}\n",
        f"{e.summary}\n",
        f"```python\n{e.import_line}\n\n{e.signature}\n```\n",
        f"```text\n{c.equation}\n```\n",
        f"- **Paper**: [{c.title}]({up}{paper_path(c.paper)}) ({year}), {c.where}",
        f"- **It says**: {c.says}",
        *(f"- **Deviation**: {d}" for d in c.deviations),
        *([f"- **Near**: {', '.join(_neighbour(n, up) for n in c.neighbours)}"] if c.neighbours else []),
        *([f"- **Also called**: {', '.join(c.aliases)}"] if c.aliases else []),
        f"- **Status**: {e.status} ({MEANING[e.status]})",
        *(f"    - {result_line(name, r)}" for name, r in e.results.items()),
    ]
    return "\n".join(lines) + "\n"


def result_line(name: str, r: dict) -> str:
    """One check result in a sentence."""
    low, high = r["interval"]
    ours = f"{r['metric']} {r['advantage']:+.3f} (95% interval {low:+.3f} to {high:+.3f})"
    reached = f"the margin of {r['margin']:g} reached in {r['k']} of {r['n']} seeds; {r['control_advantage']:+.3f} in the control"
    return f"`{name}`: {r['claim']} {ours}, {reached}; commit {r['commit'][:12] or 'unknown'}"


def paper_page(id_: str, title: str, paper: Paper | None, entries: Sequence[Entry]) -> str:
    """One paper: its mechanisms here, and where each stands."""
    own = [e for e in entries if e.card.paper == id_]
    arxiv = next((e.card.arxiv for e in own if e.card.arxiv), "")
    facts = [f"`{id_}`", *([f"{paper.tier}, {paper.family}", f"status: {paper.status}"] if paper else ["outside the ledger's list"])]
    facts += [f"arXiv {arxiv}"] if arxiv else []
    rows = []
    for e in entries:
        whose = "its own" if e in own else "another one"
        rows.append(f"| [{_cell(e.card.name)}](../{leaf_path(e.kind)}#{_anchor(e)}) | {whose} | {_cell(e.card.where)} | {e.status} |")
    return f"# {title}\n\n{' · '.join(facts)}\n\n" + _table("mechanism", "whose", "where in the paper", "status") + "\n".join(rows) + "\n"


def ledger_page(papers: Sequence[Paper]) -> str:
    """All papers with their status."""
    counts = Counter(p.status for p in papers)
    parts = [f"# The ledger\n\nThe {len(papers)} papers of the project. A status is computed from the results of mechanism checks.\n\n"]
    parts.append(_table("status", "papers", "meaning") + "".join(f"| {s} | {counts[s]} | {MEANING[s]} |\n" for s in STATUSES))
    for family in sorted({p.family for p in papers}):
        parts.append(f"\n## {family}\n\n" + _table("paper", "tier", "status"))
        for p in papers:
            if p.family == family:
                title = f"[{_cell(p.title)}]({paper_path(p.id).removeprefix('papers/')})" if p.mechanisms else _cell(p.title)
                parts.append(f"| {title} | {p.tier} | {p.status} |\n")
    return "".join(parts)


def _anchor(e: Entry) -> str:
    return e.id.rpartition("/")[2].replace("_", "-")


def _neighbour(id_: str, up: str) -> str:
    kind, _, name = id_.rpartition("/")
    return f"[{id_}]({up}{leaf_path(kind)}#{name.replace('_', '-')})"


def _table(*head: str) -> str:
    return f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
