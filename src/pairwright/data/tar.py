"""Read uncompressed tar files from outside: regular members with harmless names only; nothing is extracted, nothing is unpickled.

A reader of our own, since the usual ones follow links, trust sizes in extended headers, or decode members by their suffix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_BLOCK = 512
_HEADER_LIMIT = 65_536  # an extended header (long name, pax record) longer than this is hostile
_REGULAR, _FOLDER, _LONG_NAME, _PAX, _PAX_GLOBAL = (b"0", b"\0", b"7"), b"5", b"L", b"x", b"g"
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"K": "a link",
    b"S": "a sparse file",
}


class BadTar(ValueError):
    """The file is no tar, or is cut off, from the named place on."""


@dataclass(frozen=True)
class Member:
    """A member of a tar: its name, where its bytes lie in the file, and, where it must not be read, why."""

    name: str
    offset: int
    size: int
    refused: str = ""


def members(path: str | Path, *, member_bytes: int = 100_000_000) -> Iterator[Member]:
    """Walk the headers of a tar. Members that must not be read (links, devices, ``..`` or absolute names, too large) come with `refused`.

    Raises BadTar at the first header that is broken; what came before is good.
    """
    path = Path(path)
    with path.open("rb") as f:
        end = f.seek(0, 2)
        position, long_name, pax = 0, None, {}
        while True:
            header = _read(f, position, _BLOCK, end, path)
            if header.count(0) == _BLOCK:
                return
            _check_sum(header, path, position)
            kind, size = header[156:157], _number(header[124:136], path, position)
            size = int(pax.get("size", size)) if kind not in (_PAX, _PAX_GLOBAL, _LONG_NAME) else size
            start = position + _BLOCK
            position = start + -(-size // _BLOCK) * _BLOCK
            if size < 0 or start + size > end:
                raise BadTar(f"{path} ends in the middle of the member at byte {start - _BLOCK:,}: the shard is truncated")
            if kind in (_LONG_NAME, _PAX, _PAX_GLOBAL):
                if size > _HEADER_LIMIT:
                    raise BadTar(
                        f"{path} has an extended header of {size:,} bytes at byte {start - _BLOCK:,}, which no honest archive needs"
                    )
                extra = _read(f, start, size, end, path)
                if kind == _LONG_NAME:
                    long_name = extra.rstrip(b"\0").decode("utf-8", "replace")
                elif kind == _PAX:
                    pax = _records(extra, path)
                continue
            name = pax.get("path") or long_name or _name(header)
            yield Member(name, start, size, _objection(name, kind, size, member_bytes, pax))
            long_name, pax = None, {}


def _objection(name: str, kind: bytes, size: int, limit: int, pax: dict[str, str]) -> str:
    """Why a member must not be read; folders and names are judged like files, empty when it is fine."""
    if kind == _FOLDER:
        return "" if _harmless(name) else "its name leads out of the archive"
    if kind not in _REGULAR or any(key.startswith("GNU.sparse") for key in pax):
        return f"it is {_KINDS.get(kind, 'a sparse file' if kind in _REGULAR else f'of unknown kind {kind!r}')}"
    if not _harmless(name):
        return "its name leads out of the archive"
    return f"it has {size:,} bytes, more than the limit of {limit:,}" if size > limit else ""


def _harmless(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return bool(name) and ".." not in parts and not name.startswith(("/", "\\")) and name[1:2] != ":" and name.isprintable()


def _read(f: BinaryIO, position: int, n: int, end: int, path: Path) -> bytes:
    if position + n > end:
        raise BadTar(f"{path} ends without an end mark at byte {end:,}: not a tar, or truncated (unpack compressed archives first)")
    f.seek(position)
    return f.read(n)


def _check_sum(header: bytes, path: Path, position: int) -> None:
    stored = _number(header[148:156], path, position)
    if stored != sum(header[:148]) + 8 * 32 + sum(header[156:]):
        raise BadTar(f"{path} has a broken header at byte {position:,}: not a tar, or damaged (unpack compressed archives first)")


def _number(field: bytes, path: Path, position: int) -> int:
    """Octal text, or base 256 where the first bit is set."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.split(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        raise BadTar(f"{path} has a broken header at byte {position:,}: not a tar, or damaged") from None


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0")[0].decode("utf-8", "replace")
    prefix = header[345:500].split(b"\0")[0].decode("utf-8", "replace") if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _records(data: bytes, path: Path) -> dict[str, str]:
    """pax records ``LENGTH KEY=VALUE\\n``."""
    records: dict[str, str] = {}
    while data.strip(b"\0"):
        try:
            length = int(data[: data.index(b" ")])
            key, _, value = data[data.index(b" ") + 1 : length - 1].decode("utf-8").partition("=")
            if length < 5 or length > len(data) or (key == "size" and not value.isdecimal()):
                raise ValueError
        except ValueError:
            raise BadTar(f"{path} has a broken extended header") from None
        records[key], data = value, data[length:]
    return records
