"""A cue that goes with the class in the data but does not belong to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pairwright.data.world.draws import Draw
from pairwright.data.world.scene import Facts
from pairwright.data.world.switch import Switch

if TYPE_CHECKING:
    from pairwright.data.world.engine import World


@dataclass(frozen=True)
class Spurious(Switch):
    """With probability `strength` the background (or the first object's colour) is the one that belongs to the first object's shape.

    Shape s belongs to background or colour s modulo their number V, so P(match) = strength + (1 - strength) / V. attribute:
    ``"background"`` (needs the switch background) or ``"colour"``. The control is ``world.but(spurious=0)``: the same scenes, uncorrelated.
    Truth: ``marks["planted_N"]``, True where the cue was forced.
    """

    attribute: str = "background"

    def check(self, world: World) -> None:
        if self.attribute not in ("background", "colour"):
            raise ValueError(f"a spurious cue is 'background' or 'colour', not {self.attribute!r}")
        if self.attribute == "background" and "background" not in world.switches:
            raise ValueError("a spurious background needs backgrounds: add background=1")

    def scene(self, facts: Facts, draw: Draw, own: Draw, world: World) -> None:
        hit = draw.uniform("hit") < self.strength
        if self.attribute == "background":
            kinds = world.switches["background"].kinds  # type: ignore[attr-defined]
            facts.background_N = np.where(hit, facts.shape_NO[:, 0] % kinds, facts.background_N)
            return
        wanted = facts.shape_NO[:, 0] % world.colours
        old = facts.colour_NO[:, :1]
        # another object that has the colour gets the first one's, so that colours stay different
        swapped = np.where(facts.colour_NO == wanted[:, None], old, facts.colour_NO)
        swapped[:, 0] = wanted
        facts.colour_NO = np.where(hit[:, None], swapped, facts.colour_NO)

    def marks(self, ids_N: np.ndarray, own: Draw, captions: int) -> dict[str, np.ndarray]:
        return {"planted_N": own.uniform("hit") < self.strength}
