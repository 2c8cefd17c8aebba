"""The confusion matrix as a small picture, and as the list of what is taken for what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_LEFT, _TOP, _WIDE = 100.0, 8.0, 360.0


def confusions(rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, int, int]]:
    """(true class, said class, how often), most frequent first; right answers left out."""
    count = Counter((r["truth"], r["said"]) for r in rows if r["truth"] != r["said"])
    return sorted(((t, s, n) for (t, s), n in count.items()), key=lambda x: (-x[2], x[0], x[1]))


def confusion_svg(rows: Sequence[Mapping[str, Any]], names: Sequence[str], most: int = 14) -> str:
    """SVG in the page's colours: a row for each true class, a column for each said one. With many classes those confused most."""
    worst = [c for t, s, _ in confusions(rows) for c in (t, s)]
    shown = sorted(list(dict.fromkeys([*worst, *range(len(names))]))[:most])
    count = Counter((r["truth"], r["said"]) for r in rows)
    total = Counter(r["truth"] for r in rows)
    cell = (_WIDE - _LEFT - 4) / len(shown)
    size = min(9.5, max(5.5, 0.62 * cell))
    parts = []
    for i, t in enumerate(shown):
        y = _TOP + i * cell
        parts.append(f'<text x="{_LEFT - 5}" y="{y + cell / 2:.1f}" text-anchor="end" dominant-baseline="central" '
                     f'font-size="{size:.1f}" fill="var(--muted)">{escape(_cut(names[t]))}</text>')  # fmt: skip
        for j, s in enumerate(shown):
            x, n = _LEFT + j * cell, count[t, s]
            share = n / total[t] if total[t] else 0.0
            colour = "--series-1" if t == s else "--bad"
            parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{cell - 1:.1f}" height="{cell - 1:.1f}" rx="1.5" '
                         f'fill="var({colour if n else "--wash"})" fill-opacity="{0.15 + 0.85 * share if n else 1:.2f}">'
                         f"<title>{escape(names[t])}: {n} of {total[t]} called {escape(names[s])}</title></rect>")  # fmt: skip
    foot = _TOP + len(shown) * cell
    for j, s in enumerate(shown):
        x = _LEFT + (j + 0.5) * cell
        parts.append(f'<text transform="translate({x:.1f} {foot + 5:.1f}) rotate(-50)" text-anchor="end" font-size="{size:.1f}" '
                     f'fill="var(--muted)">{escape(_cut(names[s]))}</text>')  # fmt: skip
    title = "Confusion matrix: true classes in rows, what was said in columns"
    return f'<svg viewBox="0 0 {_WIDE:.0f} {foot + 78:.0f}" role="img" aria-label="{title}" class="plot">{"".join(parts)}</svg>'


def _cut(name: str, most: int = 15) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
