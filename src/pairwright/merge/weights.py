"""Merge checkpoints tensor by tensor, in memory or from file to file, after a check that they are of one architecture."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from pairwright.core import io
from pairwright.core.contracts import Merger
from pairwright.models.load.checkpoint import WEIGHT_FILES, find_weights, read_state

State = Mapping[str, Tensor]


def merge_states(merger: Merger, base: State, tuned_S: Sequence[State]) -> dict[str, Tensor]:
    """The merged state dict: the base's names, shapes and dtypes. Inputs are left as they are."""
    return dict(_merged(merger, base, tuned_S))


def merge_files(merger: Merger, base: str | Path, tuned_S: Sequence[str | Path], out: str | Path) -> Path:
    """Merge checkpoint files or model folders into a new one, holding one tensor of each in memory at a time.

    base, tuned_S: safetensors files (streamed), other checkpoints that `load` reads (held whole), or model folders. out: a safetensors
    file, or a folder where the base is one; then the base's configuration and tokenizer are copied and the result loads like the base.
    """
    base, out = Path(base), Path(out)
    sources = [find_weights(p) if p.is_dir() else p for p in (base, *map(Path, tuned_S))]
    if not base.is_dir() and out.suffix != ".safetensors":
        raise ValueError(f"the merged checkpoint is a safetensors file: name it {out.with_suffix('.safetensors').name}")
    if base.is_dir() and out.resolve() == base.resolve():
        raise ValueError(f"{out} is the base: name another folder for the result")
    target = out / WEIGHT_FILES[0] if base.is_dir() else out
    with ExitStack() as stack:
        first, *others = [stack.enter_context(_Open(p)) for p in sources]
        _write(target, first, _merged(merger, first, others), {"merged": repr(merger)})
    if base.is_dir():
        for extra in base.iterdir():
            if extra.is_file() and extra.suffix not in (".safetensors", ".bin", ".pt", ".pth", ".ckpt"):
                shutil.copy2(extra, out / extra.name)
    return out


def check_alike(base: State, tuned_S: Sequence[State]) -> None:
    """Raise ValueError unless all hold the same names with the same shapes, naming the first differences."""
    if not tuned_S:
        raise ValueError("nothing to merge: give at least one tuned model besides the base")
    for i, tuned in enumerate(tuned_S):
        missing, extra = sorted(base.keys() - tuned.keys()), sorted(tuned.keys() - base.keys())
        if missing or extra:
            lacks = [f"lacks {missing[0]!r} ({len(missing)} in all)"] if missing else []
            adds = [f"adds {extra[0]!r} ({len(extra)} in all)"] if extra else []
            raise ValueError(
                f"tuned model {i} cannot be merged with the base: it {' and '.join(lacks + adds)}. Merge checkpoints of one architecture; "
                "fold LoRA and the like first"
            )
        for name in base:
            a, b = _shape(base, name), _shape(tuned, name)
            if a != b:
                raise ValueError(
                    f"tuned model {i} cannot be merged with the base: {name!r} has the shape {b} there and {a} here. Merge checkpoints of "
                    "one architecture and input size"
                )


def _merged(merger: Merger, base: State, tuned_S: Sequence[State]) -> Iterator[tuple[str, Tensor]]:
    """(name, merged tensor) in the order of the base; a merger that scans sees all tensors before the first is merged."""
    check_alike(base, tuned_S)
    scan = getattr(merger, "scan", None)
    stats: dict[str, Any] = {}
    if scan is not None:
        stats = {name: scan(name, base[name], [t[name] for t in tuned_S]) for name in base}
    state: Any = None
    for name in base:
        own = base[name]
        made, state = merger.merge(name, own, [t[name] for t in tuned_S], stats=stats, state=state)
        if made.shape != own.shape:
            raise ValueError(f"{merger!r} changed the shape of {name!r} from {tuple(own.shape)} to {tuple(made.shape)}")
        yield name, made.to(own.dtype)


def _shape(state: State, name: str) -> tuple[int, ...]:
    return state.shape(name) if isinstance(state, _Open) else tuple(state[name].shape)


class _Open(Mapping[str, Tensor]):
    """A checkpoint file as a mapping; safetensors are read one tensor at a time."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist")
        self.path, self._file = path, None
        self._state = None if path.suffix == ".safetensors" else read_state(path)

    def __enter__(self) -> _Open:
        if self._state is None:
            self._file = safe_open(str(self.path), framework="pt").__enter__()
        self._names = list(self._state if self._file is None else self._file.keys())
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.__exit__(*error)

    def __getitem__(self, name: str) -> Tensor:
        return self._state[name] if self._file is None else self._file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._state[name].shape if self._file is None else self._file.get_slice(name).get_shape())

    def spec(self, name: str) -> tuple[str, list[int], int]:
        """dtype as safetensors spells it, shape, bytes."""
        shape = list(self.shape(name))
        kind = _CODES[self._state[name].dtype] if self._file is None else self._file.get_slice(name).get_dtype()
        size = {code: torch.empty((), dtype=d).element_size() for d, code in _CODES.items()}
        return kind, shape, size[kind] * int(torch.tensor(shape, dtype=torch.int64).prod())


_CODES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def _write(path: Path, like: _Open, tensors: Iterator[tuple[str, Tensor]], meta: Mapping[str, Any]) -> None:
    """Write safetensors with the names, dtypes and shapes of `like`, one tensor after the other, atomically."""
    header: dict[str, Any] = {"__metadata__": {"pairwright": json.dumps(meta)}}
    end = 0
    for name in like:
        kind, shape, size = like.spec(name)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with io.atomic(path) as tmp, tmp.open("wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for _, t in tensors:
            f.write(t.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
