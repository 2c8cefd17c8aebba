"""Light from one side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pairwright.data.world.draws import Draw
from pairwright.data.world.scene import Facts
from pairwright.data.world.switch import Switch


@dataclass(frozen=True)
class Illumination(Switch):
    """A light gradient in a random direction and a random gain: factors from 1 - 0.65 strength to 1 + 0.3 strength across the picture."""

    def image(self, pixels_NSS3: np.ndarray, facts: Facts, draw: Draw) -> np.ndarray:
        S = pixels_NSS3.shape[1]
        turn = 2 * np.pi * draw.uniform("direction")
        at = (np.arange(S) + 0.5) / S - 0.5
        side = np.cos(turn)[:, None, None] * at + np.sin(turn)[:, None, None] * at[:, None]  # -0.7 … 0.7
        gain = 0.8 + 0.2 * draw.uniform("gain")[:, None, None]
        factor = (gain * (0.85 + side)).clip(0.35, 1.3)
        return pixels_NSS3 * (1 + self.strength * (factor - 1)).astype(np.float32)[..., None]
