from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pytest

from pairwright.core import io as files
from pairwright.data.images import open_image, read_file
from pairwright.data.loader import Loader
from pairwright.data.sampler.plain import Plain
from pairwright.data.shards import read_shards, write_shards
from pairwright.data.table import read_table, skipped_of


@pytest.fixture
def table(make_pairs):
    return make_pairs(25, group=["g", None, "h", None, "ü"] * 5, weight=pa.array(range(25), pa.float32()))


@pytest.mark.parametrize("format", ["tar", "parquet"])
def test_round_trip(table, tmp_path, format):
    manifest = write_shards(table, tmp_path / "s", format=format, rows=10)
    assert [s["rows"] for s in manifest["shards"]] == [10, 10, 5]
    assert all(files.hash_file(tmp_path / "s" / s["file"]) == s["sha256"] for s in manifest["shards"])
    for again in (read_shards(tmp_path / "s", verify="sha256"), read_table(tmp_path / "s")):
        text = [c for c in table.column_names if c != "image"]
        assert again.select(text).to_pylist() == table.select(text).to_pylist()
        stored = again["image"].to_pylist() if format == "parquet" else [read_file(p) for p in again["path"].to_pylist()]
        assert stored == table["image"].to_pylist()
        for a, b in zip(Loader(table, Plain(25, 5), size=4), Loader(again, Plain(25, 5), size=4), strict=True):
            assert a["images"].equal(b["images"])
            assert a["captions"] == b["captions"]


def test_tars_are_what_others_read(table, tmp_path):
    """Python's own tar reader sees one image, one text and one JSON file for each pair, under one stem."""
    write_shards(table, tmp_path, rows=25)
    with tarfile.open(tmp_path / "000000.tar") as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar}
    assert len(members) == 75
    assert members["000000000003.txt"].decode().splitlines() == ["first of 3", "second of 3"]
    assert json.loads(members["000000000004.json"])["group"] == "ü"
    assert members["000000000007.png"] == table["image"][7].as_py()


@pytest.mark.parametrize("format", ["tar", "parquet"])
def test_killed_writer_goes_on_and_gives_the_same_bytes(table, tmp_path, format, monkeypatch):
    whole = write_shards(table, tmp_path / "whole", format=format, rows=4)
    calls = []

    def dies(done, n):
        calls.append(done)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(table, tmp_path / "s", format=format, rows=4, progress=dies)
    with pytest.raises(FileNotFoundError, match="not finished"):
        read_shards(tmp_path / "s")
    first, second = sorted((tmp_path / "s").glob(f"*.{format}"))[:2]
    stamp = first.stat().st_mtime_ns
    second.write_bytes(second.read_bytes()[:-7])  # torn after it was entered in the journal: written anew
    with (tmp_path / "s" / "manifest.part.jsonl").open("a") as f:
        f.write('{"head": "cut o')
    assert write_shards(table, tmp_path / "s", format=format, rows=4) == whole
    assert first.stat().st_mtime_ns == stamp
    names = sorted(p.name for p in (tmp_path / "whole").iterdir())
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == names
    assert all((tmp_path / "s" / n).read_bytes() == (tmp_path / "whole" / n).read_bytes() for n in names)


def test_another_table_does_not_go_into_the_same_folder(table, tmp_path):
    write_shards(table, tmp_path)
    write_shards(table, tmp_path)
    with pytest.raises(ValueError, match="another table"):
        write_shards(table.slice(1), tmp_path)


def test_unreadable_images_are_listed(table, tmp_path):
    images = table["image"].to_pylist()
    images[4] = None
    table = table.set_column(1, "image", pa.array(images, pa.large_binary()))
    assert write_shards(table, tmp_path / "s")["skipped"] == {"row4": "no image in this row"}
    assert skipped_of(read_shards(tmp_path / "s")) == {"row4": "no image in this row"}
    assert len(read_shards(tmp_path / "s")) == 24
    with pytest.raises(ValueError, match="row4"):
        write_shards(table, tmp_path / "t", strict=True)


def test_damaged_shards_are_listed(table, tmp_path):
    write_shards(table, tmp_path, rows=5)
    (tmp_path / "000001.tar").unlink()
    data = bytearray((tmp_path / "000003.tar").read_bytes())
    data[700] ^= 1
    (tmp_path / "000003.tar").write_bytes(data)
    (tmp_path / "000004.tar").write_bytes(b"x")
    left = read_shards(tmp_path, verify="sha256")
    assert left["id"].to_pylist() == [f"row{i}" for i in [*range(5), *range(10, 15)]]
    reasons = {k.rpartition("/")[2]: v for k, v in skipped_of(left).items()}
    assert list(reasons) == ["000001.tar", "000003.tar", "000004.tar"]
    assert "missing" in reasons["000001.tar"]
    assert "sha256" in reasons["000003.tar"]
    assert "1 bytes instead" in reasons["000004.tar"]
    with pytest.raises(ValueError, match="missing"):
        read_shards(tmp_path, strict=True)


def foreign(path, members):
    """A tar made by Python's own writer, in pax format (long names make extended headers)."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_foreign_shards(tmp_path, encode):
    jpg, png = encode(np.zeros((4, 4, 3), np.uint8), "JPEG"), encode(np.ones((4, 4, 3), np.uint8))
    long = "folder/" + "n" * 180 + "ß"
    foreign(
        tmp_path / "a-0.tar",
        [
            ("0.jpg", jpg),
            ("0.txt", b"a dog\n"),
            ("0.cls", b"3"),
            (f"{long}.seg.png", png),
            (f"{long}.png", png),
            (f"{long}.json", b'{"caption": "c", "n": 1}'),
        ],
    )
    foreign(tmp_path / "a-1.tar", [("0.webp", encode(np.zeros((2, 2, 3), np.uint8), "WEBP")), ("0.txt", b"again 0")])
    for source in (tmp_path, str(tmp_path / "a-{0..1}.tar"), str(tmp_path / "a-*.tar")):
        table = read_table(source)
        assert table["id"].to_pylist() == ["a-0/0", f"a-0/{long}", "a-1/0"]
        assert table["captions"].to_pylist() == [["a dog"], ["c"], ["again 0"]]
        assert table["label"].to_pylist() == ["3", None, None]
        assert [open_image(p).size for p in table["path"].to_pylist()] == [(4, 4), (4, 4), (2, 2)]
        assert read_file(table["path"][1].as_py()) == png
    missing = read_table(str(tmp_path / "a-{0..2}.tar"))
    assert len(missing) == 3
    assert list(skipped_of(missing)) == [str(tmp_path / "a-2.tar")]
    with pytest.raises(ValueError, match=r"a-2\.tar"):
        read_table(str(tmp_path / "a-{0..2}.tar"), strict=True)
