"""Files: atomic writes, safetensors with JSON metadata, content hashes. Nothing is ever unpickled."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

_META = "pairwright"
_MAX_HEADER = 100 * 2**20


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it into place, on failure remove it.

    A reader sees the old file or the new one, never a part, and after a crash the rename is durable (file and folder are synced).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(fd)
    tmp = Path(name)
    try:
        yield tmp
        with tmp.open("rb") as f:
            os.fsync(f.fileno())
        tmp.chmod(0o644)
        tmp.replace(path)
        sync_folder(path.parent)
    except BaseException:
        tmp.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make a rename durable (no effect where folders cannot be synced, e.g. Windows)."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def write_text(path: str | Path, text: str) -> None:
    with atomic(path) as tmp:
        tmp.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Pretty, key order kept, NaN refused, newline at the end."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as e:
        raise ValueError(f"{path} is not valid JSON (line {e.lineno}: {e.msg})") from None


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any] | None = None) -> None:
    """Write safetensors atomically; `meta` (any JSON) travels in the header."""
    ready = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    with atomic(path) as tmp:
        save_file(ready, str(tmp), metadata={_META: json.dumps(meta or {}, ensure_ascii=False)})


def load_tensors(path: str | Path, *, kind: str | None = None, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a safetensors file and its JSON metadata. `kind` refuses a file of another kind."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    with path.open("rb") as f:
        head = f.read(8)
    # the length first: headers of some lengths, 640 bytes for one, begin as a pickle does
    if len(head) < 8 or int.from_bytes(head, "little") > min(_MAX_HEADER, path.stat().st_size):
        if head[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            raise ValueError(
                f"{path} is a pickle (a torch file), not safetensors: pairwright never unpickles. Convert it with safetensors first."
            )
        raise ValueError(f"{path} is not a safetensors file (bad header)")
    try:
        with safe_open(str(path), framework="pt", device=device) as f:
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118
            raw = (f.metadata() or {}).get(_META, "{}")
    except SafetensorError as e:
        raise ValueError(f"{path} is not a valid safetensors file: {e}") from None
    meta = json.loads(raw)
    if kind is not None and meta.get("kind") != kind:
        raise ValueError(f"{path} holds {meta.get('kind', 'plain tensors')!r}, expected {kind!r}")
    return tensors, meta


def tensor_names(path: str | Path) -> tuple[list[str], dict[str, Any]]:
    """Names of the tensors in one of our safetensors files and its JSON metadata, without reading them."""
    with safe_open(str(path), framework="pt") as f:
        return list(f.keys()), json.loads((f.metadata() or {}).get(_META, "{}"))


def load_tensor(path: str | Path, name: str) -> Tensor:
    """One tensor of a safetensors file."""
    with safe_open(str(path), framework="pt") as f:
        return f.get_tensor(name)


def hash_file(path: str | Path) -> str:
    """sha256 of a file's bytes, hex."""
    with Path(path).open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names, dtypes, shapes and bytes, hex: the identity of a set of weights."""
    h = hashlib.sha256()
    for name in sorted(tensors):
        t = tensors[name].detach().cpu().contiguous()
        h.update(f"{name}|{t.dtype}|{tuple(t.shape)}|".encode())
        h.update(t.flatten().view(torch.uint8).numpy().data if t.numel() else b"")
    return h.hexdigest()


def hash_json(value: Any) -> str:
    """sha256 of canonical JSON, hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str).encode()).hexdigest()


def cache_dir(*parts: str) -> Path:
    """The user's cache folder (``PAIRWRIGHT_CACHE`` overrides it), created."""
    root = os.environ.get("PAIRWRIGHT_CACHE")
    if root is None:
        from platformdirs import user_cache_dir

        root = user_cache_dir("pairwright")
    folder = Path(root, *parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
