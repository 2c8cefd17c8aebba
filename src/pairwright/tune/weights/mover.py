"""What all tuners share: freeze the model, let a few parameters move, count them, and at the end keep what they learned or take it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from pairwright.models.dual import DualEncoder
from pairwright.tune.weights.places import Place


class Mover:
    """A Modifier that leaves a few moving parameters. A method says in `_start` which ones, and in `_finish` how they end.

    attach freezes everything else (batch-norm statistics too) and changes no output; fold ends with a plain model that computes the same;
    detach with the bits that were there before. moving_: parameter names as the attached model calls them -> the parameters that move.
    """

    plain: ClassVar[bool] = True
    """Whether fold leaves a model with the names that it had."""
    moving_: dict[str, nn.Parameter]

    def attach(self, model: DualEncoder) -> None:
        if self.attached:
            raise ValueError(f"this {type(self).__name__} is attached already: fold or detach it first")
        self._flags = [(p, p.requires_grad) for p in model.parameters()]
        model.requires_grad_(False)
        try:
            self.moving_ = self._start(model)
        except ValueError:
            self._restore()
            raise
        for p in self.moving_.values():
            p.requires_grad_(True)
        self._hooks = [m.register_forward_pre_hook(still) for m in model.modules() if isinstance(m, _BatchNorm)]

    def after_step(self, model: DualEncoder, step: int) -> None:
        """Nothing to do between steps."""

    def fold(self, model: DualEncoder) -> None:
        """Make the model a plain one that computes what it computes now."""
        self._end(model, keep=True)

    def detach(self, model: DualEncoder) -> None:
        """Give the model back bit for bit as it was attached to."""
        self._end(model, keep=False)

    @property
    def attached(self) -> bool:
        return hasattr(self, "moving_")

    @property
    def count(self) -> int:
        """How many numbers move."""
        return sum(p.numel() for p in self._moving().values())

    def state_dict(self) -> Mapping[str, Tensor]:
        return {name: p.detach() for name, p in self._moving().items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if wrong := set(state) ^ set(self._moving()):
            raise ValueError(f"this state is of another {type(self).__name__} or model: {sorted(wrong)[0]} is only on one side")
        for name, p in self._moving().items():
            p.copy_(state[name])

    def _start(self, model: DualEncoder) -> dict[str, nn.Parameter]:
        raise NotImplementedError

    def _finish(self, model: DualEncoder, keep: bool) -> None:
        raise NotImplementedError

    def _moving(self) -> dict[str, nn.Parameter]:
        if not self.attached:
            raise ValueError(f"this {type(self).__name__} is not attached to a model: call attach(model) first")
        return self.moving_

    def _end(self, model: DualEncoder, keep: bool) -> None:
        self._moving()
        self._finish(model, keep)
        for hook in self._hooks:
            hook.remove()
        self._restore()
        del self.moving_

    def _restore(self) -> None:
        for p, asked in self._flags:
            p.requires_grad_(asked)
            p.grad = None
        del self._flags


def still(module: nn.Module, _: object) -> None:
    """Forward hook that keeps a module in evaluation mode, whatever mode the model is put in."""
    module.eval()


class Selection(Mover):
    """A Mover whose parameters are some of the model's own: `_chosen` says which."""

    def _chosen(self, model: DualEncoder) -> Mapping[str, nn.Parameter]:
        raise NotImplementedError

    def _start(self, model: DualEncoder) -> dict[str, nn.Parameter]:
        chosen = dict(self._chosen(model))
        self._before = {name: p.detach().clone() for name, p in chosen.items()}
        return chosen

    @torch.no_grad()
    def _finish(self, model: DualEncoder, keep: bool) -> None:
        if not keep:
            for name, p in self.moving_.items():
                p.copy_(self._before[name])
        del self._before


class Addition(Mover):
    """A Mover that adds a learned update to weight matrices: `_where` finds them, `_update` makes the module weight -> changed weight."""

    def _where(self, model: DualEncoder) -> Sequence[Place]:
        raise NotImplementedError

    def _update(self, place: Place) -> nn.Module:
        raise NotImplementedError

    def _start(self, model: DualEncoder) -> dict[str, nn.Parameter]:
        self._places = list(self._where(model))
        self._order = {place.module: list(place.module._parameters) for place in self._places}
        made: set[Any] = set()
        for place in self._places:
            update = self._update(place)
            made.update(update.parameters())
            parametrize.register_parametrization(place.module, place.name, update, unsafe=True)
        return {name: p for name, p in model.named_parameters() if p in made}

    def _finish(self, model: DualEncoder, keep: bool) -> None:
        for place in self._places:
            place.module.parametrizations[place.name].eval()  # no dropout in the weights that stay
            parametrize.remove_parametrizations(place.module, place.name, leave_parametrized=keep)
            own = place.module._parameters
            for name in self._order[place.module]:  # names in the order they had
                own[name] = own.pop(name)
        del self._places, self._order


def add_rows(weight: Tensor, update_SHI: Tensor, starts: Sequence[int]) -> Tensor:
    """The weight, a matrix or a kernel, with the S blocks of an update (S, H, I) added at the rows from `starts` on."""
    S, H, _ = update_SHI.shape
    update_R = update_SHI.reshape(S * H, *weight.shape[1:]).to(weight.dtype)
    if weight.shape[0] == S * H:
        return weight + update_R
    rows_R = torch.cat([torch.arange(s, s + H, device=weight.device) for s in starts])
    return weight.index_add(0, rows_R, update_R)
