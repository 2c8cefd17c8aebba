"""HyperAdapter: one small network writes the adapters of every layer for every task, so that related tasks share what they learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pairwright.core.card import Card
from pairwright.core.numerics import seed_of
from pairwright.models.dual import DualEncoder
from pairwright.models.towers.stack import Transformer
from pairwright.tune.weights.mover import Mover

CARD = Card(
    name="hypernetwork adapters (HyperFormer)",
    symbol="HyperAdapter",
    paper="extra:hyperformer",
    title="Parameter-efficient Multi-task Fine-tuning for Transformers via Shared Hypernetworks",
    year=2021,
    arxiv="2106.04489",
    where="sections 2.2 and 2.3; the second part of FM3, arXiv 2303.12489",
    equation="I = LN(P2 relu(P1 [e_task; e_layer])),  W_down = reshape(G_down I) (r, E),  W_up = reshape(G_up I) (E, r),  "
    "x <- x + W_up relu(W_down x) after each block;  only e, P and G move",
    says="Adapters written by one generator from a task and a layer embedding let tasks with few labels profit from each other, where "
    "separate adapters cannot and one adapter for all gets in the way of itself.",
    needs="a few labels for each of several tasks; a tower of ours with blocks; gradients through the towers",
    cost="a training step costs about that of full fine-tuning; one more task costs one embedding; a small product a block ever after",
    use_when="several related tasks with few labels each, on one model that has to serve all of them",
    not_when="a single task (LoRA folds away); unrelated tasks",
    aliases=("hypernetwork", "multi-task adapter", "task adapter", "HyperFormer", "bottleneck adapter"),
    also=("fm3",),
    neighbours=("tune/weights/lora", "tune/weights/parallel_side"),
    deviations=(
        "one adapter after each block; the released code has two in each, after the attention and after the feed-forward half, told apart "
        "by a third embedding. Effect unknown",
        "matrices only and relu; the released code also writes biases and the gains of a norm, and has swish. Effect unknown",
        "G_up starts at zero, so that attaching changes nothing; the released code starts it with a deviation of 0.01. Effect unknown",
        "towers of different widths share everything but the last layer, G",
        "one adapter for all tasks, with a head each, was better still where tasks share all (by 5 to 12 points on two other seeds) and "
        "worse where they share nothing (by 3 to 5)",
    ),
    checks=("mechanism:hyper_adapter",),
)


@dataclass(eq=False)
class HyperAdapter(Mover):
    """Multi-task adapters: a generator shared by all tasks and layers makes a bottleneck after every block from task and layer embeddings.

    tasks: their names. `use(task)` says whose adapters the model has; in training, step s is of task s mod T (T tasks), so give batches
    of one task each in that order. reduction: the bottleneck is this many times narrower than the tower. embedding: width of task and
    layer embeddings, and of what they become. hidden: of the generator. There are no weights to fold into: fold leaves the generator in
    place, as ``hyper``, where `use` goes on to choose; its state attached to the same model is how it is stored. Which task is chosen is
    part of the model's fingerprint: features of two tasks do not mix.
    """

    plain: ClassVar[bool] = False

    tasks: Sequence[str] = ("task",)
    reduction: int = 16
    embedding: int = 64
    hidden: int = 128
    towers: Sequence[str] = ("image", "text")
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"name one or more tasks, each once; got {', '.join(self.tasks) or 'none'}")
        if min(self.reduction, self.embedding, self.hidden) < 1:
            raise ValueError(f"reduction, embedding and hidden are at least 1; got {self.reduction}, {self.embedding}, {self.hidden}")

    def use(self, task: str) -> None:
        """Give the model the adapters of this task."""
        if not hasattr(self, "_net"):
            raise ValueError("this HyperAdapter is not attached to a model: call attach(model) first")
        if task not in self.tasks:
            raise ValueError(f"there is no task {task!r}; the tasks are {', '.join(self.tasks)}")
        self._net.task.fill_(list(self.tasks).index(task))

    def after_step(self, model: DualEncoder, step: int) -> None:
        """The next step is of the next task."""
        self._net.task.fill_((int(self._net.task) + 1) % len(self.tasks))

    def _start(self, model: DualEncoder) -> dict[str, nn.Parameter]:
        if hasattr(model, "hyper"):
            raise ValueError("this model has a HyperAdapter already: detach that one first, or name all tasks in one")
        blocks = [(block, model.towers[name].encoder_width) for name in self.towers for block in _blocks(model, name)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of("hyper adapter", self.seed))
            narrow = {width: max(1, width // self.reduction) for _, width in blocks}
            net = Generator(len(self.tasks), len(blocks), narrow, self.embedding, self.hidden)
        self._net = net.to(model.device)
        model.add_module("hyper", self._net)
        self._handles = [block.register_forward_hook(_After(self._net, i, width)) for i, (block, width) in enumerate(blocks)]
        return {f"hyper.{name}": p for name, p in self._net.named_parameters()}

    def _finish(self, model: DualEncoder, keep: bool) -> None:
        if not keep:
            for handle in self._handles:
                handle.remove()
            del model.hyper, self._net
        del self._handles


class Generator(nn.Module):
    """Task and layer embeddings -> the two matrices of an adapter. `task` is the one that is chosen.

    narrow: width of a tower -> width of its bottleneck.
    """

    def __init__(self, tasks: int, layers: int, narrow: Mapping[int, int], embedding: int, hidden: int) -> None:
        super().__init__()
        self.task_TK = nn.Parameter(torch.randn(tasks, embedding))
        self.layer_LK = nn.Parameter(torch.randn(layers, embedding))
        self.mixed = nn.Sequential(
            nn.Linear(2 * embedding, hidden), nn.ReLU(), nn.Linear(hidden, embedding), nn.LayerNorm(embedding, elementwise_affine=False)
        )
        self.down = nn.ModuleDict({str(width): nn.Linear(embedding, r * width) for width, r in narrow.items()})
        self.up = nn.ModuleDict({str(width): nn.Linear(embedding, r * width) for width, r in narrow.items()})
        self.register_buffer("task", torch.tensor(0))
        for width, layer in self.down.items():
            nn.init.normal_(layer.weight, std=(embedding * int(width)) ** -0.5)
            nn.init.zeros_(layer.bias)
        for layer in self.up.values():
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, layer: int, width: int) -> tuple[Float[Tensor, "r E"], Float[Tensor, "E r"]]:
        """W_down and W_up of one layer for the chosen task."""
        code_K = self.mixed(torch.cat([self.task_TK[self.task], self.layer_LK[layer]]))
        return self.down[str(width)](code_K).view(-1, width), self.up[str(width)](code_K).view(width, -1)


@dataclass(eq=False)
class _After:
    """Forward hook of a block. An object and not a closure, so that a copy of the model calls its own copy of the generator."""

    net: Generator
    layer: int
    width: int

    def __call__(self, block: nn.Module, args: Any, x_BLE: Tensor) -> Tensor:
        down_RE, up_ER = (w.to(x_BLE.dtype) for w in self.net(self.layer, self.width))
        return x_BLE + (x_BLE @ down_RE.T).relu() @ up_ER.T


def _blocks(model: DualEncoder, name: str) -> Sequence[nn.Module]:
    if name not in model.towers:
        raise ValueError(f"this model has no {name!r} tower; it has {', '.join(model.towers)}")
    stack = getattr(model.towers[name], "transformer", None)
    if not isinstance(stack, Transformer):
        raise ValueError(f"the {name} tower is not a stack of transformer blocks of ours: leave it out with towers=, or use LoRA")
    return list(stack.resblocks)
