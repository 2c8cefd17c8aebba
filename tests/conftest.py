"""For the whole suite: shapes are checked where they are annotated, and nothing of ours may ever unpickle."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import install_import_hook

from tests.unpickling import UNPICKLED

install_import_hook(["pairwright.losses", "pairwright.heads", "pairwright.metrics"], "beartype.beartype")


@pytest.fixture(autouse=True)
def nothing_is_unpickled() -> object:
    """Fails the test in which it happened."""
    before = len(UNPICKLED)
    yield
    assert UNPICKLED[before:] == []


@pytest.fixture(autouse=True, scope="session")
def two_threads() -> None:
    """As on the smallest machine that is supported: oversubscription makes tests slow, not right."""
    torch.set_num_threads(min(2, torch.get_num_threads()))
