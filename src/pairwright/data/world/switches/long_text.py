"""Captions in sentences."""

from __future__ import annotations

from dataclasses import dataclass

from pairwright.data.world.draws import Draw
from pairwright.data.world.switch import Plan, Switch


@dataclass(frozen=True)
class LongText(Switch):
    """With probability `strength` a caption comes in full sentences: ``there is a red circle . there is a blue square . the first is …``

    The facts are the same as in the short form. Truth: ``batch.plan.long_NK``.
    """

    def plan(self, plan: Plan, own: Draw) -> None:
        plan.long_NK |= own.uniform("hit", plan.long_NK.shape[1]) < self.strength
