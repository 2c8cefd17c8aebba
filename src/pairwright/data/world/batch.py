"""A range of samples of a world: images, captions and truth, each made when it is first asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor

from pairwright.data.world.caption import hard_statement, statements
from pairwright.data.world.draws import Draw
from pairwright.data.world.grammar import TEMPLATES, Statement
from pairwright.data.world.render import Rendered, render
from pairwright.data.world.scene import Facts
from pairwright.data.world.switch import Plan

if TYPE_CHECKING:
    from pairwright.data.world.engine import World

Array = np.ndarray


class Batch:
    """n samples. O: most objects of a scene, S: image side, K: captions a scene. Made by `World.sample`."""

    def __init__(self, world: World, ids_N: Array) -> None:
        if len(ids_N) and ids_N.min() < 0:
            raise ValueError("sample ids cannot be negative")
        self.world, self.ids_N = world, ids_N
        self._own = Draw(world.seed, ids_N)

    def __len__(self) -> int:
        return len(self.ids_N)

    @cached_property
    def facts(self) -> Facts:
        """What is in each picture: arrays of indices into the vocabulary."""
        return self.world.draw_facts(self.ids_N)

    @cached_property
    def _rendered(self) -> Rendered:
        w = self.world
        return render(self.facts, w.size, shapes=w.shapes, textures=w.textures)

    @cached_property
    def images(self) -> UInt8[Tensor, "n 3 S S"]:
        """The pictures, uint8 RGB."""
        pixels = self._rendered.pixels_NSS3
        draw = Draw(self.world.seed, self.facts.source_N)
        for name, s in self.world.switches.items():
            pixels = s.image(pixels, self.facts, draw.under(name))
        out = np.empty((len(self), 3, self.world.size, self.world.size), np.uint8)
        for at in range(0, len(self), 64):  # in pieces that stay in cache
            out[at : at + 64] = (pixels[at : at + 64] * 255 + 0.5).clip(0, 255).astype(np.uint8).transpose(0, 3, 1, 2)
        return torch.from_numpy(out)

    @cached_property
    def masks(self) -> Bool[Tensor, "n O S S"]:
        """Where each object is seen (its visible pixels, at least half covered)."""
        owner = torch.from_numpy(self._rendered.owner_NSS)
        return owner[:, None] == torch.arange(self.facts.shape_NO.shape[1], dtype=torch.int8)[:, None, None]

    @property
    def boxes(self) -> Float32[Tensor, "n O 4"]:
        """Tight boxes around the visible pixels: x1, y1, x2, y2, the far edges exclusive. All -1 where nothing is seen."""
        masks = self.masks
        S = masks.shape[-1]
        at = torch.arange(S)
        x, y = masks.any(2), masks.any(3)
        low = lambda m: torch.where(m, at, S).amin(-1)
        high = lambda m: torch.where(m, at + 1, 0).amax(-1)
        box = torch.stack([low(x), low(y), high(x), high(y)], -1).float()
        return torch.where(masks.any(3).any(2)[..., None], box, -1.0)

    @property
    def depth(self) -> Float32[Tensor, "n S S"]:
        """Distance of what is seen: 1 for the ground, in (0, 1) for objects, small is near."""
        owner = self._rendered.owner_NSS
        table = np.concatenate([self.facts.depth_NO, np.ones((len(self), 1))], 1).astype(np.float32)
        return torch.from_numpy(np.take_along_axis(table, owner.reshape(len(self), -1).astype(np.int64), 1).reshape(owner.shape))

    @property
    def occlusion_NO(self) -> Array:
        """Share of each object that others hide, 0 where there is no object."""
        seen = self.masks.sum((2, 3)).numpy()
        return np.where(self._rendered.area_NO > 0, 1 - seen / np.maximum(self._rendered.area_NO, 1), 0.0)

    @property
    def salience_NO(self) -> Array:
        """Share of each object in the scene's visible area x opacity; rows sum to 1."""
        weight = self.masks.sum((2, 3)).numpy() * self.facts.opacity_NO
        return weight / np.maximum(weight.sum(1, keepdims=True), 1e-12)

    @property
    def groups(self) -> Int64[Tensor, " n"]:
        """Equal where two scenes have the same describable facts: their captions fit both (false negatives of each other)."""
        return torch.from_numpy(self.facts.group_N)

    @cached_property
    def partner_N(self) -> Array:
        """Id of the sample whose scene each caption describes: the own id unless the pair was shuffled."""
        ids = self.ids_N
        for name, s in self.world.switches.items():
            ids = s.partner(ids, self._own.under(name))
        return ids

    @cached_property
    def text_facts(self) -> Facts:
        """What the captions talk about: `facts` unless pairs were shuffled."""
        return self.facts if np.array_equal(self.partner_N, self.ids_N) else self.world.draw_facts(self.partner_N)

    @cached_property
    def plan(self) -> Plan:
        shape = (len(self), self.world.captions)
        plan = Plan(np.zeros(shape, bool), np.zeros(shape, bool))
        for name, s in self.world.switches.items():
            s.plan(plan, self._own.under(name))
        return plan

    def statements(self, k: int = 0) -> list[Statement]:
        """The claims of the k-th caption of every sample."""
        w = self.world
        return statements(self.text_facts, self._own, k, w.mention, w.used, self.plan.one_fact_NK[:, k])

    @cached_property
    def captions(self) -> tuple[tuple[str, ...], ...]:
        """K captions for every sample."""
        rows: list[list[str]] = [[] for _ in range(len(self))]
        for k in range(self.world.captions):
            for i, s in enumerate(self.statements(k)):
                rows[i].append(self._say(s, i, k))
        for name, s in self.world.switches.items():
            rows = s.text(rows, self._own.under(name))
        return tuple(map(tuple, rows))

    @property
    def caption(self) -> list[str]:
        """The first caption of every sample."""
        return [c[0] for c in self.captions]

    @cached_property
    def _template_NK(self) -> Array:
        return self._own.integers("template", self.world.templates, self.world.captions)

    def _say(self, s: Statement, i: int, k: int) -> str:
        return self.world.lexicon.say(s, template=TEMPLATES[self._template_NK[i, k]], long=bool(self.plan.long_NK[i, k]))

    def hard(self, kind: str = "swap") -> list[str]:
        """For every sample a caption in nearly the same words that is false of its picture: swap, relation, replace or add.

        Made from a full true description of the picture (so also where the pair was shuffled or the caption short), in English.
        """
        w = self.world
        whole = statements(self.facts, self._own, 0, w.mention, w.used, np.zeros(len(self), bool))
        u = self._own.uniform(f"hard {kind}", 4)
        return [self._say(hard_statement(s, self.facts, i, kind, u[i], w.used), i, 0) for i, s in enumerate(whole)]

    @cached_property
    def marks(self) -> dict[str, Array]:
        """Truth about faults, by name, from the switches that plant them (``clean_N``, ``copy_N``, ``language_NK`` …)."""
        out: dict[str, Array] = {}
        for name, s in self.world.switches.items():
            out |= s.marks(self.ids_N, self._own.under(name), self.world.captions)
        return out
