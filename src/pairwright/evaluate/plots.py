"""Plots for the report: small SVG pictures whose colours are the page's own CSS variables, so that they follow light and dark mode."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# Colours that no plot would use stand for the page's variables; matplotlib writes them, `_inline` exchanges them.
INK, MUTED, LINE = "#010101", "#010102", "#010103"
SERIES = ("#010104", "#010105", "#010106", "#010107")
_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", **{c: f"--series-{i + 1}" for i, c in enumerate(SERIES)}}
SAME = {colour: colour for colour in _VARIABLES}
PAPER = dict(zip(_VARIABLES, ("#1d1f1c", "#666a62", "#e6e4dc", "#1f7a4d", "#b96a12", "#4b5bb5", "#8a5a86"), strict=True))
"""The colours of the page on white, for pictures that stand alone."""

_POINTS = 9.8


@dataclass(frozen=True)
class Curve:
    """One line of `curve`: y over x with a band. ahead: so many points at its end are extrapolated, and drawn dashed and hollow."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    ahead: int = 0


def curve(
    name: str,
    title: str,
    curves: Sequence[Curve],
    base: tuple[str, float],
    *,
    thin: Sequence[Curve] = (),
    xlabel: str = "",
    ylabel: str = "",
) -> str:
    """Lines with bands over shots (powers of two), each labelled at its end; base: name and height of a dashed level to beat.

    thin: further lines that are drawn behind, without a name.
    """
    fig, ax = _axes()
    _draw(fig, ax, curves, base, thin, xlabel, ylabel)
    return _inline(fig, name, title)


def curve_png(
    path: Any, curves: Sequence[Curve], base: tuple[str, float], *, thin: Sequence[Curve] = (), xlabel: str = "shots", ylabel: str = ""
) -> None:
    """The picture of `curve` as a PNG file on white."""
    fig, ax = _axes(PAPER)
    _draw(fig, ax, curves, base, thin, xlabel, ylabel, PAPER)
    fig.savefig(path, format="png", dpi=160, facecolor="white", metadata={"Software": None})


def _draw(
    fig: Any,
    ax: Any,
    curves: Sequence[Curve],
    base: tuple[str, float],
    thin: Sequence[Curve],
    xlabel: str,
    ylabel: str,
    ink: Mapping[str, str] = SAME,
) -> None:
    for c in thin:
        ax.plot(c.x, c.y, color=ink[MUTED], linewidth=0.7, alpha=0.45)
    for colour, c in zip(map(ink.__getitem__, SERIES), curves):
        ax.fill_between(c.x, c.low, c.high, color=colour, alpha=0.14, linewidth=0)
        known = len(c.x) - c.ahead
        ax.plot(c.x[:known], c.y[:known], color=colour, linewidth=1.8, marker="o", markersize=3.6)
        if c.ahead:
            ax.plot(c.x[known - 1 :], c.y[known - 1 :], color=colour, linewidth=1.4, linestyle=(0, (2, 2)), zorder=1)
            ax.plot(c.x[known:], c.y[known:], color=colour, linestyle="none", marker="o", markersize=4.4, fillstyle="none")
    x = sorted({v for c in curves for v in c.x}) or [1]
    ax.set_xscale("log", base=2)
    ax.set_xticks(x, [f"{v:g}" for v in x])
    ax.minorticks_off()
    ax.axhline(base[1], color=ink[MUTED], linewidth=1.1, linestyle=(0, (4, 3)))
    ends = [(c.y[-1], c.label, colour) for colour, c in zip(map(ink.__getitem__, SERIES), curves)] + [(base[1], base[0], ink[MUTED])]
    low, high = ax.get_ylim()
    for at, (y, label, colour) in zip(_apart([e[0] for e in ends], (high - low) * 0.085), ends, strict=True):
        place = (1.03, (at - low) / (high - low))
        ax.annotate(label, (x[-1], y), xytext=place, textcoords="axes fraction", color=colour, va="center", fontsize=_POINTS)
    ax.set_ylim(low, high)
    ax.yaxis.set_major_formatter(_percent)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    fig.subplots_adjust(left=0.15, right=0.71, top=0.96, bottom=0.18)


