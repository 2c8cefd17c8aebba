"""Read emoji names and keywords in some thirty languages: a text pack that gives every emoji pack its captions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pairwright.data.packs.catalog import Pack
from pairwright.data.packs.names import code_points
from pairwright.data.packs.rows import Files, Log, Lookup, Row


def plain_name(label: str) -> str:
    """Unicode's label as one would say it: ``flag: Peru`` -> ``flag of Peru``, ``woman: beard`` -> ``woman with beard``."""
    label = re.sub(r"^flag: ", "flag of ", label)
    label = re.sub(r"^(man|woman|person): (?=[\w ]*(?:hair|beard)$)", r"\1 with ", label)
    return re.sub(r"^(man|woman|person): bald$", r"bald \1", label).replace("keycap: ", "keycap ")


def read(pack: Pack, archive: Files, log: Log, needed: Lookup) -> Iterator[Row]:
    names: dict[str, list[dict[str, Any]]] = {}
    messages: dict[str, Any] = {}
    for path, data in archive.files(lambda p: p.endswith(("/data.json", "/en/messages.json"))):
        lang = path.split("/")[-2]
        if path.endswith("messages.json"):
            messages = json.loads(data)
        elif lang not in ("meta",) and "/versions/" not in path:
            names[lang] = json.loads(data)
    group = {g["order"]: g["message"] for g in messages["groups"]}
    sub = {g["order"]: g["message"] for g in messages["subgroups"]}
    order = ["en", *sorted(set(names) - {"en"})]
    by_lang = {lang: {code_points(e["hexcode"]): e for e in names[lang]} for lang in order}
    for key, e in by_lang["en"].items():
        if "group" not in e:
            log.rules["left out: a component, not an emoji by itself"] += 1
            continue
        name = plain_name(e["label"])
        captions = [("en", name)]
        for lang in order:
            there = by_lang[lang].get(key, {})
            texts = dict.fromkeys(t.strip() for t in (there.get("label", ""), *there.get("tags", [])) if t.strip())
            captions += [(lang, t) for t in texts if (lang, t) != ("en", name)]
        yield Row(key, None, name, captions, key, group[e["group"]], sub[e["subgroup"]])
