"""Visual domains: pastel, dusk, sepia, grainy, blurred, blocky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pairwright.data.world.draws import Draw
from pairwright.data.world.scene import Facts
from pairwright.data.world.switch import Switch
from pairwright.data.world.vocabulary import STYLES

Array = np.ndarray


@dataclass(frozen=True)
class Style(Switch):
    """Pictures come from one of several domains; `strength` blends the domain's look in.

    kinds: the domains, ``natural`` being none. period 0: a domain at random for each sample. period p > 0: a sequence, p samples of each
    domain in turn (continual learning, drifting streams). Truth: ``facts.style_N``, index into vocabulary.STYLES.
    """

    kinds: tuple[str, ...] = STYLES
    period: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = set(self.kinds) - set(STYLES)
        if unknown or not self.kinds:
            raise ValueError(f"styles are {', '.join(STYLES)}; got {', '.join(sorted(unknown)) or 'none'}")

    def scene(self, facts: Facts, draw: Draw, own: Draw, world: object) -> None:
        turn = (own.ids_N // self.period) % len(self.kinds) if self.period else draw.integers("kind", len(self.kinds))
        facts.style_N = np.array([STYLES.index(k) for k in self.kinds])[turn]

    def image(self, pixels_NSS3: Array, facts: Facts, draw: Draw) -> Array:
        out = pixels_NSS3.copy()
        for k in set(facts.style_N.tolist()) - {0}:
            rows = np.flatnonzero(facts.style_N == k)
            x = pixels_NSS3[rows]
            out[rows] = x + np.float32(self.strength) * (_look(STYLES[k], x, draw.uniform("grain")[rows]) - x)
        return out


def _look(style: str, x: Array, u_N: Array) -> Array:
    """Pictures (n, S, S, 3) in 0 … 1 in another look."""
    S = x.shape[1]
    gray = 0.3 * x[..., 0] + 0.59 * x[..., 1] + 0.11 * x[..., 2]
    if style == "pastel":
        return 0.55 + 0.45 * x
    if style == "dusk":
        return x * np.float32([0.36, 0.40, 0.62])
    if style == "sepia":
        return 0.55 * gray[..., None] * np.float32([1.1, 0.92, 0.68]) + 0.45 * x * np.float32([1.05, 0.95, 0.8])
    if style == "grainy":
        noise = np.stack([np.random.default_rng(int(u * 2**53)).standard_normal(x.shape[1:3], np.float32) for u in u_N])
        return np.clip(x + 0.16 * noise[..., None], 0, 1)
    if style == "blurred":
        return _box(_box(x, S), S)
    step = max(2, S // 16)  # blocky
    at = np.minimum(np.arange(S) // step * step + step // 2, S - 1)
    return x[:, at][:, :, at]


def _box(x: Array, S: int) -> Array:
    """Mean over a window of about a twentieth of the picture, edges repeated."""
    r = max(1, S // 40)
    for axis in (1, 2):
        pad = [(0, 0)] * 4
        pad[axis] = (r + 1, r)
        total = np.cumsum(np.pad(x, pad, mode="edge"), axis=axis, dtype=np.float64)
        high = np.take(total, np.arange(2 * r + 1, S + 2 * r + 1), axis=axis)
        x = ((high - np.take(total, np.arange(S), axis=axis)) / (2 * r + 1)).astype(np.float32)
    return x
