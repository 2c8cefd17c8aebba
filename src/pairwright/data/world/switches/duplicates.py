"""Copies and near copies of earlier samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pairwright.data.world.draws import Draw
from pairwright.data.world.scene import Facts
from pairwright.data.world.switch import Switch


@dataclass(frozen=True)
class Duplicates(Switch):
    """With probability `strength` sample i shows the scene of an earlier sample again (one of the last `window`, never itself).

    jitter: 0 repeats the picture exactly; above, a near copy: objects move together by up to jitter x 10% of the canvas and turn a little.
    Captions are worded anew for each copy. Truth: ``facts.source_N`` (equal for copies), ``marks["copy_N"]``.
    Test samples can copy training samples too: draw the test from ``world.but(duplicates=0)``.
    """

    jitter: float = 0.0
    window: int = 10_000

    def sources(self, source_N: np.ndarray, own: Draw) -> np.ndarray:
        source_N = source_N.copy()
        open_ = np.arange(len(source_N))
        while len(open_):  # a copy of a copy shows the original
            at = Draw(own.seed, source_N[open_], own.scope)
            again = (at.uniform("hit") < self.strength) & (at.ids_N > 0)
            back = 1 + at.integers("back", np.minimum(np.maximum(at.ids_N, 1), self.window))
            source_N[open_] = np.where(again, at.ids_N - back, at.ids_N)
            open_ = open_[again]
        return source_N

    def scene(self, facts: Facts, draw: Draw, own: Draw, world: object) -> None:
        if self.jitter:
            copy = self._hit(own)[:, None]
            facts.centre_NO2 += copy[..., None] * 0.2 * self.jitter * (own.uniform("move", 2) - 0.5)[:, None]
            facts.angle_NO += copy * self.jitter * 0.6 * (own.uniform("turn", 1) - 0.5)

    def _hit(self, own: Draw) -> np.ndarray:
        return (own.uniform("hit") < self.strength) & (own.ids_N > 0)

    def marks(self, ids_N: np.ndarray, own: Draw, captions: int) -> dict[str, np.ndarray]:
        return {"copy_N": self._hit(own)}
