"""A cache of one's own, archives made on the spot, and clients (npm, apt-get) that hand them over: no test here needs a network."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pairwright.data.packs import catalog

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}">{body}</svg>'


def svg(body: str = '<circle cx="5" cy="5" r="4" fill="red"/>', w: int = 10, h: int = 10) -> bytes:
    return SVG.format(body=body, w=w, h=h).encode()


def tgz(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Store:
    """A fake registry: archives by package, served by fake `npm` and `apt-get` programs that are first on PATH."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.monkeypatch = root, monkeypatch
        self.bin = root / "bin"
        self.bin.mkdir()
        self.calls = root / "calls.txt"
        self.serve("npm", f'cp "{root}/served.tgz" ./served.tgz')
        monkeypatch.setenv("PATH", f"{self.bin}{os.pathsep}{os.environ['PATH']}")

    def serve(self, client: str, script: str) -> None:
        program = self.bin / client
        program.write_text(f'#!/bin/sh\necho "{client} $*" >> "{self.calls}"\n{script}\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def offer(self, name: str, files: dict[str, bytes], **changes: object) -> catalog.Pack:
        """Let the client serve these files as the archive of a pack, and the catalogue expect it."""
        data = tgz(files)
        (self.root / "served.tgz").write_bytes(data)
        row = replace(catalog.PACKS[name], source="npm", sha256=hashlib.sha256(data).hexdigest(), **changes)
        self.monkeypatch.setitem(catalog.PACKS, name, row)
        return row

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("PAIRWRIGHT_CACHE", str(tmp_path / "cache"))
    return Store(tmp_path, monkeypatch)


@pytest.fixture
def files_of() -> Callable[[dict[str, bytes]], object]:
    """An archive in memory, for readers."""

    class Memory:
        def __init__(self, files: dict[str, bytes]) -> None:
            self.all = files

        def files(self, want: Callable[[str], bool]) -> list[tuple[str, bytes]]:
            return [(path, data) for path, data in self.all.items() if want(path)]

    return Memory
