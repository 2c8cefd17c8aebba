"""Save and load fitted heads: one safetensors file with JSON metadata, nothing pickled."""

from __future__ import annotations

import importlib
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch

from pairwright.core import io

_KIND = "head"
_NAME = re.compile(r"heads(/[a-z][a-z0-9_]*)+:[A-Z][A-Za-z0-9]*")


def save_head(head: Any, path: str | Path) -> None:
    """Write a fitted head (atomically). Its settings are JSON, its learned tensors safetensors; `load_head` gives back the exact same.

    Raises ValueError for heads that are not defined in pairwright.heads, and for learned values that are neither tensors nor JSON.
    """
    tensors, learned = {}, {}
    for name, value in vars(head).items():
        if not name.endswith("_"):
            continue
        if isinstance(value, torch.Tensor):
            tensors[name] = value.clone()
        elif value is None or isinstance(value, bool | int | float | str):
            learned[name] = value
        else:
            raise ValueError(
                f"{type(head).__name__}.{name} is a {type(value).__name__}: learned values must be tensors, numbers or strings"
            )
    if not is_dataclass(head):
        raise ValueError(f"{type(head).__name__} is not a dataclass: its settings cannot be written")
    params = {f.name: getattr(head, f.name) for f in fields(head)}
    name = _name_of(type(head))
    if _resolve(name) is not type(head):
        raise ValueError(f"{type(head).__qualname__} is not what {name} names: only heads at module level can be saved")
    io.save_tensors(path, tensors, {"kind": _KIND, "class": name, "params": params, "learned": learned})


def load_head(path: str | Path) -> Any:
    """Read a head that `save_head` wrote, ready for `logits`. Raises ValueError for any other file."""
    tensors, meta = io.load_tensors(path, kind=_KIND)
    cls = _resolve(str(meta.get("class")))
    known, params = {f.name for f in fields(cls)}, meta.get("params", {})
    if unknown := sorted(set(params) - known):
        raise ValueError(
            f"{path}: {cls.__name__} has no setting {unknown[0]!r} (it has {', '.join(sorted(known))}): written by another version?"
        )
    head = cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in params.items()})
    for name, value in {**meta.get("learned", {}), **tensors}.items():
        if not name.endswith("_") or name.startswith("_"):
            raise ValueError(f"{path}: {name!r} is not the name of a learned value")
        setattr(head, name, value)
    return head


def _name_of(cls: type) -> str:
    if not cls.__module__.startswith("pairwright.heads."):
        raise ValueError(f"{cls.__module__}.{cls.__qualname__} lives outside of pairwright.heads: it could not be found again when loading")
    return f"{cls.__module__.removeprefix('pairwright.').replace('.', '/')}:{cls.__qualname__}"


def _resolve(name: str) -> type:
    """``heads/cache/tip_adapter:TipAdapter`` -> the class; nothing outside of pairwright.heads is ever imported."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a head (heads/leaf/file:Class)")
    module_name, _, symbol = name.partition(":")
    module_name = "pairwright." + module_name.replace("/", ".")
    try:
        cls = getattr(importlib.import_module(module_name), symbol)
    except (ModuleNotFoundError, AttributeError):
        raise ValueError(f"there is no head {name} in this version of pairwright") from None
    if not (isinstance(cls, type) and cls.__module__ == module_name and is_dataclass(cls) and hasattr(cls, "logits")):
        raise ValueError(f"{name} is not a head")
    return cls
