from __future__ import annotations

import gzip
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pairwright.data.packs.catalog import PACKS
from pairwright.data.packs.readers import emoji, emojibase, fashion_mnist, icon_emoji, icons, openclipart, stamps, wordnet
from pairwright.data.packs.rows import Log


def run(reader, pack, archive, tables=None):
    log = Log()
    return list(reader.read(PACKS[pack], archive, log, lambda name: (tables or {})[name])), log


def icon_files(names, **more):
    body = {n: {"body": '<path fill="currentColor" d="M0 0h9v9z"/>', **more.get("icon", {}).get(n, {})} for n in names}
    files = {"package/icons.json": {"icons": body, "aliases": more.get("aliases", {}), "width": 24, "height": 24},
             "package/metadata.json": {"categories": more.get("categories", {})}, "package/chars.json": more.get("chars", {})}  # fmt: skip
    return {k: json.dumps(v).encode() for k, v in files.items()}


def test_icons_keep_style_out_of_the_name_and_aliases_as_captions(files_of):
    files = icon_files(
        ["account-outline", "account", "home-variant", "old"],
        icon={"old": {"hidden": True}},
        aliases={"user": {"parent": "account"}, "turned": {"parent": "account", "rotate": 1}},
        categories={"People": ["account"]},
    )
    rows, log = run(icons, "mdi", files_of(files))
    assert {r.key: (r.name, r.group, r.category) for r in rows} == {
        "account": ("account", "account", "People"),
        "account-outline": ("account", "account", ""),
        "home-variant": ("home", "home", ""),
    }
    assert [c for r in rows if r.key == "account" for c in r.captions] == [("en", "account"), ("en", "user")]
    assert log.rules["left out: hidden (withdrawn by its authors)"] == 1


def test_one_size_for_each_name_and_style_of_fluent(files_of):
    rows, log = run(
        icons, "fluent", files_of(icon_files(["apple-16-filled", "apple-28-filled", "apple-48-filled", "apple-20-regular", "x-24-light"]))
    )
    assert sorted((r.key, r.name) for r in rows) == [("apple-20-regular", "apple"), ("apple-28-filled", "apple")]
    assert log.rules["left out: another size of the same icon"] == 2


def test_styles_that_look_alike_are_left_out(files_of):
    rows, _ = run(icons, "material-symbols", files_of(icon_files(["bed", "bed-outline", "bed-rounded", "bed-outline-sharp", "bed-sharp"])))
    assert [r.key for r in rows] == ["bed", "bed-outline"]


def test_the_wrapped_icon_is_a_black_drawing_of_its_box():
    svg = icons.svg_of({"body": "<g/>", "left": 3}, {"width": 24, "height": 20})
    assert b'viewBox="3 0 24 20"' in svg
    assert b'color="black"' in svg


EN = [{"label": "flag: Peru", "hexcode": "1F1F5-1F1EA", "tags": ["PE"], "group": 9, "subgroup": 1},
      {"label": "keycap: #", "hexcode": "0023-FE0F-20E3", "tags": ["hash"], "group": 9, "subgroup": 1},
      {"label": "dancer", "hexcode": "1F483", "group": 9, "subgroup": 1},
      {"label": "regional indicator A", "hexcode": "1F1E6"}]  # fmt: skip
DE = [{"label": "Flagge: Peru", "hexcode": "1F1F5-1F1EA", "tags": ["PE", ""]}]
MESSAGES = {"groups": [{"order": 9, "message": "flags"}], "subgroups": [{"order": 1, "message": "country"}]}


@pytest.fixture
def annotations(files_of):
    data = {"package/en/data.json": EN, "package/de/data.json": DE, "package/en/messages.json": MESSAGES}
    rows, log = run(emojibase, "emojibase", files_of({k: json.dumps(v).encode() for k, v in data.items()}))
    assert sum(log.rules.values()) == 1  # the component
    table = [{"group": r.group, "name": r.name, "captions": [t for _, t in r.captions], "lang": [l for l, _ in r.captions],
              "category": r.category, "label": r.label, "image": None} for r in rows]  # fmt: skip
    return {"emojibase": pa.Table.from_pylist(table)}


