"""Save and load fitted objects (heads, prompt learners): one safetensors file with JSON metadata, nothing pickled."""

from __future__ import annotations

import importlib
import re
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch

from pairwright.core import io


@dataclass(frozen=True)
class Shelf:
    """Where the classes of one kind live, and what their files say.

    kind: of object, as in messages. package: below ``pairwright``; nothing outside of it is ever imported. method: what an object of the
    kind has. parts: settings that are dataclasses themselves, by name.
    """

    kind: str
    package: str
    method: str
    parts: tuple[tuple[str, type], ...] = ()

    def save(self, thing: Any, path: str | Path) -> None:
        """Write a fitted object (atomically): settings as JSON, learned values (names ending in ``_``) as safetensors or JSON."""
        tensors, learned = {}, {}
        for name, value in vars(thing).items():
            if not name.endswith("_"):
                continue
            if isinstance(value, torch.Tensor):
                tensors[name] = value.clone()
            elif value is None or isinstance(value, bool | int | float | str):
                learned[name] = value
            else:
                raise ValueError(
                    f"{type(thing).__name__}.{name} is a {type(value).__name__}: learned values must be tensors, numbers or strings"
                )
        if not is_dataclass(thing):
            raise ValueError(f"{type(thing).__name__} is not a dataclass: its settings cannot be written")
        params = {f.name: getattr(thing, f.name) for f in fields(thing)}
        params |= {name: asdict(params[name]) for name, _ in self.parts if name in params}
        name = self.name_of(type(thing))
        if self.resolve(name) is not type(thing):
            raise ValueError(f"{type(thing).__qualname__} is not what {name} names: only a {self.kind} at module level can be saved")
        io.save_tensors(path, tensors, {"kind": self.kind, "class": name, "params": params, "learned": learned})

    def load(self, path: str | Path) -> Any:
        """Read what `save` wrote. Raises ValueError for any other file."""
        tensors, meta = io.load_tensors(path, kind=self.kind)
        cls = self.resolve(str(meta.get("class")))
        known, params = {f.name for f in fields(cls)}, dict(meta.get("params", {}))
        if unknown := sorted(set(params) - known):
            raise ValueError(
                f"{path}: {cls.__name__} has no setting {unknown[0]!r} (it has {', '.join(sorted(known))}): written by another version?"
            )
        params |= {name: part(**params[name]) for name, part in self.parts if name in params}
        thing = cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in params.items()})
        for name, value in {**meta.get("learned", {}), **tensors}.items():
            if not name.endswith("_") or name.startswith("_"):
                raise ValueError(f"{path}: {name!r} is not the name of a learned value")
            setattr(thing, name, value)
        return thing

    def name_of(self, cls: type) -> str:
        if not cls.__module__.startswith(f"pairwright.{self.package}."):
            raise ValueError(
                f"{cls.__module__}.{cls.__qualname__} lives outside of pairwright.{self.package}: it could not be found again when loading"
            )
        return f"{cls.__module__.removeprefix('pairwright.').replace('.', '/')}:{cls.__qualname__}"

    def resolve(self, name: str) -> type:
        """``heads/cache/tip_adapter:TipAdapter`` -> the class."""
        if not re.fullmatch(rf"{self.package}(/[a-z][a-z0-9_]*)+:[A-Z][A-Za-z0-9]*", name):
            raise ValueError(f"{name!r} is not the name of a {self.kind} ({self.package}/…/file:Class)")
        module_name, _, symbol = name.partition(":")
        module_name = "pairwright." + module_name.replace("/", ".")
        try:
            cls = getattr(importlib.import_module(module_name), symbol)
        except (ModuleNotFoundError, AttributeError):
            raise ValueError(f"there is no {self.kind} {name} in this version of pairwright") from None
        if not (isinstance(cls, type) and cls.__module__ == module_name and is_dataclass(cls) and hasattr(cls, self.method)):
            raise ValueError(f"{name} is not a {self.kind}")
        return cls
