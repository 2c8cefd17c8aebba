"""Captions that say one thing only."""

from __future__ import annotations

from dataclasses import dataclass

from pairwright.data.world.draws import Draw
from pairwright.data.world.switch import Plan, Switch


@dataclass(frozen=True)
class Grain(Switch):
    """With probability `strength` a caption names one attribute of one object (``a red thing``, ``a circle``) instead of all facts.

    Truth: ``batch.plan.one_fact_NK``. Rates of single facts are the world's `mention`.
    """

    def plan(self, plan: Plan, own: Draw) -> None:
        plan.one_fact_NK |= own.uniform("hit", plan.one_fact_NK.shape[1]) < self.strength
