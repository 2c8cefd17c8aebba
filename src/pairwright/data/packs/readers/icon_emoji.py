"""Read an emoji set that comes as an icon package (noto, twemoji, fxemoji): base emoji only, with captions in every language."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from pairwright.data.packs.catalog import Pack
from pairwright.data.packs.names import code_points
from pairwright.data.packs.readers._annotate import Annotations
from pairwright.data.packs.readers.icons import load, svg_of
from pairwright.data.packs.rows import Files, Log, Lookup, Row

_SKIN = {"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"}


def _squash(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def by_name(known: Annotations) -> dict[str, str]:
    """Names without spaces -> code points: a set without a code table (fxemoji) names its icons by Unicode's names, run together."""
    found: dict[str, str] = {}
    for key in known.by_key:
        if "-" not in key:
            found.setdefault(_squash(unicodedata.name(chr(int(key, 16)), "")), key)
    for key, row in known.by_key.items():
        found.setdefault(_squash(row["name"]), key)
    found.pop("", None)
    return found


def read(pack: Pack, archive: Files, log: Log, needed: Lookup) -> Iterator[Row]:
    icons, _, chars = load(archive)
    known = Annotations(needed("emojibase"))
    if chars:
        codes = {icon: code_points(code) for code, icon in chars.items()}
    else:
        names = by_name(known)
        codes = {icon: names[_squash(icon)] for icon in icons["icons"] if _squash(icon) in names}
    for icon, body in sorted(icons["icons"].items()):
        if body.get("hidden"):
            log.rules["left out: hidden (withdrawn by its authors)"] += 1
            continue
        code = codes.get(icon)
        if code is None:
            log.skip(icon, "its code point is unknown")
            continue
        if _SKIN & set(code.split("-")) or "skin-tone" in icon:
            log.rules["left out: a skin-tone variant"] += 1
            continue
        row = known.row(icon, code, svg_of(body, icons))
        if row is None:
            log.skip(icon, "not an emoji of emojibase")
        else:
            yield row
