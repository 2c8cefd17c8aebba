"""`--set key=value`: change fields of a recipe's configuration, by name and with the field's own type."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any, TypeVar, get_args, get_type_hints

C = TypeVar("C")


def override(config: C, settings: Sequence[str]) -> C:
    """A copy of a dataclass with ``key=value`` settings applied; ``optimizer.lr=1e-3`` reaches into a nested one.

    Values are read as JSON where they are JSON (numbers, true, null, lists), as text otherwise, and must be of the type of the value that
    they replace.
    """
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"--set takes field=value, e.g. --set steps=1000; got {setting!r}")
        config = _set(config, key.strip().split("."), text.strip(), key.strip())
    return config


def _set(config: Any, keys: list[str], text: str, whole: str) -> Any:
    if not is_dataclass(config) or isinstance(config, type):
        raise ValueError(f"--set {whole}: {'.'.join(whole.split('.')[: -len(keys)])} is a single value, it has no fields")
    names = [f.name for f in fields(config) if f.init]
    if keys[0] not in names:
        near = get_close_matches(keys[0], names, 1)
        hint = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(names)}"
        raise ValueError(f"--set {whole}: there is no field {keys[0]!r}; {hint}")
    old = getattr(config, keys[0])
    if len(keys) == 1 and text in _words(get_type_hints(type(config))[keys[0]]):
        return replace(config, **{keys[0]: text})
    new = _set(old, keys[1:], text, whole) if len(keys) > 1 else _value(old, text, whole)
    return replace(config, **{keys[0]: new})


def _words(hint: Any) -> set[str]:
    """The words that a field may hold, whatever its value is now: ``auto`` in ``int | Literal["auto"]``."""
    found = {a for a in get_args(hint) if isinstance(a, str)}
    return found.union(*(_words(a) for a in get_args(hint) if not isinstance(a, str)))


def _value(old: Any, text: str, whole: str) -> Any:
    try:
        new = json.loads(text)
    except json.JSONDecodeError:
        new = text
    if isinstance(old, str):
        return text
    if isinstance(old, bool) or isinstance(new, bool):
        fits = isinstance(new, bool) and (isinstance(old, bool) or old is None)
    elif isinstance(old, float):
        fits, new = isinstance(new, int | float), float(new) if isinstance(new, int) else new
    elif isinstance(old, tuple):
        # a single word or number is a list of one; commas separate words
        listed = new if isinstance(new, list) else [v.strip() for v in new.split(",")] if isinstance(new, str) else [new]
        fits, new = not old or all(isinstance(v, type(old[0])) for v in listed), tuple(listed)
    else:
        fits = old is None or isinstance(new, type(old))
    if not fits:
        raise ValueError(f"--set {whole}={text}: expected {type(old).__name__} like {old!r}")
    return new
