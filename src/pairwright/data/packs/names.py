"""Names: one normal form by which packs agree that two rows are the same concept."""

from __future__ import annotations

import re
import unicodedata

_ARTICLES = {"a", "an", "the", "some"}


def words_of(text: str) -> str:
    """File-name or identifier style to words: ``glace_01``, ``closed-box``, ``addUser`` give ``glace 01``, ``closed box``, ``add User``."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", text)
    return re.sub(r"[\s_\-.+]+", " ", text).strip()


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def normal(name: str) -> str:
    """The normal form of a name: no accents, case, punctuation, leading article, trailing number or plural s. May be empty.

    Two rows with one normal form count as one concept: groups of openclipart, stamps and icons, and the rule that keeps held-out
    concepts out of training, are both made of it.
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    words = re.sub(r"[\W_]+", " ", plain.replace("'", "")).split()
    while len(words) > 1 and words[0] in _ARTICLES:
        words = words[1:]
    while len(words) > 1 and words[-1].isdecimal():
        words = words[:-1]
    return " ".join(_singular(w) for w in words)


def code_points(key: str) -> str:
    """An emoji's concept id: its code points in upper-case hex joined by ``-``, without the variation selector FE0F."""
    return "-".join(p.upper().lstrip("0") for p in re.split(r"[-_ ]", key) if p and p.upper() != "FE0F")
