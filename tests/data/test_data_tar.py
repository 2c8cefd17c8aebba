from __future__ import annotations

import ast
import io
import pickle
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pairwright.data
from pairwright.data.loader import Loader
from pairwright.data.sampler.plain import Plain
from pairwright.data.table import read_table, skipped_of
from pairwright.data.tar import BadTar, members


def entry(name, data=b"x", kind=tarfile.REGTYPE, **more):
    info = tarfile.TarInfo(name)
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    info.type = kind
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def build(entries, format=tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data) if info.size else None)
    return buffer.getvalue()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.text("abcäß漢/.", min_size=1, max_size=150).filter(
                lambda n: ".." not in n and not n.startswith("/") and not n.endswith("/")
            ),
            st.binary(max_size=1500),
        ),
        max_size=6,
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_reads_what_pythons_reader_reads(tmp_path_factory, content, format):
    path = tmp_path_factory.getbasetemp() / "same.tar"
    path.write_bytes(build([entry(name, data) for name, data in content], format))
    raw = path.read_bytes()
    got = [(m.name, raw[m.offset : m.offset + m.size]) for m in members(path)]
    with tarfile.open(path) as tar:
        expected = [(m.name, tar.extractfile(m).read()) for m in tar]
    assert [d for _, d in got] == [d for _, d in expected]
    assert [n for n, _ in got] == [n for n, _ in content]


HOSTILE = {
    "parent": (entry("../../etc/passwd.jpg"), "leads out"),
    "hidden parent": (entry("a/../../b.jpg"), "leads out"),
    "backslash parent": (entry("a\\..\\b.jpg"), "leads out"),
    "absolute": (entry("/etc/x.jpg"), "leads out"),
    "drive": (entry("C:x.jpg"), "leads out"),
    "control characters": (entry("a\nb.jpg"), "leads out"),
    "symbolic link": (entry("l.jpg", kind=tarfile.SYMTYPE, linkname="/etc/passwd"), "symbolic link"),
    "hard link": (entry("h.jpg", kind=tarfile.LNKTYPE, linkname="0.jpg"), "hard link"),
    "device": (entry("d.jpg", kind=tarfile.CHRTYPE), "device"),
    "block device": (entry("d.jpg", kind=tarfile.BLKTYPE), "device"),
    "pipe": (entry("p.jpg", kind=tarfile.FIFOTYPE), "pipe"),
    "unknown kind": (entry("u.jpg", kind=b"Z"), "unknown kind"),
    "sparse": (entry("s.jpg", kind=tarfile.GNUTYPE_SPARSE), "sparse"),
    "too large": (entry("t.jpg", b"x" * 5000), "more than the limit"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_members_are_refused_and_the_others_read(tmp_path, name):
    hostile, words = HOSTILE[name]
    (tmp_path / "t.tar").write_bytes(build([entry("0.jpg", b"good"), hostile, entry("1.jpg", b"also")]))
    first, bad, last = members(tmp_path / "t.tar", member_bytes=4000)
    assert words in bad.refused
    assert (first.name, first.refused, last.name, last.refused) == ("0.jpg", "", "1.jpg", "")


def test_hostile_members_are_listed_in_the_table(tmp_path, encode):
    png = encode(np.zeros((2, 2, 3), np.uint8))
    (tmp_path / "t.tar").write_bytes(build([entry("0.png", png), entry("../1.png", png), entry("0.txt", b"w" * 2_000_000)]))
    table = read_table(tmp_path / "t.tar")
    assert table["id"].to_pylist() == ["0"]
    assert [v[:12] for v in skipped_of(table).values()] == ["its name lea", "a text of 2,"]
    with pytest.raises(ValueError, match="leads out"):
        read_table(tmp_path / "t.tar", strict=True)


def test_pax_headers_cannot_lie(tmp_path):
    def pax(headers):
        return build([entry("0.jpg", b"good", pax_headers=headers)], tarfile.PAX_FORMAT)

    for headers in ({"size": "99999999999"}, {"size": "-5"}, {"size": "1e9"}, {"comment": "x" * 100_000}):
        (tmp_path / "t.tar").write_bytes(pax(headers))
        with pytest.raises(BadTar):
            list(members(tmp_path / "t.tar"))
    (tmp_path / "t.tar").write_bytes(pax({"path": "../../x.jpg"}))
    assert next(members(tmp_path / "t.tar")).refused
    (tmp_path / "t.tar").write_bytes(pax({"GNU.sparse.realsize": "5"}))
    assert "sparse" in next(members(tmp_path / "t.tar")).refused


def test_truncated_and_foreign_files(tmp_path):
    whole = build([entry("0.jpg", b"a" * 700), entry("1.jpg", b"b" * 700)])
    path = tmp_path / "t.tar"
    for cut in (100, 600, 1600, 1800, 3000):
        path.write_bytes(whole[:cut])
        with pytest.raises(BadTar):
            list(members(path))
    path.write_bytes(whole[:1800])
    walk = members(path)
    assert next(walk).name == "0.jpg"  # what came before is good
    for other in (b"PK\3\4" + b"z" * 2000, b"\x1f\x8b" + b"z" * 2000, b"words " * 400):
        path.write_bytes(other)
        with pytest.raises(BadTar, match="not a tar"):
            list(members(path))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 3071), st.integers(0, 255)), min_size=1, max_size=6), st.booleans())
