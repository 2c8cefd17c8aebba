"""The recipes that `pairwright train` knows: the files of the folder `recipes` that hold a CONFIG."""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Callable
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "recipes"


def available() -> dict[str, str]:
    """name -> first line of its docstring, read without importing anything."""
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {ast.unparse(t) for n in tree.body if isinstance(n, ast.Assign) for t in n.targets}
        names |= {ast.unparse(n.target) for n in tree.body if isinstance(n, ast.AnnAssign)}
        if "CONFIG" in names and path.stem in {getattr(n, "name", None) for n in tree.body}:
            found[path.stem] = (ast.get_docstring(tree) or "").split("\n", 1)[0]
    return found


def load(name: str) -> tuple[Callable[..., Any], Any]:
    """(the recipe's function, its default configuration)."""
    names = available()
    if name not in names:
        near = get_close_matches(name, names, 1)
        known = f"the recipes are {', '.join(names)}" if names else "there are none in this installation"
        raise ValueError(f"there is no recipe {name!r}; " + (f"did you mean {near[0]}?" if near else known))
    module = importlib.import_module(f"pairwright.recipes.{name}")
    config = module.CONFIG() if isinstance(module.CONFIG, type) else module.CONFIG
    return getattr(module, name), config


def as_dict(config: Any) -> dict[str, Any]:
    """The configuration as JSON values, in the order of its fields."""
    return json.loads(json.dumps(asdict(config), default=str))
