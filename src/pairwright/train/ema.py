"""Exponential moving average of the weights, as a Modifier of the training loop."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


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
        self.shadow = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def after_step(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for k, v in model.state_dict().items():
            if v.is_floating_point():
                self.shadow[k].lerp_(v.detach(), 1 - decay)
            else:
                self.shadow[k].copy_(v)

    def fold(self, model: nn.Module) -> None:
        """Put the average into the model."""
        model.load_state_dict(self.shadow)

    def state_dict(self) -> Mapping[str, Tensor]:
        return self.shadow

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        for k in self.shadow:
            self.shadow[k].copy_(state[k])
