from __future__ import annotations

import io
import shutil
import subprocess
import tarfile

import pytest

from pairwright.data.packs import archive as module
from pairwright.data.packs.archive import Archive


def write(path, entries):
    with tarfile.open(path, "w:gz") as tar:
        for info, data in entries:
            info = tarfile.TarInfo(info) if isinstance(info, str) else info
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return Archive(path)


def test_wanted_files_come_with_their_bytes_and_the_rest_is_passed_over(tmp_path):
    a = write(tmp_path / "a.tgz", [("package/a.json", b"1"), ("package/b.png", b"22"), ("package/c.json", b"333")])
    assert list(a.files(lambda p: p.endswith(".json"))) == [("package/a.json", b"1"), ("package/c.json", b"333")]
    assert list(a.files(lambda p: "b." in p)) == [("package/b.png", b"22")]  # a second pass works


@pytest.mark.parametrize("name", ["../outside", "package/../../outside", "/etc/passwd", "package\\..\\outside"])
def test_paths_that_lead_out_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="leads out of the archive"):
        list(write(tmp_path / "a.tgz", [(name, b"x")]).files(lambda p: False))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_never_followed(tmp_path, kind):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    link = tarfile.TarInfo("package/link.json")
    link.type, link.linkname = kind, str(secret)
    a = write(tmp_path / "a.tgz", [(link, b""), ("package/b.json", b"2")])
    assert list(a.files(lambda p: True)) == [("package/b.json", b"2")]


@pytest.mark.parametrize(
    ("limit", "value", "words"), [("MAX_FILE", 3, "limit of 3"), ("MAX_TOTAL", 7, "larger than"), ("MAX_FILES", 1, "larger than")]
)
def test_sizes_are_bounded(tmp_path, monkeypatch, limit, value, words):
    monkeypatch.setattr(module, limit, value)
    with pytest.raises(ValueError, match=words):
        list(write(tmp_path / "a.tgz", [("a", b"1234"), ("b", b"1234")]).files(lambda p: True))


def test_a_cut_archive_is_an_error_and_not_a_short_list(tmp_path):
    a = write(tmp_path / "a.tgz", [("a", bytes(range(256)) * 400)])
    a.path.write_bytes(a.path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="cannot be read as an archive"):
        list(a.files(lambda p: True))


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
def test_a_debian_package_is_read_without_unpacking(tmp_path):
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text("Package: x\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: x\n")
    (root / "usr/share/x").mkdir(parents=True)
    (root / "usr/share/x/a.txt").write_text("hello")
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", str(root), str(tmp_path / "x.deb")], check=True, capture_output=True)
    assert list(Archive(tmp_path / "x.deb").files(lambda p: p.endswith(".txt"))) == [("usr/share/x/a.txt", b"hello")]
    (tmp_path / "x.deb").write_bytes(b"not a package")
    with pytest.raises(ValueError, match=r"damaged|cannot be read"):
        list(Archive(tmp_path / "x.deb").files(lambda p: True))
