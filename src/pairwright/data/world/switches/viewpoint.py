"""The camera turns and steps back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pairwright.data.world.draws import Draw
from pairwright.data.world.scene import Facts
from pairwright.data.world.switch import Switch


@dataclass(frozen=True)
class Viewpoint(Switch):
    """Objects turn together about the centre by up to 35 x strength degrees either way, and shrink by up to 40 x strength percent.

    Relations and positions are those of the turned scene.
    """

    def scene(self, facts: Facts, draw: Draw, own: Draw, world: object) -> None:
        turn = np.radians(35) * self.strength * (2 * draw.uniform("turn") - 1)
        zoom = 1 - 0.4 * self.strength * draw.uniform("zoom")
        c, s = np.cos(turn) * zoom, np.sin(turn) * zoom
        x, y = facts.centre_NO2[..., 0] - 0.5, facts.centre_NO2[..., 1] - 0.5
        facts.centre_NO2 = 0.5 + np.stack([c[:, None] * x - s[:, None] * y, s[:, None] * x + c[:, None] * y], -1)
        facts.radius_NO = facts.radius_NO * zoom[:, None]
        facts.angle_NO = facts.angle_NO + turn[:, None]
