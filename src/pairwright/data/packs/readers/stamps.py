"""Read Tux Paint's stamps: drawings and photographs with a sentence in up to a hundred languages beside each."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pairwright.data.packs.catalog import Pack
from pairwright.data.packs.names import normal, words_of
from pairwright.data.packs.rows import Files, Log, Lookup, Row, english

_ROOT = "/tuxpaint/stamps/"
# sentences that talk to the child instead of naming the thing, and the verbs that end a subject
_STATEMENT = re.compile(r"(?:this|we|with|it's|because|eat|say|remember|down|enter|boom|penguins are|tankers)\b|.*” means|yield”", re.I)
_VERB = re.compile(
    r",\s|\s(?:is|are|was|were|has|have|can|lives?|lets|gets|like this|which|that|resembles|stands|carry|carries|light means)\s"
)
_NOUNS = {"chess": "chess piece", "roadsigns": "road sign"}
_LINE = re.compile(r"^([A-Za-z_@]+)\.utf8\s*=\s*(.+)$")


def parse(text: str) -> tuple[str, list[tuple[str, str]]]:
    """A caption file: the English sentence (first line) and (language, sentence) for each translation."""
    lines = text.splitlines()
    english_line = lines[0].strip() if lines else ""
    found = [(m[1].replace("_", "-").lower(), m[2].strip()) for m in map(_LINE.match, lines[1:]) if m]
    return english_line, [(lang, said) for lang, said in found if said and not (lang.startswith("en") and said == english_line)]


def short_name(sentence: str) -> str:
    """``An Adelaide Rosella.`` -> ``Adelaide Rosella``; of a statement only its subject; "" where the sentence names nothing."""
    plain = re.sub(r"\s*\([^)]*\)", "", sentence).strip(' –“”"')
    if _STATEMENT.match(plain):
        return ""
    name = re.sub(r"^(?:an?|the|some)\s+", "", plain, flags=re.I)
    name = re.split(r"[.;:!?]\s|—|,\s(?=\w+ing\b)|\scalled\s", name)[0]
    if len(name) > 25:
        name = _VERB.split(name)[0]
    return name.strip(' .!“”"')


def read(pack: Pack, archive: Files, log: Log, needed: Lookup) -> Iterator[Row]:
    files = {p.split(_ROOT, 1)[1]: d for p, d in archive.files(lambda p: _ROOT in p and p.endswith((".png", ".svg", ".txt")))}
    for path in sorted(files):
        stem, suffix = path.rsplit(".", 1)
        if suffix == "txt":
            continue
        if suffix == "png" and f"{stem}.svg" in files:
            log.rules["left out: the drawing is there as SVG"] += 1
            continue
        if stem.endswith(("_mirror", "_flip", "_mirror_flip")):
            log.rules["left out: mirrored or flipped copy"] += 1
            continue
        said, others = parse(files.get(f"{stem}.txt", b"").decode("utf-8", errors="replace"))
        parts = stem.split("/")
        name = short_name(said)
        if not name:
            log.rules["a statement: file name" if said else "no sentence: file name"] += 1
            name = normal(words_of(parts[-1]))
        noun = _NOUNS.get(parts[-2], "")
        if noun and not set(noun.split()) & set(name.casefold().split()):
            name = f"{name} {noun}"
        yield Row(stem, files[path], name, [*english([name, said]), *others], normal(name), parts[0], words_of(parts[-2]), trim=True)
