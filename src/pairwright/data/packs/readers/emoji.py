"""Read a vendor's emoji pictures (64 pixels, named by code point): base emoji only, no skin-tone variants."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pairwright.data.packs.catalog import Pack
from pairwright.data.packs.names import code_points
from pairwright.data.packs.readers._annotate import Annotations
from pairwright.data.packs.rows import Files, Log, Lookup, Row


def read(pack: Pack, archive: Files, log: Log, needed: Lookup) -> Iterator[Row]:
    vendor = pack.name.removeprefix("emoji-")
    pictures: dict[str, bytes] = {}
    listed: list[dict[str, object]] = []
    for path, data in archive.files(lambda p: p.endswith("/emoji.json") or f"/img/{vendor}/64/" in p):
        if path.endswith("emoji.json"):
            listed = json.loads(data)
        else:
            pictures[path.rsplit("/", 1)[-1]] = data
    known = Annotations(needed("emojibase"))
    for emoji in listed:
        image, key = str(emoji["image"]), code_points(str(emoji["unified"]))
        if not emoji[f"has_img_{vendor}"] or image not in pictures:
            log.skip(image, "the vendor has no picture of it")
            continue
        row = known.row(key, key, pictures[image])
        if row is None:
            log.skip(image, "not an emoji of emojibase")
        else:
            yield row
