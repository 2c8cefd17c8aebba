"""Lazy names for packages: a symbol's module is imported when the symbol is first used, never before."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Getter = tuple[Callable[[str], Any], Callable[[], list[str]]]


def lazy(package: str, table: Mapping[str, str] | None = None) -> Getter:
    """(``__getattr__``, ``__dir__``) of a package whose names are given by `table`, ``name -> "module:symbol"`` or ``"module"``.

    Without a table the names are those of the method index below the package: ``pairwright.heads`` offers every head's symbol.
    """

    def names() -> Mapping[str, str]:
        return table if table is not None else indexed(package)

    def getattribute(name: str) -> Any:
        target = None if name.startswith("_") else names().get(name) or _submodule(package, name)
        if not target:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, symbol = target.partition(":")
        value = importlib.import_module(module)
        if symbol:
            value = getattr(value, symbol)
        setattr(sys.modules[package], name, value)
        return value

    def listing() -> list[str]:
        return sorted({n for n in vars(sys.modules[package]) if n.startswith("__")} | set(names()))

    return getattribute, listing


def _submodule(package: str, name: str) -> str | None:
    """The dotted name of a module in the package's folder, so that ``pw.heads.cache`` needs no import of its own."""
    for folder in sys.modules[package].__path__:
        if Path(folder, f"{name}.py").is_file() or Path(folder, name, "__init__.py").is_file():
            return f"{package}.{name}"
    return None


def indexed(package: str) -> dict[str, str]:
    """symbol -> ``"module:symbol"`` for every indexed mechanism below `package` (a dotted name)."""
    from pairwright.core.index import entries

    prefix = package.partition(".")[2].replace(".", "/")
    # a symbol named like its own file would be shadowed as soon as that file is imported: there the module keeps the name
    return {e.symbol: f"{e.module}:{e.symbol}" for e in entries(prefix) if e.id != f"{prefix}/{e.symbol}"}
