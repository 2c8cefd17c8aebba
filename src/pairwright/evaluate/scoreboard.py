"""Standings for people: a Markdown table, the few-shot plot as a picture, and one page with plot, tables and the facts behind them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pairwright.core import io
from pairwright.core.provenance import processor
from pairwright.evaluate import report
from pairwright.evaluate.methods import ZERO_SHOT
from pairwright.evaluate.plots import Curve, curve, curve_png
from pairwright.evaluate.result import Number
from pairwright.evaluate.standings import Standings

Rows = Sequence[dict[str, Any]]
SHOWN = 4
"""How many methods are drawn in colour; the others are thin lines behind them."""


def save(s: Standings, folder: str | Path) -> Path:
    """Write the standings' files, ``table.md``, ``few_shot.png`` and ``report.html``; returns the page."""
    folder = Path(folder)
    s.save(folder)
    io.write_text(folder / "table.md", markdown(s))
    with io.atomic(folder / "few_shot.png") as tmp:
        curves, thin, base = lines_of(s)
        curve_png(tmp, curves, base, thin=thin, ylabel=s.facts["lead"])
    return report.write(folder / "report.html", page(s))


def ranked(s: Standings) -> list[Rows]:
    """The rows of the leading score method by method, the best at the most shots first."""
    by_method: dict[str, list[dict[str, Any]]] = {}
    for r in s.lead:
        by_method.setdefault(r["method"], []).append(r)
    return sorted(by_method.values(), key=lambda rows: (-rows[-1]["shots"], -rows[-1]["value"]))


def markdown(s: Standings) -> str:
    """The leading score by shots, every score at the most shots where there are several, and what did not run and why."""
    f = s.facts
    shots = f["shots"]
    lines = [f"# {f['suite']}: {f['setting']}", ""]
    lines += [f"{f['lead'].capitalize()} in percent with its 95% interval, {len(f['seeds'])} draws; {f['hyper_parameters']}."]
    lines += ["**Bold**: best of its column; =: not told apart from it (paired test, Holm, 5%).", ""]
    lines += [_row("method", *(f"{k} shot{'s' * (k > 1)}" for k in shots), "fit, s"), "|---" * (len(shots) + 2) + "|"]
    for rows in ranked(s):
        at = {r["shots"]: r for r in rows}
        slowest = max(r["seconds_fit"] for r in rows)
        lines.append(_row(rows[0]["title"], *(_cell(at.get(k)) for k in shots), f"{slowest:.2g}"))
    if more := others(s):
        last = {(r["method"], r["score"]): r for r in s.rows if r["shots"] == shots[-1]}
        lines += ["", f"Every score at {shots[-1]} shots:", "", _row("method", f["lead"], *more), "|---" * (len(more) + 2) + "|"]
        for rows in ranked(s):
            found = [last.get((rows[0]["method"], score)) for score in (f["lead"], *more)]
            lines.append(_row(rows[0]["title"], *(_cell(r) for r in found)))
    for what, found in (("Not run", s.left_out), ("Failed", s.failed)):
        if found:
            lines += ["", f"{what}:", "", *(f"- `{m}`: {why}" for m, why in found.items())]
    return "\n".join(lines) + "\n"


def others(s: Standings) -> list[str]:
    """Names of the scores that do not lead."""
    return [n for n in dict.fromkeys(r["score"] for r in s.rows) if n != s.facts["lead"]]


def lines_of(s: Standings) -> tuple[list[Curve], list[Curve], tuple[str, float]]:
    """(coloured curves, thin curves, the level of zero-shot) of the leading score."""
    found = [
        Curve(r[0]["title"].split(" (")[0], *([x[key] for x in r] for key in ("shots", "value", "low", "high")))
        for r in ranked(s)
        if r[0]["learns"]
    ]
    zero = next((r["value"] for r in s.lead if r["method"] == ZERO_SHOT), min(r["value"] for r in s.lead))
    return found[:SHOWN], found[SHOWN:], ("zero-shot", zero)


def page(s: Standings) -> str:
    """The standings as one self-contained page."""
    f = s.facts
    curves, thin, base = lines_of(s)
    caption = f"Mean over {len(f['seeds'])} draws with its 95% interval (questions and draws resampled). Thin: the other methods."
    sections: list[report.Section] = []
    if curves:
        plot = curve("few-shot", f"{f['lead']} by shots", curves, base, thin=thin, xlabel="labelled pictures a class", ylabel=f["lead"])
        sections.append(report.Plots("curve", "Curve", "How much labels help", "More shots to the right.", [(f["lead"], plot, caption)]))
    number = lambda r: "" if r is None else Number(r["value"], r["low"], r["high"], r["n"] or 0)
    rows = []
    for own in ranked(s):
        at = {r["shots"]: r for r in own}
        rows.append(
            [own[0]["title"], *(number(at.get(k)) for k in f["shots"]), _against(own[-1]), f"{max(r['seconds_fit'] for r in own):.2g} s"]
        )
    head = ["method", *(f"{k} shot{'s' * (k > 1)}" for k in f["shots"]), "over zero-shot", "fit"]
    note = f"Over zero-shot: at the most shots, with p of the paired test. {f['tests']}."
    sections.append(
        report.Table("table", "Table", f"{f['lead'].capitalize()} by method", f["hyper_parameters"] + ".", head, (), rows, note)
    )
    if more := others(s):
        last = {(r["method"], r["score"]): r for r in s.rows if r["shots"] == f["shots"][-1]}
        rows = [[own[0]["title"], *(number(last.get((own[0]["method"], n))) for n in more)] for own in ranked(s)]
        sections.append(report.Table("scores", "Scores", f"Every score at {f['shots'][-1]} shots", "", ["method", *more], (), rows))
    if s.left_out or s.failed:
        rows = [[m, why, "not run"] for m, why in s.left_out.items()] + [[m, why, "failed"] for m, why in s.failed.items()]
        sections.append(report.Table("left-out", "Left out", "What did not run, and why", "", ["method", "reason", ""], (), rows))
    facts = {"setting": f["setting"], "hyper-parameters": f["hyper_parameters"], "classes": str(f["classes"])}
    facts |= {f"questions: {name}": f"{e['n']} in {e['groups']} groups, {e['classes']} classes" for name, e in f["exams"].items()}
    facts |= {"encoder": f["encoder"] or "unknown", "commit": f["commit"][:12], "seconds": f"{f['seconds']:.0f}", "machine": processor()}
    sections.append(report.Facts("facts", "Facts", "What was compared on what", "Nothing was chosen on the questions.", facts))
    chips = [f["suite"], f["setting"], f"{len(ranked(s))} methods", f"{len(f['seeds'])} draws"]
    return report.render(
        f"Methods on {f['suite']}", "Every method learns from the same draws and answers the same questions.", chips, sections
    )


def _cell(r: dict[str, Any] | None) -> str:
    if r is None:
        return ""
    value = f"**{100 * r['value']:.1f}**" if r["best"] else f"{100 * r['value']:.1f}{'=' * r['tied']}"
    return f"{value} [{100 * r['low']:.1f}, {100 * r['high']:.1f}]"


def _against(r: dict[str, Any]) -> str:
    """The lead over zero-shot in a few words."""
    if r["p_zero_shot"] is None:
        return ""
    return f"{100 * r['over_zero_shot']:+.1f} [{100 * r['over_low']:+.1f}, {100 * r['over_high']:+.1f}], p {r['p_zero_shot']:.2g}"


def _row(*cells: str) -> str:
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"
