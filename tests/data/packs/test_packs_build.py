from __future__ import annotations

import io
import json

import pyarrow.parquet as pq
import pytest
from PIL import Image

from pairwright.core.io import read_json
from pairwright.data import packs
from pairwright.data.packs import build

GOOD = {"body": '<circle cx="12" cy="12" r="9" fill="currentColor"/>'}


def icons(**bodies):
    body = {"apple": GOOD, "red-bus": GOOD, **bodies}
    return {"package/icons.json": json.dumps({"icons": body, "width": 24, "height": 24}).encode(), "package/LICENSE": b"ISC License"}


def test_a_pack_is_built_once_and_then_read_without_a_client(store):
    store.offer("lucide", icons(broken={"body": "<g/>"}))
    assert not packs.is_cached("lucide")
    path = packs.get("lucide", progress=False)
    table = packs.load("lucide")
    assert table.column_names == ["id", "image", "captions", "lang", "name", "group", "category", "label", "source", "weight", "phash"]
    assert table["id"].to_pylist() == ["lucide/apple", "lucide/red-bus"]
    assert table["captions"].to_pylist() == [["apple"], ["red bus"]]
    assert table["lang"].to_pylist() == [["en"], ["en"]]
    assert table["weight"].to_pylist() == [1.0, 1.0]
    image = Image.open(io.BytesIO(table["image"][0].as_py()))
    assert (image.size, image.mode, image.getpixel((64, 64)), image.getpixel((0, 0))[3]) == ((128, 128), "RGBA", (0, 0, 0, 255), 0)
    manifest = read_json(path.with_name("manifest.json"))
    assert (manifest["rows"], manifest["licence"], manifest["languages"], manifest["pinned"]) == (2, "ISC", ["en"], True)
    assert manifest["skipped"] == [{"file": "broken", "reason": "blank picture"}]
    assert path.with_name("LICENSE.txt").read_text() == "ISC License"
    store.serve("npm", "exit 1")
    assert packs.get("lucide", progress=False) == path
    assert packs.available() == ["lucide"]
    assert packs.load("lucide", ["name"]).column_names == ["name"]


def test_a_build_that_was_killed_is_made_again_from_the_kept_archive(store, monkeypatch):
    store.offer("lucide", icons())

    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(build, "_record", killed)
        with pytest.raises(KeyboardInterrupt):
            packs.get("lucide", progress=False)
    folder = build.folder_of("lucide")
    assert list(folder.iterdir()) == []
    (folder / ".pairs.parquet.x.tmp").write_bytes(b"of a process that was killed outright")
    (folder / "pairs.parquet").write_bytes(b"half")  # without a manifest it does not count
    assert not packs.is_cached("lucide")
    store.serve("npm", "exit 1")
    assert pq.read_metadata(packs.get("lucide", progress=False)).num_rows == 2
    assert sorted(p.name for p in folder.iterdir()) == ["LICENSE.txt", "manifest.json", "pairs.parquet"]


def test_two_builds_give_the_same_bytes(store):
    store.offer("lucide", icons())
    first = packs.get("lucide", progress=False).read_bytes()
    (build.folder_of("lucide") / "manifest.json").unlink()
    assert packs.get("lucide", progress=False).read_bytes() == first


def test_strict_makes_a_skipped_file_fatal(store):
    store.offer("lucide", icons(broken={"body": "<g/>"}))
    with pytest.raises(ValueError, match=r"1 files were skipped.*broken \(blank picture\)"):
        packs.get("lucide", progress=False, strict=True)
    assert not packs.is_cached("lucide")


def test_an_archive_without_rows_is_an_error(store):
    store.offer("lucide", {"package/icons.json": b'{"icons": {}}'})
    with pytest.raises(ValueError, match="no row could be read"):
        packs.get("lucide", progress=False)


def test_an_unknown_pack_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no pack 'coco'.*openclipart"):
        packs.get("coco")
