from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pairwright.core.io import read_json
from pairwright.data import packs
from pairwright.data.packs import splits as module
from pairwright.data.packs.leakage import leakage
from pairwright.data.packs.splits import COLUMNS, EMOJI, Splits, assign, committed, make, split_of

PICTURES = [name for name, p in packs.PACKS.items() if p.role not in ("text", "suite")]


def table(source, rows):
    """rows of (key, name, group, phash)"""
    return typed([{"id": f"{source}/{k}", "name": n, "group": g, "source": source, "phash": h} for k, n, g, h in rows])


def typed(rows):
    """Rows as a table whose hashes are unsigned, as in a pack."""
    t = pa.Table.from_pylist([{k: v for k, v in r.items() if k != "phash"} for r in rows])
    return t.append_column("phash", pa.array([r["phash"] for r in rows], pa.uint64()))


def far(i: int) -> int:
    """Hashes that are more than two bits apart."""
    return int.from_bytes(bytes([i % 256, i // 256]) * 4, "big")


def world():
    """100 concepts at every vendor, 60 clip-art groups (one of them large), 20 stamps, an icon set named like the emoji."""
    tables, h = {}, iter(range(1, 60000))
    for vendor in EMOJI:
        tables[vendor] = table(vendor, [(f"{c}", f"thing {c:03d}x", f"C{c}", far(next(h))) for c in range(100)])
    clips = [(f"c{i}", f"clip {i}y", f"clip {i}y", far(next(h))) for i in range(59)] + [
        (f"s{i}", "star", "star", far(next(h))) for i in range(60)
    ]
    tables["openclipart"] = table("openclipart", clips)
    tables["stamps"] = table("stamps", [(f"{i}", f"stamp {i}z", f"stamp {i}z", far(next(h))) for i in range(20)])
    tables["mdi"] = table("mdi", [(f"{i}", f"Things {i:03d}x", f"thing {i:03d}x", far(next(h))) for i in range(100)])
    tables["lucide"] = table("lucide", [(f"{i}", f"icon {i}w", f"icon {i}w", far(next(h))) for i in range(5)])
    return tables


def column(tables, name, s):
    return assign(tables[name], s)["split"].to_pylist()


def test_sizes_and_roles():
    tables = world()
    s = make(tables)
    assert (len(s.test["emoji"]), len(s.val["emoji"]), len(s.test["openclipart"]), len(s.test["stamps"])) == (10, 3, 6, 4)
    assert set(column(tables, "emoji-apple", s)) == set(column(tables, "lucide", s)) == {"test"}
    assert column(tables, "fxemoji", s).count("test") == 10
    assert column(tables, "fxemoji", s).count("val") == 90
    assert [column(tables, "emoji-google", s).count(k) for k in ("train", "val", "test", "excluded")] == [87, 3, 10, 0]
    assert set(column(tables, "openclipart", s)[59:]) == {"train"}  # the long series is not for tests


def test_a_concept_falls_on_one_side_at_every_vendor():
    tables = world()
    s = make(tables)
    for vendor in ("emoji-twitter", "noto", "twemoji"):
        assert column(tables, vendor, s) == column(tables, "emoji-google", s)


def test_rows_of_other_packs_that_name_a_held_out_emoji_are_excluded():
    tables = world()
    s = make(tables)
    held = s.test["emoji"] | s.val["emoji"]
    got = column(tables, "mdi", s)
    assert [x == "excluded" for x in got] == [f"C{i}" in held for i in range(100)]


def test_pictures_equal_or_nearly_equal_to_a_test_picture_are_excluded():
    tables = world()
    test_hash = tables["lucide"]["phash"][0].as_py()
    twins = [("same", "a q", "a q", test_hash), ("near", "b q", "b q", test_hash ^ 0b101), ("off", "c q", "c q", test_hash ^ 0b111)]
    tables["tabler"] = table("tabler", twins)
    assert column(tables, "tabler", make(tables)) == ["excluded", "excluded", "train"]


def test_the_order_of_rows_and_packs_does_not_matter():
    tables = world()
    turned = {k: tables[k].take(list(reversed(range(tables[k].num_rows)))) for k in reversed(tables)}
    assert make(turned) == make(tables)


def test_one_group_more_moves_hardly_any_other():
    tables = world()
    more = dict(tables)
    more["stamps"] = pa.concat_tables([tables["stamps"], table("stamps", [("new", "new", "new", 3)])])
    assert len(make(tables).test["stamps"] ^ make(more).test["stamps"]) <= 2


def test_json_round_trip_and_fashion_mnist_keeps_its_own():
    s = make(world())
    assert Splits.from_json(json.loads(json.dumps(s.to_json()))) == s
    assert split_of({"id": "fashion-mnist/test/00001", "source": "fashion-mnist", "group": "bag", "name": "bag", "phash": 1}, s) == "test"
    again = assign(assign(world()["mdi"], s), s)
    assert again.column_names.count("split") == 1


def test_the_committed_file_holds_out_what_it_says():
    s = committed()
    assert (len(s.test["emoji"]), len(s.val["emoji"])) == (191, 57)
    assert not s.test["emoji"] & s.val["emoji"]
    assert not s.test["openclipart"] & s.val["openclipart"]
    assert s.to_json() == read_json(module.FILE)


def test_leaks_are_found_where_they_are_planted():
    train = typed([
        {"id": "t0", "name": "Red apples", "group": "g0", "image": b"0", "phash": 0},
        {"id": "t1", "name": "bus", "group": "g1", "image": b"1", "phash": 2**40 - 1},
    ])  # fmt: skip
    test = typed([
        {"id": "e0", "name": "red apple", "group": "h0", "image": b"9", "phash": 2**63},
        {"id": "e1", "name": "tram", "group": "g1", "image": b"8", "phash": (2**40 - 1) ^ 0b11},
        {"id": "e2", "name": "cat", "group": "h2", "image": b"1", "phash": (2**40 - 1) ^ 0b111},
        {"id": "e3", "name": "dog", "group": "h3", "image": b"7", "phash": 2**64 - 1},
    ])  # fmt: skip
    leaks = leakage(train, test)
    assert (leaks.name, leaks.group, leaks.picture) == ([("t0", "e0")], [("t1", "e1")], [("t1", "e2")])
    assert leaks.near == [("t0", "e0"), ("t1", "e1")]
    assert leaks.counts() == {"group": 1, "name": 1, "picture": 1, "near": 2}
    assert leakage(train, test, near=3).counts()["near"] == 3
    assert leakage(train.slice(0, 0), test).counts() == {"group": 0, "name": 0, "picture": 0, "near": 0}


@pytest.mark.packs
def test_the_committed_file_is_what_the_packs_give():
    absent = [name for name in PICTURES if not packs.is_cached(name)]
    if absent:
        pytest.skip(f"these packs are not built: {', '.join(absent)}")
    tables = {name: packs.load(name, COLUMNS) for name in PICTURES}
    assert make(tables).to_json() == read_json(module.FILE)
    marked = pa.concat_tables([assign(t) for t in tables.values()])
    train, test = (marked.filter(pc.equal(marked["split"], s)) for s in ("train", "test"))
    assert leakage(train, test).near == []
    held = committed().test["emoji"] | committed().val["emoji"]
    assert not held & set(train["group"].to_pylist())
