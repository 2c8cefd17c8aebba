"""Things that take long to build, built once: cached by the content hash of what they are made from and of the code that makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from pairwright.core import io

_SAMPLES = (
    "draws",
    "vocabulary",
    "shapes",
    "backgrounds",
    "scene",
    "render",
    "grammar",
    "caption",
    "language",
    "switch",
    "engine",
    "batch",
)


def world_files() -> list[Path]:
    """The source files that decide what a world shows and says: a fixture trained on the world is stale when one of them changes."""
    here = Path(__file__).parent
    return [*(here / f"{name}.py" for name in _SAMPLES), *sorted((here / "switches").glob("*.py"))]


def key_of(spec: Mapping[str, Any], files: Sequence[Path]) -> str:
    """Short hash of a specification (JSON) and of the bytes of source files."""
    return io.hash_json([spec, [[p.name, io.hash_file(p)] for p in files]])[:20]


def cached(
    name: str, spec: Mapping[str, Any], build: Callable[[], Mapping[str, Tensor]], *, files: Sequence[Path] = (), folder: Path | None = None
) -> dict[str, Tensor]:
    """The tensors that `build()` returns for `spec`: loaded if they have been built before, else built and stored (atomically).

    The same tensors come back either way, bit for bit. files: source files whose change makes a stored copy stale. A damaged copy is
    built again. folder: ``cache_dir("fixtures")`` unless given. Two processes may build at the same time; one result is kept.
    """
    path = (folder or io.cache_dir("fixtures")) / f"{name}-{key_of(spec, files)}.safetensors"
    kind = f"fixture {name}"
    if path.is_file():
        try:
            return io.load_tensors(path, kind=kind)[0]
        except ValueError:
            path.unlink(missing_ok=True)
    io.save_tensors(path, build(), {"kind": kind, "spec": dict(spec)})
    return io.load_tensors(path, kind=kind)[0]
