"""Read an icon set (one JSON file of SVG bodies): one row per icon and style, style words kept out of the name."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import quoteattr

from pairwright.data.packs.catalog import Pack
from pairwright.data.packs.names import normal
from pairwright.data.packs.rows import Files, Log, Lookup, Row, english

# suffix that says how an icon is drawn, not what it shows -> keep it? (sets with many look-alike styles keep two or three)
_STYLES: dict[str, dict[str, bool]] = {
    "material-symbols": {"outline-rounded": False, "outline-sharp": False, "outline": True, "rounded": False, "sharp": False},
    "ph": {"thin": False, "light": False, "bold": False, "fill": True, "duotone": True},
    "fluent": {"filled": True, "regular": True, "light": False, "color": True},
    "tabler": {"filled": True},
    "mdi": {"outline": True},
}
_FLUENT_SIZE = 24
_VARIANT = re.compile(r"-(variant|alt|alt-\d+|variant-\d+)(?=-|$)")


def svg_of(icon: dict[str, Any], icons: dict[str, Any]) -> bytes:
    """Wrap an icon's body into a stand-alone SVG; `currentColor` is black."""
    box = [icon.get(k, icons.get(k, default)) for k, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16))]
    view = quoteattr(" ".join(str(v) for v in box))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{box[2]}" height="{box[3]}" '
        f'viewBox={view} color="black">{icon["body"]}</svg>'
    ).encode()


def split_style(pack: str, key: str) -> tuple[str, str, int]:
    """An icon's key -> (base, style, size): ``apple-20-filled`` of fluent -> ``apple``, ``filled``, 20. Size is 0 where keys carry none."""
    style, size = "", 0
    for suffix in _STYLES.get(pack, {}):
        if key.endswith(f"-{suffix}"):
            key, style = key.removesuffix(f"-{suffix}"), suffix
            break
    if pack == "fluent" and (m := re.fullmatch(r"(.+)-(\d+)", key)):
        key, size = m[1], int(m[2])
    return key, style, size


def title(base: str) -> str:
    """A base key as words: ``home-variant-2`` -> ``home 2``."""
    return _VARIANT.sub("", base).replace("-", " ").strip()


def load(archive: Files) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """The parsed icons.json, metadata.json and chars.json of an icon package."""
    found = {path.rsplit("/", 1)[-1]: json.loads(data) for path, data in archive.files(lambda p: p.endswith(".json"))}
    if "icons.json" not in found:
        raise ValueError("the icon package holds no icons.json")
    return found["icons.json"], found.get("metadata.json", {}), found.get("chars.json", {})


def read(pack: Pack, archive: Files, log: Log, needed: Lookup) -> Iterator[Row]:
    icons, meta, _ = load(archive)
    category = {key: c for c, keys in meta.get("categories", {}).items() for key in keys}
    also = defaultdict(list)
    for alias, a in icons.get("aliases", {}).items():
        if set(a) <= {"parent", "hidden"}:  # an alias that turns or mirrors is another picture
            also[a["parent"]].append(title(split_style(pack.name, alias)[0]))
    chosen: dict[tuple[str, str], tuple[int, str]] = {}
    for key, icon in icons["icons"].items():
        if icon.get("hidden"):
            log.rules["left out: hidden (withdrawn by its authors)"] += 1
            continue
        base, style, size = split_style(pack.name, key)
        if style and not _STYLES[pack.name][style]:
            log.rules[f"left out: style {style}"] += 1
            continue
        rank = (abs(size - _FLUENT_SIZE), key)
        if (base, style) in chosen:
            log.rules["left out: another size of the same icon"] += 1
        chosen[base, style] = min(rank, chosen.get((base, style), rank))
    for (base, _), (_, key) in sorted(chosen.items()):
        name = title(base)
        yield Row(
            key,
            svg_of(icons["icons"][key], icons),
            name,
            english([name, *also[key]]),
            normal(name),
            category.get(key, ""),
            "",
        )
