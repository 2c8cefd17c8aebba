"""An audit hook that remembers every object unpickled on behalf of this project's code: nothing of ours may ever unpickle."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

SOURCE = str(Path(__file__).parents[1] / "src" / "pairwright")
UNPICKLED: list[str] = []


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
