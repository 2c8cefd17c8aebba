"""docs/benchmarks.md and its plots, from bench/results/*.json and nothing else."""

from __future__ import annotations

import io as io_
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from pairwright.core import io

DOCS = Path(__file__).parent.parent / "docs"
HEAD = """# Benchmarks

`make bench` runs every comparison on your machine (`make bench ONLY=text` one of them) and renders this page from `bench/results/`. We and
the peers run in turn, several rounds, in one run, on the same inputs and the same weights; the outputs are compared in that run. A cost is
a median, the spread is the distance between the quartiles over the median, a ratio is the median over rounds of peer / ours against the
best peer: above 1 we are ahead.
"""
UNITS = {"seconds": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")), "bytes": ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))}


def amount(value: float, cost: str) -> str:
    """A cost with three digits and a fitting unit."""
    scale, unit = next((u for u in UNITS[cost] if value >= u[0]), UNITS[cost][-1])
    return f"{value / scale:.3g} {unit}"


def bars(entries: Sequence[dict[str, Any]], cost: str) -> str:
    """A bar chart of medians as SVG (ours first), readable on light and dark pages."""
    top, height = max(e["median"] for e in entries) or 1.0, 26
    rows = []
    for i, e in enumerate(entries):
        y, width = i * height, max(2.0, 380 * e["median"] / top)
        colour = "#009688" if i == 0 else "#9e9e9e"
        rows.append(f'<text x="150" y="{y + 17}" text-anchor="end">{escape(e["name"])}</text>')
        rows.append(f'<rect x="158" y="{y + 4}" width="{width:.1f}" height="18" rx="2" fill="{colour}"/>')
        rows.append(f'<text x="{164 + width:.1f}" y="{y + 17}">{amount(e["median"], cost)}</text>')
    body = "\n".join(rows)
    style = 'font-family="sans-serif" font-size="13" fill="#808080"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 {height * len(entries)}" {style}>\n{body}\n</svg>\n'


def lines(r: dict[str, Any]) -> str:
    """A plot of series as SVG, the same bytes for the same numbers."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    grey = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), "#808080")
    with matplotlib.rc_context({"svg.hashsalt": r["name"], "font.family": "sans-serif", **grey}):
        figure, axes = plt.subplots(figsize=(6.4, 3.6))
        for i, (name, points) in enumerate(r["series"].items()):
            axes.plot(*zip(*points), marker="o", markersize=4, color=f"C{i}", label=name)
        axes.set_xlabel(r["x"])
        axes.set_ylabel(r["y"])
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        out = io_.StringIO()
        figure.savefig(out, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None})
        plt.close(figure)
    return out.getvalue()


def figure_section(r: dict[str, Any]) -> str:
    points = sorted({x for series in r["series"].values() for x, _ in series})
    cell = lambda series, x: next((f"{v:.3g}" for at, v in series if at == x), "")
    table = [f"| {r['x']} | {' | '.join(f'{x:g}' for x in points)} |", "|---" * (len(points) + 1) + "|"]
    table += [f"| {name} | {' | '.join(cell(series, x) for x in points)} |" for name, series in r["series"].items()]
    parts = [
        f"## {r['title']}",
        f"![{r['title']}](benchmarks/{r['name']}.svg)",
        r["inputs"],
        f"{r['y'][:1].upper()}{r['y'][1:]}:",
        "\n".join(table),
        r["note"],
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def verdict(r: dict[str, Any]) -> str:
    if r["reached"] is None:
        return ""
    promised = f"at least {r['bar']:g} times" if r["bar"] is not None else f"at most {amount(r['limit'], r['cost'])}"
    return f"{'reached' if r['reached'] else '**not reached**'} (goal: {promised})"


def section(r: dict[str, Any]) -> str:
    lines = [f"## {r['title']}", "", f"![{r['title']}](benchmarks/{r['name']}.svg)", ""]
    lines += [f"{r['inputs']} {r['rounds']} rounds.", ""] if r["inputs"] else []
    lines += ["| | call | median | spread |", "|---|---|---|---|"]
    lines += [f"| {e['name']} | `{e['call']}` | {amount(e['median'], r['cost'])} | {e['spread']:.0%} |" for e in r["entries"]]
    said = []
    if r["ratio"] is not None:
        said.append(f"Ratio to {r['best_peer']}: **{r['ratio']:.2f}**")
    said += [v for v in (verdict(r),) if v]
    if r["gflops"]:
        kind = r.get("peak", "fp32")
        share = r["gflops"] / r["machine"]["gemm_gflops"][kind]
        said.append(f"{r['gflops']:.0f} GFLOP/s, {share:.0%} of this machine's {kind} product peak")
    said += [f"agreement with {peer}: {how}" for peer, how in r["agreement"].items()]
    lines += ["", "; ".join(said) + ".", ""]
    lines += [r["note"], ""] if r["note"] else []
    return "\n".join(lines)


def page(records: Sequence[dict[str, Any]]) -> str:
    table = ["| what | ours | best peer | ratio | goal |", "|---|---|---|---|---|"]
    for r in (r for r in records if "entries" in r):
        peer = next((e for e in r["entries"] if e["name"] == r["best_peer"]), None)
        theirs = f"{amount(peer['median'], r['cost'])} ({peer['name']})" if peer else ""
        ratio = "" if r["ratio"] is None else f"{r['ratio']:.2f}"
        table.append(f"| {r['title']} | {amount(r['entries'][0]['median'], r['cost'])} | {theirs} | {ratio} | {verdict(r)} |")
    machines = {}
    for r in records:
        m = r["machine"]
        peaks = ", ".join(f"{kind} {value:g}" for kind, value in m["gemm_gflops"].items())
        libraries = ", ".join(f"{k} {v}" for k, v in m["versions"].items())
        key = (m["commit"], m["date"], m["processor"])
        machines[key] = machines.get(key, (peaks, libraries, m, []))
        machines[key][3].append(r["name"])
    notes = [
        f"- {', '.join(names)}: {m['processor']}, {m['threads']} threads, {m['capability']}, {m['date']}, commit `{m['commit'][:12]}"
        f"{'+' if m['commit'].endswith('+') else ''}`; products at best (GFLOP/s): {peaks}; {libraries}"
        for peaks, libraries, m, names in machines.values()
    ]
    return "\n".join(
        [HEAD, *table, "", *(section(r) if "entries" in r else figure_section(r) for r in records), "## Machine", "", *notes, ""]
    )


def render(results: Path, docs: Path = DOCS) -> None:
    """Write the page and one plot per result; plots of results that are gone are removed."""
    records = [io.read_json(p) for p in sorted(results.glob("*.json"))]
    if not records:
        return
    records.sort(key=lambda r: (r["subject"], r["name"]))
    plots = {f"{r['name']}.svg": bars(r["entries"], r["cost"]) if "entries" in r else lines(r) for r in records}
    for name, plot in plots.items():
        io.write_text(docs / "benchmarks" / name, plot)
    for old in (docs / "benchmarks").glob("*.svg"):
        if old.name not in plots:
            old.unlink()
    io.write_text(docs / "benchmarks.md", page(records))


if __name__ == "__main__":
    render(Path(__file__).parent / "results")
