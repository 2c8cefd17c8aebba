"""What a run is made of: `Batch` (what a source hands over), `Stage` (what to minimise, on what, for how long)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from pairwright.core.contracts import Modifier
from pairwright.core.rows import Across
from pairwright.train.objective import Sum
from pairwright.train.optim import OptimConfig


@dataclass(frozen=True)
class Batch:
    """One rank's rows of a global batch. inputs: what towers eat, by view (``image``, ``text``). stored: rows made earlier, by view
    (``teacher.text``). group_B, sample_B, present: see core.encoded.Views."""

    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    stored: Mapping[str, Tensor] = field(default_factory=dict)
    group_B: Tensor | None = None
    sample_B: Tensor | None = None
    present: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter({**self.inputs, **self.stored}.values())))


class Source(Protocol):
    """Where batches come from. `batches(start)` yields the batches from global step `start` on, without end, and must be a pure function
    of the step: that is what makes a resumed run exact. batch_size is global. `spec()` says in JSON what the order depends on."""

    batch_size: int

    def batches(self, start: int) -> Iterator[Batch]: ...

    def spec(self) -> Mapping[str, Any]: ...


def everything(name: str) -> bool:
    """Train every parameter."""
    return True


@dataclass(frozen=True)
class Stage:
    """One part of a recipe.

    trainable: which parameters move, by name. micro: rows per tower pass (None: the whole batch; ``"auto"``: found by trying before the
    run starts); smaller values give the same gradient in less memory by gradient caching. checkpoint_activations: recompute the blocks of
    the towers in the backward pass. across: how negatives of other processes are met, see core.rows. validate: called every
    `validate_every` steps with the (averaged) model, returns numbers for the log; it may look at validation data only. modifiers: plugs
    that change the model for the time of the stage (LoRA, norms only); attached in this order, folded in the opposite one."""

    name: str
    objective: Sum
    source: Source
    steps: int
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainable: Callable[[str], bool] = everything
    ema: float = 0.0
    micro: int | Literal["auto"] | None = None
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None
    validate_every: int = 0
    modifiers: tuple[Modifier, ...] = ()
    checkpoint_activations: bool = False
    across: Across = "gather"
