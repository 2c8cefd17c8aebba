"""Archives are read, never unpacked: a stream of (path, bytes) out of an npm .tgz or a Debian .deb, with bounds on everything."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

MAX_FILE = 64 * 2**20
MAX_TOTAL = 4 * 2**30
MAX_FILES = 200_000


def _members(stream: IO[bytes], mode: str, label: str, want: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    count = total = 0
    try:
        with tarfile.open(fileobj=stream, mode=mode) as tar:  # type: ignore[call-overload]
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts or "\\" in member.name:
                    raise ValueError(f"{label} holds the path {member.name!r}, which leads out of the archive: refusing to read it")
                count, total = count + 1, total + member.size
                if count > MAX_FILES or total > MAX_TOTAL:
                    raise ValueError(f"{label} is larger than {MAX_FILES:,} files or {MAX_TOTAL >> 30} GiB: refusing to read it")
                # links and devices are never followed; only plain files hold data
                if not member.isreg() or not want(str(path)):
                    continue
                if member.size > MAX_FILE:
                    raise ValueError(f"{label}: {member.name} has {member.size:,} bytes, more than the limit of {MAX_FILE:,}")
                data = tar.extractfile(member)
                assert data is not None
                yield str(path), data.read()
    except (tarfile.TarError, EOFError, OSError) as e:
        raise ValueError(f"{label} cannot be read as an archive ({e}); delete it and fetch it again") from None


@dataclass(frozen=True)
class Archive:
    """An archive on disk, told apart by its suffix. `files` streams it once per call."""

    path: Path

    def files(self, want: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
        """The plain files whose path `want` accepts, as (path, bytes). Raises ValueError on hostile paths, excess sizes and damage."""
        if self.path.suffix != ".deb":
            with self.path.open("rb") as f:
                yield from _members(f, "r|gz", self.path.name, want)
            return
        if shutil.which("dpkg-deb") is None:
            raise FileNotFoundError(f"reading {self.path.name} needs dpkg-deb: install the package dpkg, or build it on Debian or Ubuntu")
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(self.path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as p:
            assert p.stdout is not None
            try:
                yield from _members(p.stdout, "r|", self.path.name, want)
                while p.stdout.read(1 << 20):  # padding after the last member
                    pass
            except BaseException:
                p.kill()
                raise
        if p.returncode:
            raise ValueError(f"{self.path.name} is damaged (dpkg-deb failed); delete it and fetch it again")
