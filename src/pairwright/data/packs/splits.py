"""Fixed splits by concept: what is for training, for choosing (val), for the final test, and what is left out because it would leak.

The unit is the concept, never the row: an emoji concept is held out at every vendor at once, near-identical names of clip art fall on
the same side, and a row of any pack that shows or names a held-out emoji concept, or whose picture nearly equals a test picture, is
excluded from training. ``splits.json`` is made by ``python -m pairwright.data.packs.splits`` from the built packs, always the same, and
committed.

- test: all of emoji-apple, lucide and flat-color-icons; a tenth of emoji concepts at all vendors; a tenth of openclipart's groups and a
  fifth of the stamps'; Fashion-MNIST's own test part.
- val: fxemoji (a vendor that is never trained on); 3% of the emoji concepts and of openclipart's groups.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pairwright.core.io import read_json, write_json
from pairwright.data.packs.catalog import PACKS
from pairwright.data.packs.names import normal
from pairwright.data.packs.phash import distances

FILE = Path(__file__).with_name("splits.json")
EMOJI = ("emoji-google", "emoji-twitter", "emoji-apple", "noto", "twemoji", "fxemoji")
SPLITS = ("train", "val", "test", "excluded")
TEST = {"emoji": 0.1, "openclipart": 0.1, "stamps": 0.2}
VAL = {"emoji": 0.03, "openclipart": 0.03}
LARGE = 50
NEAR = 2
COLUMNS = ["id", "name", "group", "source", "phash"]


def ranked(groups: Sequence[str], salt: str) -> list[str]:
    """The groups in an order that looks random, does not depend on the input's order, and is the same on every machine."""
    return sorted(set(groups), key=lambda g: hashlib.sha256(f"{salt}/{g}".encode()).digest())


def _held_out(groups: Sequence[str], part: str) -> tuple[list[str], list[str]]:
    """The groups of a part that are for the test, and those for validation."""
    order = ranked(groups, part)
    n_test, n_val = round(TEST[part] * len(order)), round(VAL.get(part, 0.0) * len(order))
    return order[:n_test], order[n_test : n_test + n_val]


@dataclass(frozen=True)
class Splits:
    """Held-out groups per part (emoji, openclipart, stamps), the names that no training row may carry, the hashes of test pictures
    and of their near-duplicates (2 of 64 bits)."""

    test: Mapping[str, frozenset[str]]
    val: Mapping[str, frozenset[str]]
    names: frozenset[str] = frozenset()
    hashes: frozenset[int] = frozenset()

    def place(self, row: Mapping[str, Any]) -> str:
        """The split that a row's pack and concept give it, before leaks are looked for."""
        source, group = row["source"], row["group"]
        role, part = PACKS[source].role, "emoji" if source in EMOJI else source
        if role == "suite":
            return str(row["id"]).split("/")[1]
        if role == "test" or group in self.test.get(part, ()):
            return "test"
        return "val" if role == "val" or group in self.val.get(part, ()) else "train"

    def split_of(self, row: Mapping[str, Any]) -> str:
        """The split of a row (id, name, group, source, phash): train, val, test or excluded (it would leak a held-out concept)."""
        place = self.place(row)
        if place == "test" or PACKS[row["source"]].role == "suite":
            return place
        if row["phash"] in self.hashes or (place == "train" and normal(row["name"]) in self.names):
            return "excluded"
        return place

    def to_json(self) -> dict[str, Any]:
        groups = {part: {k: sorted(v) for k, v in getattr(self, part).items()} for part in ("test", "val")}
        return {**groups, "names": sorted(self.names), "hashes": sorted(f"{h:016x}" for h in self.hashes)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Splits:
        test, val = ({k: frozenset(v) for k, v in raw[part].items()} for part in ("test", "val"))
        return cls(test, val, frozenset(raw["names"]), frozenset(int(h, 16) for h in raw["hashes"]))


def make(tables: Mapping[str, Any]) -> Splits:
    """The splits of these packs of pictures (name -> table with id, name, group, source, phash). Pure and
    deterministic.

    Series of more than 50 look-alikes under one name (stars, stick figures) stay in training.
    """
    chosen = {"emoji": _held_out(tables["emoji-apple"]["group"].to_pylist(), "emoji")}
    for part in ("openclipart", "stamps"):
        size = Counter(tables[part]["group"].to_pylist())
        chosen[part] = _held_out([g for g, n in size.items() if n <= LARGE and g], part)
    test, val = ({part: frozenset(pair[i]) for part, pair in chosen.items()} for i in (0, 1))
    held = test["emoji"] | val["emoji"]
    names = {normal(r["name"]) for v in EMOJI for r in tables[v].select(["name", "group"]).to_pylist() if r["group"] in held}
    first = Splits(test, val, frozenset(names - {""}))
    tested: set[int] = set()
    others: set[int] = set()
    for table in tables.values():
        for row in table.select(COLUMNS).to_pylist():
            (tested if first.place(row) == "test" else others).add(row["phash"])
    return replace(first, hashes=frozenset(tested | _near(others, tested)))


def _near(hashes: set[int], tested: set[int]) -> set[int]:
    """Those of the hashes that are near-duplicates of a test picture's; listed here, they are found by equality later."""
    ours, theirs = (np.array(sorted(h), np.uint64) for h in (hashes, tested))
    if not len(ours) or not len(theirs):
        return set()
    blocks = (ours[i : i + 1024] for i in range(0, len(ours), 1024))
    return {int(h) for block in blocks for h in block[distances(block, theirs).min(1) <= NEAR]}


@cache
def committed() -> Splits:
    """The committed splits."""
    return Splits.from_json(read_json(FILE))


def split_of(row: Mapping[str, Any], splits: Splits | None = None) -> str:
    """The split of one row: ``train``, ``val``, ``test`` or ``excluded`` (see `Splits.split_of`)."""
    return (splits or committed()).split_of(row)


def assign(table: Any, splits: Splits | None = None) -> Any:
    """The table with a column `split` in {train, val, test, excluded} (replaced where there is one), by the committed splits."""
    import pyarrow as pa

    rule = splits or committed()
    column = pa.array([rule.split_of(r) for r in table.select(COLUMNS).to_pylist()], pa.string())
    if "split" in table.column_names:
        table = table.drop_columns(["split"])
    return table.append_column("split", column)


def main() -> None:
    """Build every pack that has pictures and write splits.json anew."""
    from pairwright.data.packs import load

    tables = {name: load(name, COLUMNS) for name, p in PACKS.items() if p.role not in ("text", "suite")}
    splits = make(tables)
    write_json(FILE, splits.to_json())
    for name, table in tables.items():
        counts = Counter(assign(table, splits)["split"].to_pylist())
        print(f"{name:18}", *(f"{s} {counts[s]:6}" for s in SPLITS))


if __name__ == "__main__":
    main()
