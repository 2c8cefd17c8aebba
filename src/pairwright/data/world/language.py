"""Invented languages: every word has one translation and back, with a chosen share of shared words, cognates, and word order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pairwright.core.numerics import numpy_rng
from pairwright.data.world.grammar import ALL_WORDS

_ONSETS = ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "dr", "kr", "pl", "st", "sk", "tr", "fl"]
_VOWELS = ["a", "e", "i", "o", "u", "ai", "ei", "oa"]
_CODAS = ("", "", "", "n", "r", "l", "s", "m")
_BREAKS = frozenset([".", "and", "on", "in"])


@dataclass(frozen=True)
class Language:
    """A language made from the world's English, word for word.

    shift: share of the words that differ from English. cognates: share of those that are English words with one vowel or ending
    changed, the rest are unlike. order: 0 English; 0.5: words of each part between breaks (and, on, in, full stop) stand in reverse, so
    that adjectives follow nouns and the relation reads backwards; 1: the whole caption stands in reverse. Every setting can be undone.
    """

    seed: int = 1
    shift: float = 1.0
    cognates: float = 0.0
    order: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.shift <= 1 and 0 <= self.cognates <= 1):
            raise ValueError(f"shift and cognates are shares between 0 and 1, got {self.shift} and {self.cognates}")
        if self.order not in (0, 0.5, 1):
            raise ValueError(f"order is 0 (English), 0.5 (parts reversed) or 1 (all reversed), got {self.order}")

    @cached_property
    def dictionary(self) -> dict[str, str]:
        """English word -> its word here. One to one; the full stop stays."""
        rng = numpy_rng("language", self.seed)
        words = [w for w in ALL_WORDS if w != "."]
        rank_W, cognate_W = rng.permutation(len(words)), rng.random(len(words))
        out, taken = {".": "."}, set(ALL_WORDS)
        for rank, u, word in zip(rank_W, cognate_W, words):
            fresh = word
            sub = np.random.default_rng(rng.integers(2**62))
            if rank < round(self.shift * len(words)):
                while fresh in taken:
                    fresh = _cognate(word, sub) if u < self.cognates else _invent(sub)
            out[word] = fresh
            taken.add(fresh)
        return out

    @cached_property
    def _back(self) -> dict[str, str]:
        return {b: a for a, b in self.dictionary.items()}

    def translate(self, caption: str) -> str:
        """English caption -> this language. Raises ValueError at a word outside the world's vocabulary."""
        words = self._reorder(caption.split())
        unknown = [w for w in words if w not in self.dictionary]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not a word of the world")
        return " ".join(self.dictionary[w] for w in words)

    def back(self, caption: str) -> str:
        """This language -> English: undoes `translate` exactly."""
        unknown = [w for w in caption.split() if w not in self._back]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not a word of this language")
        return " ".join(self._reorder([self._back[w] for w in caption.split()]))

    def _reorder(self, words: list[str]) -> list[str]:
        """Its own inverse."""
        if self.order == 0:
            return words
        if self.order == 1:
            return words[::-1]
        out: list[str] = []
        part: list[str] = []
        for word in [*words, "."]:
            if word in _BREAKS:
                out += [*part[::-1], word]
                part = []
            else:
                part.append(word)
        return out[:-1]


def _invent(rng: np.random.Generator) -> str:
    pick = lambda table: table[rng.integers(len(table))]
    return "".join(pick(_ONSETS) + pick(_VOWELS) for _ in range(rng.integers(1, 4))) + pick(_CODAS)


def _cognate(word: str, rng: np.random.Generator) -> str:
    spots = [k for k, letter in enumerate(word) if letter in "aeiou"]
    if spots and rng.random() < 0.6:
        k = spots[rng.integers(len(spots))]
        return word[:k] + "aeiouy"[rng.integers(6)] + word[k + 1 :]
    return word + ("o", "en", "a", "um", "ik", "eth")[rng.integers(6)]
