"""One self-contained HTML page of results: cards, pictures, plots, failures, tables. No script, font or picture comes from elsewhere.

A page is a list of sections; each kind of section is a dataclass here and a template of the same name in ``templates/``. The page works
on a phone, follows light and dark mode, and loads nothing (its own content policy forbids it).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import jinja2
from PIL import Image

from pairwright.core import io as files
from pairwright.evaluate.result import Number


@dataclass(frozen=True)
class Tile:
    """A picture with a line under it. score: a cosine, drawn as a bar from 0 to 1. mark: ``right`` or nothing."""

    picture: bytes
    alt: str
    line: str = ""
    score: float | None = None
    mark: str = ""


@dataclass(frozen=True)
class Section:
    """What every section has: an anchor and short name for the page's menu, a title, and a lead in plain words."""

    anchor: str
    menu: str
    title: str
    lead: str


@dataclass(frozen=True)
class Cards(Section):
    """Headline numbers: (what, number, explanation) each, drawn with interval and chance on a track from 0 to 1."""

    cards: Sequence[tuple[str, Number, str]] = ()


@dataclass(frozen=True)
class Gallery(Section):
    """Queries and what they found: (query text or picture, tiles)."""

    rows: Sequence[tuple[str | Tile, Sequence[Tile]]] = ()


@dataclass(frozen=True)
class Guesses(Section):
    """Classified pictures: (tile, [(label, probability, is it right)])."""

    examples: Sequence[tuple[Tile, Sequence[tuple[str, float, bool]]]] = ()


@dataclass(frozen=True)
class Plots(Section):
    """Inline SVG plots: (title, svg, caption)."""

    plots: Sequence[tuple[str, str, str]] = ()


@dataclass(frozen=True)
class Failures(Section):
    """The worst errors: (tile, what it said, its confidence, what was right, rank of what was right)."""

    failures: Sequence[tuple[Tile, str, float, str, int]] = ()


@dataclass(frozen=True)
class Table(Section):
    """Rows of text or Numbers under a header; the first column names the row. spans: (label, columns) of a line above the header."""

    header: Sequence[str] = ()
    spans: Sequence[tuple[str, int]] = ()
    rows: Sequence[Sequence[str | Number]] = ()
    note: str = ""


@dataclass(frozen=True)
class Facts(Section):
    """Name and value pairs (machine, versions, timings)."""

    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Commands(Section):
    """Commands to copy: (what it does, command)."""

    commands: Sequence[tuple[str, str]] = ()


def render(title: str, subtitle: str, chips: Sequence[str], sections: Sequence[Section], foot: str = "") -> str:
    """The page as one string of HTML."""
    return _environment().get_template("page.html.j2").render(title=title, subtitle=subtitle, chips=chips, sections=sections, foot=foot)


def write(path: str | Path, html: str) -> Path:
    """Write the page (atomically)."""
    files.write_text(path, html)
    return Path(path)


def data_url(picture: bytes, side: int = 192) -> str:
    """An encoded picture as a small WebP ``data:`` address, on white where it is transparent."""
    with Image.open(io.BytesIO(picture)) as opened:
        rgba = opened.convert("RGBA")
    rgba.thumbnail((side, side), Image.Resampling.LANCZOS)
    flat = Image.new("RGBA", rgba.size, "white")
    flat.alpha_composite(rgba)
    out = io.BytesIO()
    flat.convert("RGB").save(out, "WEBP", quality=82, method=4)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()


def percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f}%"


@cache
def _environment() -> jinja2.Environment:
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("pairwright.evaluate", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    pictures: dict[bytes, str] = {}

    def picture(data: bytes) -> str:
        if data not in pictures:
            pictures[data] = data_url(data)
        return pictures[data]

    env.filters.update(picture=picture, percent=percent, track=track, kind=lambda section: type(section).__name__.lower())
    env.tests["number"] = lambda value: isinstance(value, Number)
    return env


def track(number: Number) -> dict[str, float]:
    """Positions in percent of a number's interval, value and chance on a track from 0 to 1."""
    clip = lambda x: round(100 * min(max(x, 0.0), 1.0), 2)
    low, high = (number.value, number.value) if number.low is None or number.high is None else (number.low, number.high)
    return {"low": clip(low), "width": round(clip(high) - clip(low), 2), "at": clip(number.value), "chance": clip(number.chance or 0.0)}
