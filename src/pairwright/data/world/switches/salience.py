"""One object strikes the eye, the others hardly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pairwright.data.world.draws import Draw
from pairwright.data.world.scene import Facts
from pairwright.data.world.switch import Switch

if TYPE_CHECKING:
    from pairwright.data.world.engine import World


@dataclass(frozen=True)
class Salience(Switch):
    """Every object but the first fades (opacity 1 - 0.7 strength) and shrinks (radius x (1 - 0.5 strength)).

    Truth: ``batch.salience_NO``, the share of each object in visible area x opacity.
    """

    def check(self, world: World) -> None:
        if world.objects[1] < 2:
            raise ValueError("salience compares objects: objects=2")

    def scene(self, facts: Facts, draw: Draw, own: Draw, world: World) -> None:
        facts.opacity_NO[:, 1:] *= 1 - 0.7 * self.strength
        facts.radius_NO[:, 1:] *= 1 - 0.5 * self.strength
