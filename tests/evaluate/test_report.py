"""The page: well-formed, self-contained, escaped, accessible, and holding what it was given."""

from __future__ import annotations

import io
import itertools
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from pairwright.evaluate import plots, report
from pairwright.evaluate.report import Number, Tile

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Checks nesting, and collects ids, addresses and pictures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.addresses += [v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset", "action", "poster")]

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def png(colour: str, size: int = 40, mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, (size, size), colour).save(out, "PNG")
    return out.getvalue()


RED = Tile(png("red"), "a red square", "red <b>square</b>", 0.7, "right")
CURVES = [
    plots.Curve("one", [1, 2, 4], [0.3, 0.4, 0.5], [0.2, 0.3, 0.4], [0.4, 0.5, 0.6]),
    plots.Curve("two", [1, 4], [0.2, 0.5], [0.1, 0.4], [0.3, 0.6]),
]
SVGS = [
    plots.curve("few", "few & shots", CURVES, ("base", 0.25), xlabel="k", ylabel="acc"),
    plots.reliability("rel", "reliability", np.linspace(0, 1, 50), np.arange(50) % 2),
    plots.histogram("his", "similarities", {"match": np.linspace(0, 1, 30), "other": np.linspace(-1, 0.5, 90)}, xlabel="cosine"),
]
NUMBERS = [("Top 1", Number(0.4321, 0.41, 0.45, 1234, 99, 0.001), "note"), ("Bare", Number(0.5), "none")]
QUERIES = [("a <script>alert(1)</script> query", [RED, RED]), (RED, [Tile(png("blue"), "blue", "b", -0.2)])]
ROWS = [["row", Number(0.25, 0.2, 0.3, 10, 10)], ["plain", "–"]]
SECTIONS = [
    report.Cards("cards", "C", "Numbers", "lead", NUMBERS),
    report.Gallery("gallery", "G", "Search", "lead", QUERIES),
    report.Guesses("guesses", "Z", "Zero-shot", "lead", [(RED, [("apple", 0.75, True), ("pear", 0.25, False)])]),
    report.Plots("plots", "P", "Plots", "lead", [(f"plot {i}", svg, "caption") for i, svg in enumerate(SVGS)]),
    report.Failures("failures", "F", "Failures", "lead", [(RED, "said this", 0.93, "right that", 7)]),
    report.Table("table", "T", "Table", "lead", ["", "R@1"], [("", 1), ("way", 1)], ROWS, "note"),
    report.Facts("facts", "M", "Machine", "lead", {"threads": "2 of 2"}),
    report.Commands("commands", "D", "Do it", "lead", [("again", 'pairwright search X "red apple"')]),
]
WORDS = (
    "43.2%", "95% interval 41.0–45.0%", "chance 0.10%", "1,234 answers, 99 groups", "apple", "75%", "said this", "93% sure", "right that",
    "its choice no. 7", "25.0%", "20.0–30.0", "2 of 2", 'pairwright search X "red apple"', "-0.20", "foot", "one", "two", "base", "match",
)  # fmt: skip
HTML = report.render('Title & "more"', "sub", ["chip"], SECTIONS, "foot")
PAGE = Page(HTML)


def test_everything_that_was_given_is_on_the_page():
    for text in WORDS:
        assert text in PAGE.text, text
    assert [a["id"] for t, a in PAGE.tags if t == "section"] == [s.anchor for s in SECTIONS]
    assert sum(t == "svg" and a.get("class") == "plot" for t, a in PAGE.tags) == 3


def test_nothing_is_loaded_from_elsewhere():
    assert PAGE.addresses
    assert all(a.startswith(("data:image/webp;base64,", "#")) for a in PAGE.addresses)
    assert not re.findall(r"https?://", HTML)
    assert not re.findall(r"@import|url\((?!#)", HTML)
    assert "default-src 'none'" in HTML
    assert not any(t in ("link", "iframe", "object", "embed", "base", "form") for t, _ in PAGE.tags)


def test_text_is_escaped_and_commands_can_be_copied():
    assert "<script>alert" not in HTML
    assert "a <script>alert(1)</script> query" in PAGE.text
    assert "red <b>square</b>" in PAGE.text
    assert next(a for t, a in PAGE.tags if t == "button")["data-copy"] == 'pairwright search X "red apple"'


def test_the_right_answer_and_the_right_picture_stand_out():
    assert sum(t == "li" and a.get("class") == "right" for t, a in PAGE.tags) == 1
    assert sum(t == "figure" and a.get("class") == "tile right" for t, a in PAGE.tags) == 5
    assert not [a for _, attributes in PAGE.tags for a in attributes.values() if a and '"' in a and not a.startswith("pairwright")]


def test_it_is_accessible():
    assert all(a.get("alt") for t, a in PAGE.tags if t == "img")
    assert len(PAGE.ids) == len(set(PAGE.ids))
    targets = {a["href"][1:] for t, a in PAGE.tags if t in ("a", "use") and a.get("href", "").startswith("#")}
    assert targets <= set(PAGE.ids)
    levels = [int(t[1]) for t, _ in PAGE.tags if re.fullmatch(r"h[1-6]", t)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert all(a.get("aria-label") for t, a in PAGE.tags if t == "svg" and a.get("class") == "plot")
    assert any(t == "html" and a.get("lang") == "en" for t, a in PAGE.tags)
    assert any(t == "meta" and a.get("name") == "viewport" for t, a in PAGE.tags)


def test_plots_follow_the_page_in_colour_and_font():
    for svg in SVGS:
        assert not re.search(r"#0101\w\w|#000000", svg)
        assert "var(--" in svg
        assert "font-family" not in svg
        assert svg.count("<svg") == 1
        assert "<metadata" not in svg


def test_pictures_are_small_and_white_where_they_are_clear():
    url = report.data_url(png("#ff000000", 500, "RGBA"), side=64)
    with Image.open(io.BytesIO(__import__("base64").b64decode(url.split(",")[1]))) as picture:
        assert picture.size == (64, 64)
        assert min(picture.convert("RGB").getpixel((5, 5))) >= 250


def test_labels_at_line_ends_keep_apart():
    placed = plots._apart([0.5, 0.51, 0.52, 0.9], 0.05)
    assert sorted(placed) == placed
    assert min(np.diff(placed)) >= 0.05 - 1e-6
    assert np.mean(placed[:3]) == pytest.approx(0.51, abs=1e-6)
    assert placed[3] == 0.9