def test_emoji_have_names_in_every_language_and_one_id_at_every_vendor(files_of, annotations):
    listed = [
        {"image": "1f1f5-1f1ea.png", "unified": "1F1F5-1F1EA", "has_img_google": True},
        {"image": "0023-fe0f-20e3.png", "unified": "0023-FE0F-20E3", "has_img_google": True},
        {"image": "1f483.png", "unified": "1F483", "has_img_google": False},
    ]
    images = {f"package/img/google/64/{n}": n.encode() for n in ("1f1f5-1f1ea.png", "0023-fe0f-20e3.png", "1f483-1f3fb.png")}
    rows, log = run(emoji, "emoji-google", files_of({"package/emoji.json": json.dumps(listed).encode(), **images}), annotations)
    assert [(r.key, r.name, r.data) for r in rows] == [
        ("1F1F5-1F1EA", "flag of Peru", b"1f1f5-1f1ea.png"),
        ("23-20E3", "keycap #", b"0023-fe0f-20e3.png"),
    ]
    assert rows[0].captions == [("en", "flag of Peru"), ("en", "flag: Peru"), ("en", "PE"), ("de", "Flagge: Peru"), ("de", "PE")]
    assert (rows[0].category, rows[0].label) == ("flags", "country")
    assert log.skipped == [("1f483.png", "the vendor has no picture of it")]
    files = icon_files(
        ["peru", "dancer", "dancer-dark-skin-tone", "what"],
        chars={"1f1f5-1f1ea": "peru", "1f483": "dancer", "1f483-1f3ff": "dancer-dark-skin-tone"},
    )
    others, log = run(icon_emoji, "noto", files_of(files), annotations)
    assert {r.key: r.group for r in others} == {"peru": "1F1F5-1F1EA", "dancer": "1F483"}
    assert log.rules["left out: a skin-tone variant"] == 1
    assert log.skipped == [("what", "its code point is unknown")]


def test_a_set_without_codes_is_matched_by_unicodes_names(files_of, annotations):
    rows, _ = run(icon_emoji, "fxemoji", files_of(icon_files(["dancer", "foxgrin"])), annotations)
    assert [(r.key, r.group) for r in rows] == [("dancer", "1F483")]


def test_stamps_prefer_svg_and_read_every_language(files_of):
    root = "usr/share/tuxpaint/stamps/"
    text = "An Adelaide Rosella.\nde.utf8=Ein Adelaidesittich.\npt_BR.utf8=Rosela\nen_GB.utf8=An Adelaide Rosella.\nfr.utf8=\n"
    files = {"animals/birds/r.png": b"p", "animals/birds/r.svg": b"s", "animals/birds/r.txt": text.encode(),
             "animals/birds/r_mirror.png": b"m", "symbols/chess/k.png": b"k", "symbols/chess/k.txt": b"King. Can move one step.",
             "food/bread.png": b"b",
             "food/bread.txt": b"Eat your bread!", "food/no_text1.png": b"n"}  # fmt: skip
    rows, log = run(stamps, "stamps", files_of({root + k: v for k, v in files.items()}))
    found = {r.key: r for r in rows}
    assert {k: r.name for k, r in found.items()} == {
        "animals/birds/r": "Adelaide Rosella", "symbols/chess/k": "King chess piece", "food/bread": "bread", "food/no_text1": "no text1",
    }  # fmt: skip
    bird = found["animals/birds/r"]
    assert bird.data == b"s"
    assert bird.captions == [
        ("en", "Adelaide Rosella"),
        ("en", "An Adelaide Rosella."),
        ("de", "Ein Adelaidesittich."),
        ("pt-br", "Rosela"),
    ]
    assert log.rules["a statement: file name"] == 1


def clip(title, tags=(), author="", extra=""):
    bag = "".join(f"<rdf:li>{t}</rdf:li>" for t in tags)
    return (
        f"<svg><metadata><dc:title>{title}</dc:title><dc:subject><rdf:Bag>{bag}</rdf:Bag></dc:subject>"
        "<dc:publisher><cc:Agent><dc:title>Open Clip Art Library</dc:title></cc:Agent></dc:publisher>"
        f"<dc:creator><cc:Agent><dc:title>{author}</dc:title></cc:Agent></dc:creator></metadata>{extra}</svg>"
    ).encode()


