"""Exponential moving average of the weights, as a Modifier of the training loop."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pairwright.train.shard import fill, local


class EMA:
    """Shadow weights: shadow = decay * shadow + (1 - decay) * weights, with the decay ramped up over the first steps.

    Integer buffers are copied; floating buffers (batch-norm statistics) are averaged like weights.
    """

    name = "ema"

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"the decay of an average lies in [0, 1), got {decay}")
        self.decay = decay
        self.shadow: dict[str, Tensor] = {}

    def attach(self, model: nn.Module) -> None:
        # the tensors themselves: steps and loads change them in place, and walking the modules in every step costs more than the average
        self._live = model.state_dict()
        self.shadow = {k: v.detach().clone() for k, v in self._live.items()}
        floating = [k for k, v in self._live.items() if v.is_floating_point()]
        self._others = sorted(set(self._live) - set(floating))
        self._pairs = [local(self.shadow[k]) for k in floating], [local(self._live[k].detach()) for k in floating]

    @torch.no_grad()
    def after_step(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(*self._pairs, 1 - decay)
        for k in self._others:
            self.shadow[k].copy_(self._live[k])

    def fold(self, model: nn.Module) -> None:
        """Put the average into the model."""
        model.load_state_dict(self.shadow)

    def state_dict(self) -> Mapping[str, Tensor]:
        return self.shadow

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        for k, v in self.shadow.items():
            fill(v, state[k])
