"""Which titles of clip art are junk, by rule, and what takes their place: the file name, or a tag.

A library of drawings by hundreds of hands holds titles that name a collection ("Part of the Flat Icon Collection"), an author, a file
("glace_01") or nothing. Each rule has a name, and every replacement is counted under it in the pack's manifest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from pairwright.data.packs.names import normal, words_of

_COLLECTION = re.compile(
    r"part of the|clip\s?art|icon ?set|icon theme|-theme\b|svg theme|\bicons$|collection|\bsvg\b|su?ib?mission|aiga_|^various "
    r"|^simple arrows|^advertising$|^sallite$|^map symbols$|^australian maps$|^card$|^road signs$",
    re.I,
)
_HASH = re.compile(r"hash\(0x|^[0-9a-f]{8,}$|^[0-9a-f]{3}\d{3}[0-9a-f]?$", re.I)
_NOTHING = {
    "", "unknown", "untitled", "unsorted", "none", "title", "image", "drawing", "new document", "sodipodi drawing", "test", "clipart",
}  # fmt: skip
_EMAIL = re.compile(r"\S+@\S+\.\w+|https?://|www\.", re.I)
_PREFIX = re.compile(r"^clip\s?art by [^-]+-\s*", re.I)
_PRODUCTS = {"inkscape", "konsole", "gentoo", "firefox"}
_REMARK = re.compile(
    r"\s*\((?:b and w|black and white|b/w|bw)\)$|\s+-\s+(?:rpg map elem\w*|body part)$|[\s_\-](?:aj|bw)$"
    r"|^(?:hotel icon|etiquette)\s+(?=\w)",
    re.I,
)
_TAG_JUNK = {
    "", "hash", "unsorted", "computer", "desktop", "icon", "icons", "symbol", "sign", "signs and symbols", "theme", "lemon theme icon",
    "computer icons", "magick", "shape", "shapes", "special", "appicon", "mapsym", "clip art", "clipart", "svg", "mimeicon", "webpage",
    "gramastar", "action", "simple", "application", "mimetypes", "mime types", "filesystem", "unsort", "utensile", "other", "misc",
    "miscellany", "networksym", "weathersym",
}  # fmt: skip
_SUFFIXES = re.compile(
    r"(?:[_\- ]+(?:ganson|bw|aj|zazou|mo|bwh|symbol|1m|10cm|nurbldoff|nubldoff)|[_\-]\d{0,3}[a-z]?|(?<=[a-z])\d{1,3}|\.svg)$", re.I
)
_PREFIXES = re.compile(r"^(?:aiga|gnome[_\-](?:mime|fs|dev|stock)?|stock|bb|fc|svg|plastik[_\- ]icon|hotel[_\- ]icon|\d{2,3})[_\- ]+", re.I)


FOREIGN, KEPT = "no English word in it", "kept"


@dataclass(frozen=True)
class Meta:
    """What a drawing says of itself: title, description, tags, author, and its file's stem (name without suffix)."""

    stem: str
    title: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    author: str = ""


@dataclass(frozen=True)
class Choice:
    """The name that a drawing gets, its further captions, and the rule that replaced its title ("" where the title was good)."""

    name: str
    captions: tuple[str, ...]
    rule: str


def clean_stem(stem: str, author: str = "") -> str:
    """A file's stem as words, without its author's name (which may be cut off), numbering and theme prefix.

    >>> clean_stem("acquila_architetto_franc_03", "Architetto Francesco Rollandin")
    'acquila'
    """
    stem = re.sub(r"[_\-]+(?:r|\d+[a-z]?)?$", "", stem) or stem
    who = re.sub(r"[\W_]+", "_", author.casefold()).strip("_")
    low = re.sub(r"[\W_]", "_", stem.casefold())
    for i in (m.end() for m in re.finditer("_", low)):
        tail = low[i:].strip("_")
        if len(tail) >= 3 and who.startswith(tail) and low[:i].strip("_"):
            stem = stem[: i - 1]
            break
    before = None
    while before != stem:
        before = stem
        shorter = _SUFFIXES.sub("", stem)
        stem = shorter if len(shorter.strip("_- ")) >= 3 else stem
    shorter = _PREFIXES.sub("", stem)
    return words_of(shorter if len(shorter) >= 3 else stem)


def clean_title(title: str) -> str:
    """A title without an author's prefix, underscores, a trailing number and a remark in brackets about black and white."""
    title = _REMARK.sub("", _PREFIX.sub("", title)).strip().strip('"')
    if "_" in title or ("-" in title and " " not in title):
        title = words_of(title)
    title = re.sub(r"(?<=[a-z]{2})(?=[A-Z][a-z]{2})", " ", title)
    return re.sub(r"(?<=\D)[\s#]*\d{1,3}$", "", title).strip(" -_.") or title.strip()


