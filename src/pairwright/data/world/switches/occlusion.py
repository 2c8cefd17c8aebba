"""Objects in front of others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pairwright.data.world.draws import Draw
from pairwright.data.world.scene import Facts
from pairwright.data.world.switch import Switch

if TYPE_CHECKING:
    from pairwright.data.world.engine import World


@dataclass(frozen=True)
class Occlusion(Switch):
    """All objects draw together towards the middle of the first two by 75 x strength percent; the nearer hides the farther.

    Directions, and so relations, stay as they are. Truth: ``batch.occlusion_NO``, ``facts.depth_NO``, visible masks.
    """

    def check(self, world: World) -> None:
        if world.objects[1] < 2:
            raise ValueError("occlusion needs at least two objects: objects=2")

    def scene(self, facts: Facts, draw: Draw, own: Draw, world: World) -> None:
        c = facts.centre_NO2
        middle = c[:, :2].mean(1, keepdims=True)
        facts.centre_NO2 = c + 0.75 * self.strength * (middle - c)
