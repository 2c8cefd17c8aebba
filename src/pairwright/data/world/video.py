"""Short videos with events, their times and their order: a scene of the world in which objects appear, vanish, move or collide."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from pairwright.data.world.batch import Batch
from pairwright.data.world.draws import Draw
from pairwright.data.world.engine import World
from pairwright.data.world.grammar import Phrase
from pairwright.data.world.scene import Facts
from pairwright.data.world.vocabulary import EVENTS

Array = np.ndarray
_APPEARS, _DISAPPEARS, _COLLIDES = 0, 1, len(EVENTS) - 1
_STEP = np.array([[0, 0], [0, 0], [-1, 0], [1, 0], [0, -1], [0, 1], [0, 0]]) * 0.3  # the way of each kind of event
_TOUCH = 0.75  # objects collide when their centres are this share of the sum of their radii apart


@dataclass(frozen=True)
class Film:
    """n videos of T frames with E events each, one event for each object, the first event over before the second begins.

    kind_NE: index into vocabulary.EVENTS. object_NE: who does it. start_NE, stop_NE: first frame of the event and the one after its last;
    an object that appears is seen from `start` on, one that disappears is gone from `stop` on, colliding objects touch at the middle frame.
    """

    batch: Batch
    frames: int
    kind_NE: Array
    object_NE: Array
    start_NE: Array
    stop_NE: Array

    @cached_property
    def frame_facts(self) -> Facts:
        """Facts of all frames, (n * T) rows."""
        T = self.frames
        base = self.batch.facts
        f = replace(base, **{x.name: np.repeat(getattr(base, x.name), T, 0) for x in fields(base)})
        t_NT = np.broadcast_to(np.arange(T), (len(base), T))
        centre, present = f.centre_NO2.reshape(len(base), T, -1, 2), f.present_NO.reshape(len(base), T, -1)
        every = np.arange(len(base))
        for e in range(self.kind_NE.shape[1]):
            kind, who = self.kind_NE[:, e], self.object_NE[:, e]
            start, stop = self.start_NE[:, e, None], self.stop_NE[:, e, None]
            present[every, :, who] &= ~((kind == _APPEARS)[:, None] & (t_NT < start)) & ~((kind == _DISAPPEARS)[:, None] & (t_NT >= stop))
            done = np.clip((t_NT - start + 1) / np.maximum(stop - start, 1), 0, 1)
            moved = centre[every, :, who] + (done - 0.5)[..., None] * _STEP[kind][:, None]
            room = base.radius_NO[every, who][:, None, None]
            moving = (_STEP[kind] != 0).any(1)[:, None, None]
            centre[every, :, who] = np.where(moving, np.clip(moved, room, 1 - room), centre[every, :, who])
            hit = np.flatnonzero(kind == _COLLIDES)
            if len(hit):
                gap = centre[hit, :, 1] - centre[hit, :, 0]
                length = np.linalg.norm(gap, axis=-1)
                way = np.maximum(length - _TOUCH * base.radius_NO[hit, :2].sum(1)[:, None], 0) / length / 2
                middle = (start[hit] + stop[hit]) // 2
                near = np.where(t_NT[hit] <= middle, (t_NT[hit] - start[hit] + 1) / (middle - start[hit] + 1),
                                1 - 0.7 * (t_NT[hit] - middle) / np.maximum(stop[hit] - 1 - middle, 1))  # fmt: skip
                step = way * np.clip(near, 0, 1) * (t_NT[hit] >= start[hit])
                step = np.where(t_NT[hit] >= stop[hit], 0.3 * way, step)[..., None] * gap
                centre[hit, :, 0] += step
                centre[hit, :, 1] -= step
        return f

    @cached_property
    def images(self) -> UInt8[Tensor, "n T 3 S S"]:
        """The frames, uint8 RGB, with the world's image switches."""
        flat = Batch(self.batch.world, np.repeat(self.batch.ids_N, self.frames))
        flat.facts = self.frame_facts
        return flat.images.reshape(len(self.batch), self.frames, *flat.images.shape[1:])

    def captions(self, order: str = "true") -> list[str]:
        """``a red circle appears then a blue square moves left``. order ``"swapped"``: told in the wrong order (hard captions)."""
        if order not in ("true", "swapped"):
            raise ValueError(f"order is 'true' or 'swapped', got {order!r}")
        events = range(self.kind_NE.shape[1])
        return [" then ".join(self._say(i, e) for e in (events if order == "true" else reversed(events))) for i in range(len(self.batch))]

    def _say(self, i: int, e: int) -> str:
        f, say = self.batch.facts, self.batch.world.lexicon.phrase
        name = lambda o: " ".join(say(Phrase(colour=int(f.colour_NO[i, o]), shape=int(f.shape_NO[i, o]))))
        kind, who = int(self.kind_NE[i, e]), int(self.object_NE[i, e])
        return f"{name(who)} {EVENTS[kind]}" + (f" {name(1 - who)}" if kind == _COLLIDES else "")


def film(world: World, n: int, start: int = 0, *, frames: int = 8, events: int = 2) -> Film:
    """Videos of the scenes start … start + n - 1 of a world with two objects. events: 0 (a still), 1, or 2 (of different objects)."""
    if world.objects != (2, 2):
        raise ValueError("videos are made of scenes with two objects: World(..., objects=2)")
    if not (0 <= events <= 2 and frames >= 4 * max(events, 1)):
        raise ValueError(f"a video has 0 to 2 events and at least 4 frames for each, got {events} events in {frames} frames")
    batch = world.sample(n, start)
    draw = Draw(world.seed, batch.facts.source_N, "video")
    kind_NE = draw.integers("kind", len(EVENTS), 2)[:, :events]
    if events == 2:  # colliding needs both objects there
        other = kind_NE[:, ::-1]
        kind_NE = np.where((kind_NE == _COLLIDES) & (other <= _DISAPPEARS), 2 + draw.integers("instead", 4, 2), kind_NE)
    object_NE = (draw.integers("object", 2, 1) + np.arange(events)) % 2
    span = frames // max(events, 1)
    start_NE = span * np.arange(events) + 1 + draw.integers("start", max(span // 4, 1), 2)[:, :events]
    stop_NE = start_NE + span // 2
    return Film(batch, frames, kind_NE, object_NE, start_NE, stop_NE)
