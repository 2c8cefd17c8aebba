"""Captions in invented languages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pairwright.data.world.draws import Draw
from pairwright.data.world.language import Language
from pairwright.data.world.switch import Switch


@dataclass(frozen=True)
class Translated(Switch):
    """With probability `strength` a caption is in one of `languages` invented languages instead of English.

    shift, cognates, order: see `Language`; each language has its own words. Truth: ``marks["language_NK"]``, 0 for English.
    """

    languages: int = 2
    shift: float = 1.0
    cognates: float = 0.0
    order: float = 0.0

    @cached_property
    def tongues(self) -> list[Language]:
        """The languages; number k of ``language_NK`` is tongues[k - 1]."""
        return [Language(k + 1, self.shift, self.cognates, self.order) for k in range(self.languages)]

    def _which(self, own: Draw, captions: int) -> np.ndarray:
        hit = own.uniform("hit", captions) < self.strength
        return np.where(hit, 1 + own.integers("language", self.languages, captions), 0)

    def text(self, captions: list[list[str]], own: Draw) -> list[list[str]]:
        which = self._which(own, len(captions[0])) if captions else []
        return [[self.tongues[k - 1].translate(c) if k else c for c, k in zip(row, ks)] for row, ks in zip(captions, which)]

    def marks(self, ids_N: np.ndarray, own: Draw, captions: int) -> dict[str, np.ndarray]:
        return {"language_NK": self._which(own, captions)}
