"""A switch: one planted factor with a strength from 0 (absent, the control) to 1. One file in `switches/` each, found by its name.

A switch named ``long_tail`` is the class ``LongTail`` in ``switches/long_tail.py``: a frozen dataclass whose first field is `strength`,
with any of the hooks below. Hooks run in the order of `Switch.rank`, then of name. A switch of strength 0 is never asked.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pairwright.data.world import switches as _folder
from pairwright.data.world.draws import Draw
from pairwright.data.world.scene import Facts, Vocabulary

if TYPE_CHECKING:
    from pairwright.data.world.engine import World

Array = np.ndarray


@dataclass
class Plan:
    """How each of the K captions of each scene will be worded: one fact only, and in sentences."""

    one_fact_NK: Array
    long_NK: Array


@dataclass(frozen=True)
class Switch:
    """Base of all switches. `draw` is keyed by the scene (copies share it), `own` by the sample."""

    strength: float = field(default=1.0)
    rank: ClassVar[int] = 0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ValueError(f"{name_of(self)} is a strength between 0 (absent) and 1, got {self.strength}")

    def check(self, world: World) -> None:
        """Raise ValueError if the world lacks what this switch works on."""

    def sources(self, source_N: Array, own: Draw) -> Array:
        """Which scene is shown for each id."""
        return source_N

    def priors(self, v: Vocabulary, seed: int) -> Vocabulary:
        """Tilt how often shapes and colours occur."""
        return v

    def scene(self, facts: Facts, draw: Draw, own: Draw, world: World) -> None:
        """Change the facts in place, before anything is drawn."""

    def image(self, pixels_NSS3: Array, facts: Facts, draw: Draw) -> Array:
        """Change the pixels (float32, 0 … 1)."""
        return pixels_NSS3

    def partner(self, ids_N: Array, own: Draw) -> Array:
        """Which sample's text each sample is given."""
        return ids_N

    def plan(self, plan: Plan, own: Draw) -> None:
        """Change how captions will be worded, in place."""

    def text(self, captions: list[list[str]], own: Draw) -> list[list[str]]:
        """Rewrite finished captions."""
        return captions

    def marks(self, ids_N: Array, own: Draw, captions: int) -> dict[str, Array]:
        """Truth that this switch alone knows, per sample."""
        return {}


def name_of(switch: Switch) -> str:
    return type(switch).__module__.rsplit(".", 1)[-1]


def available() -> list[str]:
    """Names of all switches."""
    return sorted(m.name for m in pkgutil.iter_modules(_folder.__path__))


def kind(name: str) -> type[Switch]:
    """The class of a switch by its name."""
    if name not in available():
        raise ValueError(f"the world has no switch {name!r}; it has {', '.join(available())}")
    module = importlib.import_module(f"{_folder.__name__}.{name}")
    return getattr(module, name.title().replace("_", ""))


def make(name: str, value: float | Switch) -> Switch:
    """A strength or a configured switch -> the switch."""
    cls = kind(name)
    if isinstance(value, Switch):
        if not isinstance(value, cls):
            raise ValueError(f"{name}= takes a number or {cls.__name__}(...), got {type(value).__name__}")
        return value
    return cls(float(value))
