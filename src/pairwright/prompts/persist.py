"""Save and load learned prompts: one safetensors file with JSON metadata, nothing pickled. The model's own weights are not in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pairwright.core.fitted import Shelf
from pairwright.prompts.fit import Descent

_PROMPTS = Shelf("prompt learner", "prompts", "class_text", (("how", Descent),))


def save_prompts(learner: Any, path: str | Path) -> None:
    """Write a fitted prompt learner: its settings and learned tokens, and the fingerprint of the model that they belong to.

    Raises ValueError for learners that are not defined in pairwright.prompts.
    """
    _PROMPTS.save(learner, path)


def load_prompts(path: str | Path, device: str = "cpu") -> Any:
    """Read a learner that `save_prompts` wrote, ready for `text` and `image_features` with the model that it was learned for."""
    learner = _PROMPTS.load(path)
    for name, value in vars(learner).items():
        if name.endswith("_") and hasattr(value, "to"):
            setattr(learner, name, value.to(device))
    return learner
