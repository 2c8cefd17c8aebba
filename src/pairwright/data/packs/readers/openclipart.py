"""Read the Open Clip Art Library: SVG drawings with titles, tags and authors in their metadata."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any

from pairwright.data.packs.captions import KEPT, Meta, choose, clean_stem
from pairwright.data.packs.catalog import Pack
from pairwright.data.packs.names import normal, words_of
from pairwright.data.packs.rows import Files, Log, Lookup, Row, english

_ROOT = "/openclipart/svg/"
_SUITS = {"c": "clubs", "d": "diamonds", "h": "hearts", "s": "spades"}
_RANKS = {"a": "ace", "j": "jack", "q": "queen", "k": "king"} | {str(i): w for i, w in enumerate(
    ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"], 2)}  # fmt: skip
# folders whose files are named only by what distinguishes them: the noun that the name needs
_NOUNS = {
    "flags": "flag", "roadsigns": "road sign", "jigsaw": "jigsaw piece", "gradients": "gradient", "patterns": "pattern",
    "aiga-symbols": "sign", "callouts": "speech balloon", "flowchart": "flowchart symbol", "semaphore": "semaphore flag",
}  # fmt: skip
_SHARED = 5
_FAMILY = 20
_STAR = re.compile(r"/star_(\d+)pt(\d+)step\.svg$")
_THEMES = re.compile(r"-theme/|/icons/")


def meta_of(path: str, svg: bytes) -> Meta:
    """The drawing's own words, out of its RDF metadata (read by pattern: many files are not valid XML)."""
    text = svg.decode("utf-8", errors="replace")
    block = re.search(r"<metadata.*?</metadata>", text, re.S)
    rdf = re.sub(r"<dc:publisher>.*?</dc:publisher>", "", block.group(0), flags=re.S) if block else ""

    def first(pattern: str) -> str:
        m = re.search(pattern, rdf, re.S)
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", m[1])).split()) if m else ""

    tags = tuple(unescape(t).strip() for t in re.findall(r"<rdf:li>([^<]*)</rdf:li>", rdf))
    author = first(r"<dc:creator>.*?<dc:title>(.*?)</dc:title>")
    rdf = re.sub(r"<dc:(creator|rights|contributor)>.*?</dc:\1>", "", rdf, flags=re.S)
    stem = path.rsplit("/", 1)[-1].removesuffix(".svg")
    return Meta(stem, first(r"<dc:title>(.*?)</dc:title>"), first(r"<dc:description>(.*?)</dc:description>"), tags, author)


def special_name(path: str) -> str:
    """Names that only a file's code tells: playing cards and many-pointed stars. "" for all others."""
    if m := re.search(r"/cards/\w+/\w+_([cdhs])_(10|[2-9ajqk])\.svg$", path):
        return f"{_RANKS[m[2]]} of {_SUITS[m[1]]} playing card"
    star = _star(path)
    return f"{star[0]}-pointed star" if star else ""


def _with_noun(name: str, folders: list[str]) -> str:
    nouns = [_NOUNS[f] for f in reversed(folders) if f in _NOUNS]
    if not nouns or set(normal(nouns[0]).split()) & set(normal(name).split()):
        return name
    return f"flag of {name}" if nouns[0] == "flag" and len(name.split()) < 4 else f"{name} {nouns[0]}"


def english_words(table: Any) -> tuple[Callable[[str], bool], Callable[[str], bool]]:
    """Is this word in WordNet (as a lemma or part of one)? Two answers: with proper names, and without."""
    every: set[str] = set()
    common: set[str] = set()
    for captions in table["captions"].to_pylist():
        for lemma in captions[:-1]:
            words = normal(lemma).split()
            every.update(words)
            if lemma == lemma.lower():
                common.update(words)
    return lambda w: normal(w) in every, lambda w: normal(w) in common


def _star(path: str) -> tuple[int, int] | None:
    """(points, step) of a drawing of the long series of stars."""
    m = _STAR.search(path)
    return (int(m[1]), int(m[2])) if m else None


def _thin_stars(files: dict[str, bytes], log: Log) -> None:
    """Keep two stars for each number of points: 1,375 of them differ by hairlines only."""
    steps: dict[int, list[int]] = defaultdict(list)
    for points, step in filter(None, map(_star, files)):
        steps[points].append(step)
    keep = {(n, s) for n, all_steps in steps.items() for s in (min(all_steps), sorted(all_steps)[len(all_steps) // 2])}
    for path in [p for p in files if (star := _star(p)) and star not in keep]:
        del files[path]
        log.rules["left out: one of a long series of look-alikes"] += 1


def read(pack: Pack, archive: Files, log: Log, needed: Lookup) -> Iterator[Row]:
    known, common = english_words(needed("wordnet"))
    files: dict[str, bytes] = {}
    folders: dict[str, set[str]] = defaultdict(set)
    first: dict[bytes, str] = {}
    found = {path.split(_ROOT, 1)[1]: data for path, data in archive.files(lambda p: _ROOT in p and p.endswith(".svg"))}
    # the library files one drawing under several folders: keep the most specific path
    for path, data in sorted(found.items(), key=lambda kv: (-kv[0].count("/"), kv[0])):
        digest = hashlib.sha256(data).digest()
        keep = first.setdefault(digest, path)
        folders[keep].update(path.split("/")[:-1])
        if keep == path:
            files[path] = data
        else:
            log.rules["left out: the same file in another folder"] += 1
    _thin_stars(files, log)
    metas = {path: meta_of(path, data) for path, data in sorted(files.items())}
    stems: dict[str, set[str]] = defaultdict(set)
    for m in metas.values():
        for text in {m.title, " ".join(m.description.split())}:
            stems[text].add(normal(clean_stem(m.stem, m.author)))
    named = []
    for path, m in metas.items():
        choice = choose(m, shared=lambda text: len(stems.get(text, ())) >= _SHARED, known=known, common=common)
        special = special_name(path)
        name = special or _with_noun(choice.name, path.split("/")[:-1])
        rule = "code in the file name" if special else choice.rule
        if rule:
            log.rules[rule] += 1
        captions = (name, *choice.captions[1:]) if special else (name, *choice.captions)
        named.append((path, name, captions, rule))
    family = Counter(re.sub(r"\d+", "", f"{path.rsplit('/', 1)[0]}/{name}") for path, name, _, _ in named)
    for path, name, captions, rule in named:
        unsure = rule.endswith(KEPT)
        if not re.search(r"[^\W\d_]{2}", name) or (unsure and _THEMES.search(path)):
            log.skip(path, "nothing says what it shows")
            continue
        # long series of look-alikes (1,375 stars) and names out of a theme's file names count less
        weight = min(1.0, _FAMILY / family[re.sub(r"\d+", "", f"{path.rsplit('/', 1)[0]}/{name}")])
        weight *= 0.5 if unsure or rule.endswith("tag") or (rule and _THEMES.search(path)) else 1.0
        parts = path.split("/")
        group = normal(re.sub(r"\d+-", "", name)) if _star(path) else normal(name)
        said = english([*captions, *_places(parts)])
        yield Row(path.removesuffix(".svg"), files[path], name, said, group, parts[0], words_of(parts[-2]), weight, trim=True)


def _places(parts: list[str]) -> list[str]:
    """The innermost folder as a last caption where it names a kind of thing ("dogs"), not a theme or a heap."""
    place = words_of(parts[-2])
    return (
        [place]
        if len(parts) > 2 and not re.search(r"theme|unsorted|misc|symbols|action|applic|filesys|mime|device|icons|unsort", place)
        else []
    )
