"""Statements about scenes, and their words: facts -> statement -> caption -> the same statement back; and whether it is true.

short:  a small red circle left of two blue squares on brick in pastel style
long:   there is a small red circle . there are two blue squares . the first is left of the second . the background is brick
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations

from pairwright.data.world import vocabulary as V
from pairwright.data.world.scene import Facts, relation

ATTRIBUTES = ("count", "size", "texture", "colour", "shape", "position")
TEMPLATES = ("", "a photo of", "a picture of", "an image with", "here is")


@dataclass(frozen=True)
class Phrase:
    """What is said about one object: indices into the vocabulary, -1 for what is not said."""

    count: int = -1
    size: int = -1
    texture: int = -1
    colour: int = -1
    shape: int = -1
    position: int = -1


@dataclass(frozen=True)
class Statement:
    """What a caption claims. relation: of the first phrase to the second, -1 when not said."""

    phrases: tuple[Phrase, ...]
    relation: int = -1
    background: int = -1
    style: int = -1

    def flipped(self) -> Statement:
        """The same claim with the first two objects named in the other order (left of <-> right of)."""
        if len(self.phrases) < 2:
            return self
        a, b, *rest = self.phrases
        return replace(self, phrases=(b, a, *rest), relation=self.relation if self.relation < 0 else self.relation ^ 1)


@dataclass(frozen=True)
class Lexicon:
    """The words of a world. sizes and counts: how many the world uses (1: never said)."""

    sizes: int = 1
    counts: int = 1

    @property
    def size_words(self) -> tuple[str, ...]:
        return tuple(V.SIZES[self.sizes])

    def phrase(self, p: Phrase) -> list[str]:
        """A noun phrase as words."""
        head = V.COUNTS[p.count] if p.count >= 0 and self.counts > 1 else "some" if self.counts > 1 else "a"
        words = [head]
        if p.size >= 0 and self.sizes > 1:
            words.append(self.size_words[p.size])
        if p.texture >= 0:
            words.append(V.TEXTURES[p.texture])
        if p.colour >= 0:
            words.append(tuple(V.COLOURS)[p.colour])
        noun = V.SHAPES[p.shape] if p.shape >= 0 else "thing"
        words.append(plural(noun) if head in V.COUNTS[1:] else noun)
        if p.position >= 0:
            words += ["at", V.ROWS[p.position // 3], V.COLUMNS[p.position % 3]]
        return words

    def say(self, s: Statement, *, template: str = "", long: bool = False) -> str:
        """Statement -> caption."""
        return self._long(s) if long else self._short(s, template)

    def _short(self, s: Statement, template: str) -> str:
        words = template.split()
        for k, p in enumerate(s.phrases):
            if k == 1 and s.relation >= 0:
                words += _RELATION_WORDS[s.relation]
            elif k:
                words.append("and")
            words += self.phrase(p)
        if s.background >= 0:
            words += ["on", V.BACKGROUNDS[s.background]]
        if s.style >= 0:
            words += ["in", V.STYLES[s.style], "style"]
        return " ".join(words)

    def _long(self, s: Statement) -> str:
        parts = [" ".join(["there", "are" if self.counts > 1 and p.count > 0 else "is", *self.phrase(p)]) for p in s.phrases]
        if s.relation >= 0:
            parts.append(" ".join(["the first is", *_RELATION_WORDS[s.relation], "the second"]))
        if s.background >= 0:
            parts.append(f"the background is {V.BACKGROUNDS[s.background]}")
        if s.style >= 0:
            parts.append(f"the style is {V.STYLES[s.style]}")
        return " . ".join(parts)

    def parse(self, caption: str) -> Statement:
        """Caption -> statement (the inverse of `say`). Raises ValueError at the first word that the grammar does not know."""
        words = caption.split()
        for template in sorted(TEMPLATES, key=len, reverse=True):
            t = template.split()
            if t and words[: len(t)] == t:
                words = words[len(t) :]
                break
        phrases: list[Phrase] = []
        rel = background = style = -1
        i = 0
        while i < len(words):
            word, rest = words[i], words[i + 1 :]
            if word in _HEADS:
                phrase, used = self._parse_phrase(words[i:])
                phrases.append(phrase)
                i += used
            elif word in ("left", "right", "above", "below"):
                rel = V.RELATIONS.index(word)
                i += 1
            elif word == "on":
                background, i = V.BACKGROUNDS.index(rest[0]), i + 2
            elif word == "in":
                style, i = V.STYLES.index(rest[0]), i + 3
            elif words[i : i + 3] == ["the", "background", "is"]:
                background, i = V.BACKGROUNDS.index(words[i + 3]), i + 4
            elif words[i : i + 3] == ["the", "style", "is"]:
                style, i = V.STYLES.index(words[i + 3]), i + 4
            elif word in _GLUE:
                i += 1
            else:
                raise ValueError(f"the grammar does not know {word!r} in {caption!r}")
        return Statement(tuple(phrases), rel, background, style)

    def _parse_phrase(self, words: list[str]) -> tuple[Phrase, int]:
        said: dict[str, int] = {}
        if words[0] in V.COUNTS:
            said["count"] = V.COUNTS.index(words[0])
        i = 1
        while i < len(words):
            word = words[i]
            i += 1
            if word in self.size_words:
                said["size"] = self.size_words.index(word)
            elif word in V.TEXTURES:
                said["texture"] = V.TEXTURES.index(word)
            elif word in V.COLOURS:
                said["colour"] = list(V.COLOURS).index(word)
            elif word in _NOUNS:
                if _NOUNS[word] >= 0:
                    said["shape"] = _NOUNS[word]
                break
            else:
                raise ValueError(f"{word!r} does not belong into a noun phrase")
        if words[i : i + 1] == ["at"]:
            said["position"] = 3 * V.ROWS.index(words[i + 1]) + V.COLUMNS.index(words[i + 2])
            i += 3
        return Phrase(**said), i


def plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("s", "sh", "ch", "x")) else "s")


_RELATION_WORDS = (["left", "of"], ["right", "of"], ["above"], ["below"])
_HEADS = frozenset(("a", "some", *V.COUNTS))
_GLUE = frozenset(["and", "of", ".", "there", "is", "are", "the", "first", "second"])
_NOUNS = {f(n): k for k, n in [*enumerate(V.SHAPES), (-1, "thing")] for f in (str, plural)}
_NAMES = (*V.TEXTURES, *V.COLOURS, *V.BACKGROUNDS, *V.STYLES, *V.ROWS, *V.COLUMNS, *(w for table in V.SIZES.values() for w in table))
_PHRASES = (*TEMPLATES, *V.EVENTS, "above below at on in style background then")
ALL_WORDS = tuple(sorted({*_HEADS, *_GLUE, *_NOUNS, *_NAMES, *(w for p in _PHRASES for w in p.split())}))
"""Every word a caption can hold, sorted: a closed vocabulary for tokenizers and languages."""


def holds(s: Statement, facts: Facts, i: int) -> bool:
    """Whether a statement is true of scene i: some assignment of its phrases to different objects makes every claim true."""
    if s.background >= 0 and s.background != facts.background_N[i]:
        return False
    if s.style >= 0 and s.style != facts.style_N[i]:
        return False
    present = [o for o in range(facts.present_NO.shape[1]) if facts.present_NO[i, o]]
    table = {a: getattr(facts, f"{a}_NO") for a in ATTRIBUTES}
    fits = lambda p, o: all(getattr(p, a) in (-1, table[a][i, o]) for a in ATTRIBUTES)
    for chosen in permutations(present, len(s.phrases)):
        if all(fits(p, o) for p, o in zip(s.phrases, chosen)):
            c = facts.centre_NO2[i]
            if s.relation < 0 or int(relation(c[chosen[0]], c[chosen[1]])) == s.relation:
                return True
    return False