def test_mutated_tars_give_members_or_a_clear_error(tmp_path_factory, edits, fix):
    data = bytearray(build([entry("n" * 120 + ".jpg", b"abc"), entry("1.jpg", b"d")])[:4096])
    for place, value in edits:
        data[place] = value
    if fix:  # a right checksum lets the mutation through to the parser
        data[148:156] = b" " * 8
        data[148:156] = b"%06o\0 " % sum(data[:512])
    path = tmp_path_factory.getbasetemp() / "mutated.tar"
    path.write_bytes(data)
    try:
        for m in members(path):
            assert 0 <= m.offset <= m.offset + m.size <= len(data)
    except BadTar:
        pass


class Canary:
    touched = False

    def __reduce__(self):
        return setattr, (Canary, "touched", True)


def test_nothing_is_unpickled(tmp_path, encode, make_pairs):
    """Pickles under every suffix that other loaders unpickle lie beside the images, and no class is looked up by the unpickler."""
    payload = pickle.dumps(Canary())
    suffixes = ("pyd", "pkl", "pickle", "pt", "pth", "npy", "npz", "jpg", "txt", "json", "cls")
    tar = build(
        [entry("0.png", encode(np.zeros((2, 2, 3), np.uint8))), *(entry(f"0.{s}", payload) for s in suffixes), entry("1.jpg", payload)]
    )
    (tmp_path / "t.tar").write_bytes(tar)
    lookups = []
    watching = True
    sys.addaudithook(lambda event, _: lookups.append(event) if watching and event == "pickle.find_class" else None)
    table = read_table(tmp_path / "t.tar")
    loader = Loader(table, Plain(2, 2, shuffle=False), size=4, captions=None, workers=1)
    list(loader)
    list(Loader(make_pairs(8), Plain(8, 4), size=4, workers=2))
    watching = False
    assert lookups == []
    assert not Canary.touched
    assert list(loader.skipped) == ["1"]
    watching = True
    pickle.loads(payload)  # the control: had anything unpickled it, this test would have seen it
    watching = False
    assert Canary.touched
    assert lookups


def test_no_unpickling_in_the_source():
    """By syntax tree: none of the modules or calls that can run code from data."""
    banned = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "cloudpickle", "multiprocessing"}
    for file in Path(pairwright.data.__file__).parent.rglob("*.py"):
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            names = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert not {n.split(".")[0] for n in names} & banned, file
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "yaml.load", "pd.read_pickle"), file
                assert not any(
                    k.arg == "allow_pickle" and not (isinstance(k.value, ast.Constant) and k.value.value is False) for k in node.keywords
                ), file
                if called == "torch.load":
                    assert any(k.arg == "weights_only" and getattr(k.value, "value", None) is True for k in node.keywords), file
