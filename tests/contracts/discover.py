"""Find every mechanism of a group by its CARD, live from the source tree: a new file is under contract the moment it exists."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from pairwright.ledger.scan import scan


def mechanisms(group: str) -> list[Any]:
    """Parameters for `pytest.mark.parametrize`: the classes or functions of all cards under `group`, with their ids as test names."""
    found, problems = scan()
    assert not [p for p in problems if p.startswith(group)], problems
    return [pytest.param(getattr(importlib.import_module(f.module), f.symbol), id=f.id) for f in found if f.id.startswith(f"{group}/")]
