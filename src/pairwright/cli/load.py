"""Load a model for a command, quietly and with the remark a person needs while it takes its time."""

from __future__ import annotations

from typing import Any


def load(name: str) -> Any:
    """A model in evaluation mode."""
    import pairwright

    model = pairwright.load(name)
    model.eval()
    return model