def test_openclipart(files_of):
    files = {
        "animals/dog_01.svg": clip("Dog &amp; bird", ["dog"], "Jon"),
        "animals/mammals/dog_01.svg": clip("Dog &amp; bird", ["dog"], "Jon"),
        "signs/flags/africa/mali.svg": clip("Mali"),
        "recreation/games/cards/white/white_h_k.svg": clip("card"),
        "shapes/stars/star_92pt15step.svg": clip("gramastar"),
        "shapes/stars/star_92pt16step.svg": clip("gramastar", extra="a"),
        "shapes/stars/star_92pt17step.svg": clip("gramastar", extra="b"),
        "computer/icons/flat-theme/kxyz.svg": clip("Part of the Flat Icon Collection", ["hash"]),
    }
    words = pa.Table.from_pylist([{"captions": ["dog", "an animal"]}, {"captions": ["bird", "a pet"]}, {"captions": ["Mali", "a country"]}])
    rows, log = run(
        openclipart, "openclipart", files_of({f"usr/share/openclipart/svg/{k}": v for k, v in files.items()}), {"wordnet": words}
    )
    found = {r.key: r for r in rows}
    assert {k: r.name for k, r in found.items()} == {
        "animals/mammals/dog_01": "Dog & bird",
        "signs/flags/africa/mali": "flag of Mali",
        "recreation/games/cards/white/white_h_k": "king of hearts playing card",
        "shapes/stars/star_92pt15step": "92-pointed star",
        "shapes/stars/star_92pt16step": "92-pointed star",
    }
    assert found["shapes/stars/star_92pt15step"].group == "pointed star"
    assert ("en", "mammals") in found["animals/mammals/dog_01"].captions
    assert log.skipped == [("computer/icons/flat-theme/kxyz.svg", "nothing says what it shows")]
    assert log.rules["left out: the same file in another folder"] == 1


def test_wordnet(files_of):
    data = (
        "  1 This software is licensed\n"
        '00002684 03 n 02 object 0 physical_object 0 001 @ 00001930 n 0000 | a tangible thing; an entity; "it was full"  \n'
        "00003553 00 a 0a galore(ip) 0 " + " ".join(f"w{i} 0" for i in range(9)) + " 000 | in abundance  \n"
    )
    rows, _ = run(wordnet, "wordnet", files_of({"usr/share/wordnet/data.noun": data.encode(), "usr/share/wordnet/index.noun": b"x"}))
    assert [c for _, c in rows[0].captions] == ["object", "physical object", "a tangible thing; an entity"]
    assert rows[1].name == "galore"
    assert len(rows[1].captions) == 11  # the count of lemmas is hexadecimal
    assert rows[0].data is None


def idx(a: np.ndarray) -> bytes:
    head = b"\0\0\x08" + bytes([a.ndim]) + b"".join(n.to_bytes(4, "big") for n in a.shape)
    return gzip.compress(head + a.tobytes())


def test_fashion_mnist_keeps_its_split(files_of):
    x, y = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4), np.array([9, 0], np.uint8)
    files = {f"datasets/{s}-{k}-ubyte.gz": idx(a) for s in ("train", "t10k") for k, a in (("images-idx3", x), ("labels-idx1", y))}
    rows, _ = run(fashion_mnist, "fashion-mnist", files_of(files))
    assert [(r.key, r.name) for r in rows] == [
        ("train/00000", "ankle boot"),
        ("train/00001", "t-shirt"),
        ("test/00000", "ankle boot"),
        ("test/00001", "t-shirt"),
    ]
    assert (fashion_mnist.parse_idx(idx(x)) == x).all()
    with pytest.raises(ValueError, match="holds 31 values"):
        fashion_mnist.parse_idx(gzip.compress(gzip.decompress(idx(x))[:-1]))


def test_every_pack_names_a_reader_and_a_licence():
    for name, pack in PACKS.items():
        assert pack == replace(pack, name=name)
        assert pack.licence
        assert pack.attribution
        assert len(bytes.fromhex(pack.sha256)) == 32
        assert set(pack.needs) <= set(PACKS)
    assert not PACKS["emoji-apple"].show