def reliability(name: str, title: str, confidence_N: ArrayLike, correct_N: ArrayLike, bins: int = 10) -> str:
    """How often the answer is right, by how sure the model was; dots grow with the number of answers, the diagonal is perfect."""
    p, c = np.asarray(confidence_N, dtype=float), np.asarray(correct_N, dtype=float)
    which = np.clip(np.ceil(p * bins).astype(int) - 1, 0, bins - 1)
    size = np.bincount(which, minlength=bins)
    there = size > 0
    x, y = (np.bincount(which, weights=w, minlength=bins)[there] / size[there] for w in (p, c))
    half = 1.96 * np.sqrt(np.maximum(y * (1 - y), 0.25 / size[there]) / size[there])
    fig, ax = _axes()
    ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)))
    ax.vlines(x, np.clip(y - half, 0, 1), np.clip(y + half, 0, 1), color=SERIES[0], alpha=0.35, linewidth=2)
    ax.plot(x, y, color=SERIES[0], linewidth=1.2, alpha=0.6)
    ax.scatter(x, y, s=18 + 160 * size[there] / size.sum(), color=SERIES[0], zorder=3, linewidths=0, clip_on=False)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(_percent)
    ax.set_xlabel("how sure the model said it was")
    ax.set_ylabel("how often it was right")
    return _inline(fig, name, title)


def histogram(name: str, title: str, groups: Mapping[str, ArrayLike], *, xlabel: str = "") -> str:
    """Densities of several samples over shared bins (similarities of matching and of other pairs)."""
    fig, ax = _axes()
    values = {k: np.asarray(v, dtype=float) for k, v in groups.items()}
    edges = np.linspace(min(v.min() for v in values.values()), max(v.max() for v in values.values()), 49)
    for colour, (label, v) in zip(SERIES, values.items()):
        height, _ = np.histogram(v, edges, density=True)
        ax.stairs(height, edges, fill=True, color=colour, alpha=0.22)
        ax.stairs(height, edges, color=colour, linewidth=1.5, label=label)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(xlabel)
    ax.legend(loc="upper right", fontsize=_POINTS, labelcolor=INK, handlelength=1.2, borderaxespad=0.1)
    fig.subplots_adjust(left=0.04, right=0.97, top=0.96, bottom=0.18)
    return _inline(fig, name, title)


def _percent(value: float, _: Any) -> str:
    return f"{100 * value:.0f}%"


def _apart(at: Sequence[float], gap: float) -> list[float]:
    """Nearest positions, in order, that keep `gap` between neighbours, centred on where they wanted to be."""
    order = np.argsort(at)
    placed = np.array(at, dtype=float)[order]
    for _ in range(50):
        for i in range(len(placed) - 1):
            if (miss := gap - (placed[i + 1] - placed[i])) > 1e-9:
                placed[i] -= miss / 2
                placed[i + 1] += miss / 2
    out = np.empty_like(placed)
    out[order] = placed
    return out.tolist()


def _axes(ink: Mapping[str, str] = SAME) -> tuple[Any, Any]:
    """A bare figure without pyplot's global state."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(5.0, 3.1), dpi=72)
    ax = fig.add_subplot()
    fig.subplots_adjust(left=0.16, right=0.96, top=0.96, bottom=0.18)
    ax.set_axisbelow(True)
    ax.grid(axis="y", color=ink[LINE], linewidth=0.8)
    ax.tick_params(color=ink[LINE], labelcolor=ink[MUTED], labelsize=_POINTS, length=0, pad=5)
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(ink[LINE])
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_color(ink[MUTED])
        axis.label.set_fontsize(_POINTS)
    return fig, ax


def _inline(fig: Any, name: str, title: str) -> str:
    """SVG to put into a page: no metadata, no global style, ids of its own, the page's font and colours."""
    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "legend.frameon": False}):
        for legend in (ax.get_legend() for ax in fig.axes):
            if legend is not None:
                legend.set_frame_on(False)
        fig.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue()[out.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'(?:xlink:)?href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r'font:[^;"]*?([\d.]+)px[^;"]*', r"font-size: \1px", svg)
    svg = re.sub(r"font-family:[^;\"]*;?", "", svg)
    svg = re.sub("|".join(_VARIABLES), lambda m: f"var({_VARIABLES[m[0]]})", svg)
    head = f'<svg viewBox="0 0 360 223.2" role="img" aria-label="{escape(title)}" class="plot">'
    return re.sub(r"\n\s*", "\n", head + svg[svg.index(">") + 1 :].strip())
