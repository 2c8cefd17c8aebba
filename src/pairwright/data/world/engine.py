"""The generated world: scenes, pixels, captions and truth, each a pure function of (seed, sample id)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pairwright.data.world import switch as switching
from pairwright.data.world import vocabulary as V
from pairwright.data.world.batch import Batch
from pairwright.data.world.caption import mention_rates
from pairwright.data.world.draws import Draw
from pairwright.data.world.grammar import TEMPLATES, Lexicon, Phrase, Statement
from pairwright.data.world.scene import Facts, Vocabulary, draw_facts
from pairwright.data.world.switch import Switch

Array = np.ndarray


class World:
    """Synthetic image-caption pairs with known truth: coloured shapes in relations, with planted faults and shifts.

    seed: everything follows from it. size: image side, 16 to 256. objects: how many, or a range (least, most) up to 9.
    shapes, colours (up to 24), textures (6), sizes (3), counts (4): vocabulary sizes; 1 means that the fact does not vary and is not said.
    With few words plain contrastive training learns which colour belongs to which shape; with about 20 x 20 it does not.
    captions: how many for each scene. templates: how many wordings before the caption. mention: rates by fact (caption.MENTION).
    switches: a strength in 0 … 1, or a configured switch, by name: ``World(0, background=1, spurious=Spurious(0.9, attribute="colour"))``;
    `World.switches_available()` lists them. Strength 0 is exact absence, and no switch changes the draws of another.

    >>> batch = World(0, size=32).sample(2)
    >>> batch.images.shape, len(batch.captions)
    (torch.Size([2, 3, 32, 32]), 2)
    """

    def __init__(
        self,
        seed: int,
        size: int = 64,
        objects: int | tuple[int, int] = 2,
        *,
        shapes: int = 8,
        colours: int = 8,
        textures: int = 1,
        sizes: int = 1,
        counts: int = 1,
        captions: int = 1,
        templates: int = 1,
        mention: Mapping[str, float] | None = None,
        **switches: float | Switch,
    ) -> None:
        least, most = (objects, objects) if isinstance(objects, int) else objects
        for what, value, low, high in (
            ("size", size, 16, 256),
            ("objects", least, 1, most),
            ("objects", most, 1, 9),
            ("captions", captions, 1, 99),
        ):
            if not low <= value <= high:
                raise ValueError(f"{what} must lie between {low} and {high}, got {value}")
        for what, value, names in (
            ("shapes", shapes, V.SHAPES),
            ("colours", colours, V.COLOURS),
            ("textures", textures, V.TEXTURES),
            ("sizes", sizes, V.SIZES),
            ("counts", counts, V.COUNTS),
            ("templates", templates, TEMPLATES),
        ):
            V.first(tuple(map(str, names)), value, what)
        if min(shapes, colours) < most:
            raise ValueError(f"objects of a scene differ in shape and colour: {most} objects need at least {most} shapes and colours")
        self.seed, self.size, self.objects = seed, size, (least, most)
        self.shapes, self.colours, self.textures, self.sizes, self.counts = shapes, colours, textures, sizes, counts
        self.captions, self.templates, self.mention = captions, templates, mention_rates(mention)
        made = {name: switching.make(name, value) for name, value in switches.items()}
        self.switches = {n: s for n, s in sorted(made.items(), key=lambda item: (item[1].rank, item[0])) if s.strength > 0}
        self.lexicon = Lexicon(sizes, counts)
        for s in self.switches.values():
            s.check(self)

    @staticmethod
    def switches_available() -> list[str]:
        """Names of all switches."""
        return switching.available()

    @property
    def spec(self) -> dict[str, Any]:
        """All settings as JSON: two worlds with equal specs draw equal samples."""
        fixed = {
            k: getattr(self, k)
            for k in ("seed", "size", "objects", "shapes", "colours", "textures", "sizes", "counts", "captions", "templates")
        }
        return {**fixed, "mention": self.mention, **{name: asdict(s) for name, s in self.switches.items()}}

    def but(self, **changes: Any) -> World:
        """The same world with some settings or switches changed: ``world.but(spurious=0)`` is the control."""
        kept = {k: v for k, v in self.spec.items() if k not in self.switches}
        return World(**{**kept, **self.switches, **changes})

    def sample(self, n: int, start: int = 0) -> Batch:
        """Samples start … start + n - 1. Nothing is drawn before it is asked for: images, captions and truth are made on first use."""
        if n < 0 or start < 0:
            raise ValueError(f"n and start cannot be negative, got {n} and {start}")
        return Batch(self, np.arange(start, start + n, dtype=np.int64))

    def at(self, ids: Sequence[int] | Array) -> Batch:
        """The samples with these ids, in this order."""
        return Batch(self, np.asarray(ids, dtype=np.int64))

    def class_captions(self, attribute: str = "shape") -> list[str]:
        """One caption for each value of an attribute, for zero-shot classification: ``a circle``, ``a square`` …"""
        used = self.used
        if attribute not in used or attribute == "position":
            raise ValueError(f"classes can be made of shape, colour, texture, size, count or background, not {attribute!r}")
        if attribute == "background":
            return [f"a thing on {name}" for name in V.BACKGROUNDS]
        return [self.lexicon.say(Statement((Phrase(**{attribute: k}),))) for k in range(used[attribute])]

    @property
    def used(self) -> dict[str, int]:
        """Vocabulary size of each attribute."""
        return {"shape": self.shapes, "colour": self.colours, "texture": self.textures, "size": self.sizes, "count": self.counts,
                "position": 9, "background": len(V.BACKGROUNDS)}  # fmt: skip

    def draw_facts(self, ids_N: Array) -> Facts:
        """The facts of some samples, after all switches."""
        own = Draw(self.seed, ids_N)
        source_N = ids_N
        for name, s in self.switches.items():
            source_N = s.sources(source_N, own.under(name))
        v = Vocabulary(
            self.shapes, self.colours, self.textures, self.sizes, self.counts, self.objects, np.ones(self.shapes), np.ones(self.colours)
        )
        for s in self.switches.values():
            v = s.priors(v, self.seed)
        draw = Draw(self.seed, source_N)
        facts = draw_facts(draw, source_N, v)
        for name, s in self.switches.items():
            s.scene(facts, draw.under(name), own.under(name), self)
        facts.ids_N = ids_N
        return facts
