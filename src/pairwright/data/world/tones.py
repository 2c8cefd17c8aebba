"""Sound of a scene: one tone for each object, so that audio, picture and caption tell of the same things."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from pairwright.data.world.draws import Draw
from pairwright.data.world.scene import Facts


def tones(facts: Facts, *, seconds: float = 0.5, rate: int = 8000, noise: float = 0.0, seed: int = 0) -> Float32[Tensor, "n samples"]:
    """Waveforms of scenes, values about -1 … 1: pitch tells the shape, overtones the colour, loudness the drawn size.

    Shape k sounds at 220 x 2^(k / 6) Hz (up to 3,140 Hz: keep rate at 8,000 or more). Colour c sets the strength of the second and third
    harmonic (c modulo 5 and c // 5, in fifths). Amplitude is the radius over 0.3. noise: standard deviation of added white noise.
    """
    if rate < 8000:
        raise ValueError(f"the highest shape sounds above 3 kHz: use rate >= 8000, got {rate}")
    t = np.arange(round(seconds * rate)) / rate
    n, O = facts.shape_NO.shape
    wave = np.zeros((n, len(t)))
    for o in range(O):
        phase = 2 * np.pi * 220 * 2 ** (facts.shape_NO[:, o, None] / 6) * t
        colour = facts.colour_NO[:, o, None]
        tone = np.sin(phase) + (colour % 5) / 5 * np.sin(2 * phase) + (colour // 5) / 5 * np.sin(3 * phase)
        wave += facts.present_NO[:, o, None] * facts.radius_NO[:, o, None] / 0.3 * tone
    wave *= 0.4
    if noise:
        for i, at in enumerate(Draw(seed, facts.ids_N, "tones").integers("noise", 2**62)):
            wave[i] += noise * np.random.default_rng(at).standard_normal(len(t))
    return torch.from_numpy(wave.astype(np.float32))
