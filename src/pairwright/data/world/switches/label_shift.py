"""A different frequency of classes, the same look of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pairwright.core.numerics import numpy_rng
from pairwright.data.world.scene import Vocabulary
from pairwright.data.world.switch import Switch


@dataclass(frozen=True)
class LabelShift(Switch):
    """The prior of shapes becomes exp(2 x strength x normal), the normals fixed by the world's seed and `variant`.

    Train on ``world``, test on ``world.but(label_shift=1)``: P(picture | shape) is the same, P(shape) is not.
    """

    variant: int = 0

    def priors(self, v: Vocabulary, seed: int) -> Vocabulary:
        tilt = np.exp(2 * self.strength * numpy_rng("label shift", seed, self.variant).standard_normal(v.shapes))
        return replace(v, shape_prior=v.shape_prior * tilt)