def clean_tags(tags: tuple[str, ...], author: str = "") -> tuple[str, ...]:
    """Tags that say what is shown: without hashes, authors, theme words and empty ones, each once."""
    kept: dict[str, str] = {}
    for tag in tags:
        words = words_of(tag).casefold()
        junk = words in _TAG_JUNK or _HASH.search(tag) or _EMAIL.search(tag) or len(words) < 3 or len(words) > 40 or "rollandin" in words
        if not junk and words != words_of(author).casefold() and not words.isdecimal():
            kept.setdefault(normal(words), words)
    return tuple(kept.values())


def split_known(text: str, known: Callable[[str], bool], common: Callable[[str], bool], shortest: int = 3) -> str:
    """Unknown words taken apart where both parts are common English: ``edittrash`` -> ``edit trash``; the k falls off ``kview``."""

    def split(word: str) -> str:
        if len(word) < 5 or not word.isalpha() or known(word) or word.casefold() in _PRODUCTS:
            return word
        cuts = [i for i in range(shortest, len(word) - shortest + 1) if common(word[:i]) and common(word[i:])]
        if cuts:
            cut = min(cuts, key=lambda i: abs(2 * i - len(word)))
            return f"{word[:cut]} {word[cut:]}"
        return word[1:] if word[0] in "kK" and common(word[1:]) else word

    apart = " ".join(split(w) for w in text.split())
    # a text that keeps an unknown word is foreign, and then short English words in it are accidents (foglie: fog lie)
    return apart if all(known(w) or w.isdecimal() for w in apart.split()) else text


def title_fault(meta: Meta, *, shared: Callable[[str], bool] = lambda t: False, known: Callable[[str], bool] = lambda w: True) -> str:
    """The name of the rule by which a title is junk, or "".

    shared: does the title stand on many files of different names (then it names a collection)? known: is it a word of English?
    """
    title = meta.title.strip()
    if title.casefold() in _NOTHING:
        return "nothing said"
    if _HASH.search(title):
        return "a hash"
    if _EMAIL.search(title):
        return "an address"
    if _PREFIX.search(title):
        return "author's prefix on a copied title"
    if _COLLECTION.search(title):
        return "name of a collection"
    if meta.author and normal(title) == normal(meta.author):
        return "name of the author"
    words = normal(clean_title(title)).split()
    if shared(title) and not set(words) & set(normal(clean_stem(meta.stem, meta.author)).split()):
        return "one title on many different files"
    if not any(len(w) >= 3 and any(c in "aeiouy" for c in w) for w in words) and title.isascii():
        return "no word in it"
    if not any(known(w) for w in words):
        return FOREIGN
    return ""


def choose(
    meta: Meta,
    *,
    shared: Callable[[str], bool] = lambda t: False,
    known: Callable[[str], bool] = lambda w: True,
    common: Callable[[str], bool] = lambda w: False,
) -> Choice:
    """The best short English name of a drawing and its captions: the title where it is good, else the file's name, else a tag.

    The description is kept as a caption unless it is an address or repeats the title; a title that is only foreign stays a caption.
    `known` and `common` say whether a word is English, with and without proper names.
    """
    fault = title_fault(meta, shared=shared, known=known)
    title, tags = clean_title(meta.title), clean_tags(meta.tags, meta.author)
    foreign = fault == FOREIGN
    # foreign words fall apart into short English ones by accident (chi ave), so only long parts count there
    stem = split_known(clean_stem(meta.stem, meta.author), known, common, 4 if foreign else 3)
    stem_known = any(known(w) for w in normal(stem).split() if len(w) >= 3)
    if not fault:
        name, rule = title, ""
    elif stem_known:
        name, rule = stem, f"{fault}: file name"
    elif tags:
        # a foreign word or a proper name: what kind of thing it is, in English, is what the picture shows
        name, rule = tags[0], f"{fault}: tag"
    else:
        name, rule = (title if foreign else stem), f"{fault}: {KEPT}"
    if len(name) > 80:
        name, rule = stem, "too long: file name"
    captions = [name, *([title] if not fault or foreign else []), *([stem] if fault and stem_known else []), *tags]
    about = " ".join(meta.description.split())
    if (
        about
        and not _HASH.search(about)
        and not _EMAIL.search(about)
        and not shared(about)
        and len(about) >= 4
        and normal(about) != normal(meta.author)
    ):
        captions.append(about[:300])
    return Choice(name.strip(), tuple(captions), rule)
