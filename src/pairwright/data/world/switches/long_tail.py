"""Rare and frequent concepts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pairwright.data.world.scene import Vocabulary
from pairwright.data.world.switch import Switch


@dataclass(frozen=True)
class LongTail(Switch):
    """Shapes and colours follow a Zipf law: the k-th word's weight is k ^ (-exponent x strength).

    The law holds exactly for the first object; the others are drawn without repeating a word of the scene.
    """

    exponent: float = 2.0

    def priors(self, v: Vocabulary, seed: int) -> Vocabulary:
        zipf = lambda size: np.arange(1, size + 1) ** (-self.exponent * self.strength)
        return replace(v, shape_prior=v.shape_prior * zipf(v.shapes), colour_prior=v.colour_prior * zipf(v.colours))
