"""Noisy correspondence: captions of other pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pairwright.data.world.draws import Draw
from pairwright.data.world.switch import Switch

_FAR = 1 << 40


@dataclass(frozen=True)
class Shuffled(Switch):
    """With probability `strength` a sample carries the caption of some other scene, drawn at random from far away in the same world.

    Truth: ``marks["clean_N"]``; ``batch.partner_N`` is the sample that the caption describes. (By chance it may fit: see ``groups``.)
    """

    def _hit(self, own: Draw) -> np.ndarray:
        return own.uniform("hit") < self.strength

    def partner(self, ids_N: np.ndarray, own: Draw) -> np.ndarray:
        return np.where(self._hit(own), _FAR + own.integers("partner", _FAR), ids_N)

    def marks(self, ids_N: np.ndarray, own: Draw, captions: int) -> dict[str, np.ndarray]:
        return {"clean_N": ~self._hit(own)}
