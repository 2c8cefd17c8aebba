"""Read WordNet's synsets: a text pack of lemmas and glosses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pairwright.data.packs.catalog import Pack
from pairwright.data.packs.names import normal
from pairwright.data.packs.rows import Files, Log, Lookup, Row, english

_PART = {"noun": "noun", "verb": "verb", "adj": "adjective", "adv": "adverb"}


def read(pack: Pack, archive: Files, log: Log, needed: Lookup) -> Iterator[Row]:
    for path, data in archive.files(lambda p: re.search(r"/wordnet/data\.(noun|verb|adj|adv)$", p) is not None):
        part = path.rsplit(".", 1)[-1]
        for line in data.decode("utf-8").splitlines():
            if line.startswith("  "):  # the licence at the top of each file
                continue
            fields, _, gloss = line.partition(" | ")
            f = fields.split(" ")
            # an adjective may carry a syntactic marker in brackets: galore(ip)
            lemmas = [re.sub(r"\(\w+\)$", "", f[4 + 2 * i]).replace("_", " ") for i in range(int(f[3], 16))]
            definition = re.split(r';\s*"', gloss, maxsplit=1)[0].strip()
            if not lemmas or not definition:
                log.skip(f"{part}-{f[0]}", "no lemma or gloss")
                continue
            yield Row(f"{part}-{f[0]}", None, lemmas[0], english([*lemmas, definition]), normal(lemmas[0]), _PART[part], "")
