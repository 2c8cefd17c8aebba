"""The suites: what the models of this project are asked. A suite is a row; `describe()` prints them, `get(name)` finds one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches

from pairwright.suites.suite import Suite

LANGUAGES = (
    "bn", "da", "de", "es", "et", "fi", "fr", "hi", "hu", "it", "ja", "ko", "lt",
    "ms", "nb", "nl", "pl", "pt", "ru", "sv", "th", "uk", "vi", "zh", "zh-hant",
)  # fmt: skip

_NAME = Suite("", "", "classify", (), headline="acc1", ks=(1, 5, 10))
_CLASS = Suite("", "", "classify", (), templates="icon", ks=(1, 5), headline="acc1")
_PAIRS = Suite("", "", "retrieve", (), ks=(1, 5, 10), headline="text_retrieval_recall@5")
_FEW = Suite("", "", "few_shot", (), templates="icon", shots=(1, 2, 4, 8, 16), headline="acc1[tip_adapter,k=16]")
_HELD = replace(_FEW, splits=("train", "test"), learn="split")
_APPLE = {"data": ("emoji-apple",)}
_TRAINED = (("google", "emoji-google"), ("twitter", "emoji-twitter"), ("noto", "noto"), ("twemoji", "twemoji"))

SUITES: tuple[Suite, ...] = (
    # a held-out part of collections that training saw: pictures against their own titles
    replace(_PAIRS, name="openclipart-retrieval", data=("openclipart",),
            about="held-out clip art and its own title, among all held-out titles, both ways"),
    replace(_PAIRS, name="stamps-retrieval", data=("stamps",), text="captions",
            about="held-out Tux Paint stamps and their English caption, both ways"),
    # pictures of a vendor that no training has seen
    replace(_NAME, name="unseen-vendor", **_APPLE, concepts="train", among="all",
            about="an unseen vendor's pictures of known concepts: the exact name among all emoji names"),
    replace(_NAME, name="unseen-vendor-all", **_APPLE, among="all",
            about="an unseen vendor's pictures of all concepts, held-out ones too: the exact name among all emoji names"),
    # concepts that no training has seen, drawn by known and by unknown hands
    replace(_NAME, name="unseen-concept", data=("emoji-google", "emoji-twitter"), concepts="test", headline="acc5",
            about="held-out emoji concepts in known styles: the name among the held-out names"),
    replace(_NAME, name="unseen-concept-and-vendor", **_APPLE, concepts="test", headline="acc5",
            about="held-out emoji concepts in an unseen style: the name among the held-out names"),
    # icon sets that no training has seen
    replace(_NAME, name="icons-lucide", data=("lucide",), headline="acc10",
            about="an unseen icon set (lines): the own name among all names of the set"),
    replace(_NAME, name="icons-flat-color", data=("flat-color-icons",), headline="acc10",
            about="an unseen icon set (coloured): the own name among all names of the set"),
    # zero-shot classes
    replace(_CLASS, name="emoji-subgroup", **_APPLE, text="label",
            about="an unseen vendor's emoji: which of about 100 subgroups"),
    replace(_CLASS, name="emoji-subgroup-unseen", **_APPLE, text="label", concepts="test", among="all",
            about="an unseen vendor's pictures of held-out concepts: which of about 100 subgroups"),
    replace(_CLASS, name="emoji-group", **_APPLE, text="category",
            about="an unseen vendor's emoji: which of 10 groups"),
    replace(_CLASS, name="openclipart-folder", data=("openclipart",), text="category", min_class=5,
            about="held-out clip art: which folder of the collection (folders with 5 groups or more)"),
    replace(_CLASS, name="fashion-mnist", data=("fashion-mnist",), text="label", cluster="id",
            about="small grey photographs of clothes: which of 10 kinds"),
    # other languages
    replace(_PAIRS, name="emoji-multilingual", **_APPLE, text="captions", langs=("en", *LANGUAGES), headline="text_retrieval_recall@5[en]",
            about="an unseen vendor's emoji and their name in each of 26 languages, both ways"),
    # a few labels; what is asked shares no concept with what is learnt
    replace(_FEW, name="emoji-few-shot", **_APPLE, text="label", learn="halves", min_class=8,
            about="subgroups of an unseen vendor's emoji, learnt from k pictures each of half of the concepts, asked on the other half"),
    replace(_FEW, name="fashion-few-shot", data=("fashion-mnist",), splits=("train", "test"), text="label", learn="split", cluster="id",
            about="kinds of clothes, learnt from k pictures each of the training split, asked on the test split"),
    replace(_FEW, name="emoji-few-shot-fxemoji", data=("fxemoji",), splits=("val", "test"), text="label", learn="halves",
            min_class=8, about="the same for another unseen vendor (Firefox OS), in the subgroups that it has enough of"),
    *(replace(_HELD, name=f"emoji-few-shot-{v}", data=(pack,), text="label",
              about=f"subgroups of {v}'s emoji, learnt from k pictures each of concepts in training, asked on held-out concepts")
      for v, pack in _TRAINED),
    replace(_HELD, name="openclipart-few-shot", data=("openclipart",), text="category", min_class=8,
            about="folders of clip art, learnt from k pictures each of the training part, asked on held-out titles"),
    replace(_HELD, name="stamps-few-shot", data=("stamps",), text="category", min_class=8,
            about="kinds of Tux Paint stamps, learnt from k pictures each of the training part, asked on held-out stamps"),
    *(replace(_FEW, name=f"icons-few-shot-{pack}", data=(pack,), splits=("train",), text="category", learn="halves", min_class=16,
              seen=True, about=f"categories of the icon set {pack}, learnt from k icons each, asked on others (the shipped model saw them)")
      for pack in ("material-symbols", "mdi")),
    # one thing in one look: the generated world, needs no download
    *(replace(_FEW, name=f"shapes-few-shot-{style}", data=(f"world-{style}",), text="label", learn="halves", templates=("a {}",),
              about=f"24 shapes in the look {style}, learnt from k pictures each in half of the colours, asked in the others; generated")
      for style in ("natural", "pastel", "dusk", "sepia", "grainy", "blurred", "blocky")),
    # without any download
    replace(_PAIRS, name="world-retrieval", data=("world",), text="captions*",
            about="generated scenes and their captions, both ways; needs no download (made for models trained on the world)"),
)  # fmt: skip


def get(name: str) -> Suite:
    """The suite of that name; an unknown name is answered with the nearest ones."""
    for suite in SUITES:
        if suite.name == name:
            return suite
    raise ValueError(f"there is no suite {name!r}; {_nearest(name, [s.name for s in SUITES])}")


def few_shot(name: str) -> Suite:
    """A few-shot suite by its name or by its pack (``emoji-apple``); another name is answered with the nearest ones."""
    found = [s for s in SUITES if s.task == "few_shot"]
    for suite in found:
        if name in (suite.name, *suite.data):
            return suite
    if any(s.name == name for s in SUITES):
        raise ValueError(f"suite {name} asks without examples; the few-shot suites are {', '.join(s.name for s in found)}")
    raise ValueError(f"there is no few-shot suite {name!r}; {_nearest(name, [n for s in found for n in (s.name, *s.data)])}")


def _nearest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, list(dict.fromkeys(known)), 3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else f"the suites are {', '.join(dict.fromkeys(known))}"


def describe(suites: Sequence[Suite] = SUITES) -> str:
    """One line per suite: name, task, data, leading metric, what is asked."""
    rows = [(s.name, s.task, "+".join(s.data), s.headline, s.about) for s in suites]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join("  ".join((*(cell.ljust(w) for cell, w in zip(row, widths)), row[4])) for row in rows)
