"""For the whole suite: shapes are checked where they are annotated, and nothing of ours may ever unpickle."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import pytest
import torch
from jaxtyping import install_import_hook

SOURCE = str(Path(__file__).parents[1] / "src" / "pairwright")
UNPICKLED: list[str] = []

install_import_hook(["pairwright.losses", "pairwright.heads", "pairwright.metrics"], "beartype.beartype")


def note_unpickling(event: str, args: tuple) -> None:
    """An audit hook: remembers each object that is unpickled on behalf of this project's code."""
    if event != "pickle.find_class":
        return
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.startswith(SOURCE):
            UNPICKLED.append(f"{args[0]}.{args[1]} from {frame.f_code.co_filename}:{frame.f_lineno}")
            return
        frame = frame.f_back


sys.addaudithook(note_unpickling)


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
