"""Grounds behind the objects."""

from __future__ import annotations

from dataclasses import dataclass

from pairwright.data.world.draws import Draw
from pairwright.data.world.scene import Facts
from pairwright.data.world.switch import Switch
from pairwright.data.world.vocabulary import BACKGROUNDS


@dataclass(frozen=True)
class Background(Switch):
    """One of `kinds` grounds (sky, grass, sand, brick …) behind the objects, blended in by `strength`; independent of everything else.

    Truth: ``facts.background_N``. Said in captions as ``on brick`` at the mention rate of ``background``.
    """

    kinds: int = 10
    rank = -1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.kinds <= len(BACKGROUNDS):
            raise ValueError(f"there are 1 to {len(BACKGROUNDS)} kinds of background, got {self.kinds}")

    def scene(self, facts: Facts, draw: Draw, own: Draw, world: object) -> None:
        facts.background_N = draw.integers("kind", self.kinds)
        facts.backdrop_N[:] = self.strength
