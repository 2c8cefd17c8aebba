"""UniPT: a small network beside a frozen transformer reads its layers and corrects the last one, without gradients through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pairwright.core.card import Card
from pairwright.core.numerics import seed_of
from pairwright.models.dual import DualEncoder
from pairwright.tune.weights.mover import Mover

CARD = Card(
    name="UniPT (universal parallel tuning)",
    symbol="ParallelSide",
    paper="unipt",
    title="UniPT: Universal Parallel Tuning for Transfer Learning with Efficient Parameter and Memory",
    year=2024,
    arxiv="2308.14316",
    where="section 3.2, the parallel interaction and confidence aggregation modules",
    equation="t_l = D_l relu(h_l),  a = D relu(h_N),  m_l = l1(relu(a t_l^T)) t_l + t_l[cls],  g = softmax_l(G(a[cls] * mean(t_l))),  "
    "out = h_N + U relu(sum_l g_l m_l)",
    says="A light network on the detached activations of all layers transfers as well as tuning inside, at a fraction of the memory.",
    needs="pairs or labels; a tower of ours with the extension point `mix`",
    cost="memory for the backward pass is that of the side network alone; the side network runs with the model ever after",
    use_when="the model fits into memory but its gradients do not; cues that early layers hold and the last one has lost",
    not_when="speed at run time counts (LoRA folds away), or LoRA fits into memory",
    aliases=("parallel tuning", "side network", "ladder side tuning", "memory-efficient tuning"),
    neighbours=("tune/weights/lora",),
    deviations=(
        "the layers are the outputs of the blocks; the released code also reads the embeddings before the first. Effect unknown",
        "U starts at zero, so that attaching changes nothing; the released code starts it at random. Effect unknown",
        "the token that speaks for the sequence is the one that the tower pools at, also as a[cls]; towers that average use the mean",
        "the check's cue is a sign in one patch of an image; with the wording of captions, which the text tower forgets, the gain over "
        "a probe was 11 points in the mean, but close to chance. What is kept for the backward pass is below 60% of LoRA's on a "
        "three-block twin (a test); the 45% of large towers was not measured",
    ),
    checks=("mechanism:parallel_side",),
)


@dataclass(eq=False)
class ParallelSide(Mover):
    """Tune a network beside one or both towers: it takes the frozen activations of every block and adds to the last block's output.

    reduction: the side network is this many times narrower than the tower. No gradient enters the tower's blocks, so they keep nothing for
    the backward pass. There are no weights to fold into: fold leaves the side network in place, as ``towers.NAME.side``, and its state
    dict attached to the same model is how it is stored.
    """

    plain: ClassVar[bool] = False

    reduction: int = 2
    towers: Sequence[str] = ("image", "text")
    seed: int = 0

    def _start(self, model: DualEncoder) -> dict[str, nn.Parameter]:
        for name in self.towers:
            if name not in model.towers:
                raise ValueError(f"this model has no {name!r} tower; it has {', '.join(model.towers)}")
            tower = model.towers[name]
            if "mix" not in tower.points or hasattr(tower, "side"):
                why = "has a side network already" if hasattr(tower, "side") else "does not let its layers be read (no point `mix`)"
                raise ValueError(f"the {name} tower {why}: leave it out with towers=, or use LoRA")
            if tower.encoder_width < self.reduction or self.reduction < 1:
                raise ValueError(f"reduction must lie between 1 and the width {tower.encoder_width} of the {name} tower")
        self._handles = []
        for name in self.towers:
            tower = model.towers[name]
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_of("side", self.seed, name))
                side = SideNetwork(tower.depth, tower.encoder_width, tower.encoder_width // self.reduction)
            tower.add_module("side", side.to(model.device))
            self._handles.append(tower.register_forward_pre_hook(_beside, with_kwargs=True))
        return {n: p for n, p in model.named_parameters() if ".side." in n}

    def _finish(self, model: DualEncoder, keep: bool) -> None:
        if not keep:
            for handle, name in zip(self._handles, self.towers):
                handle.remove()
                del model.towers[name].side
        del self._handles


class SideNetwork(nn.Module):
    """The parallel interaction of every layer with the last one, and their aggregation by confidence."""

    def __init__(self, layers: int, width: int, narrow: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Linear(width, narrow) for _ in range(layers))
        self.last = nn.Linear(width, narrow)
        self.gate = nn.Linear(narrow, 1, bias=False)  # a bias would be the same for all layers and leave their softmax as it is
        self.up = nn.Linear(narrow, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, h_NBLE: Sequence[Tensor], real_BL: Tensor, at_B: Tensor | None) -> Tensor:
        """Layer outputs, which tokens are real, and the token that speaks for each row (None: their mean) -> the corrected last layer."""
        weight_BL1 = real_BL.unsqueeze(-1).to(h_NBLE[-1].dtype)
        mean = lambda x: (x * weight_BL1).sum(1) / weight_BL1.sum(1).clamp_min(1)
        speaks = mean if at_B is None else lambda x: x[torch.arange(len(x), device=x.device), at_B]
        a_BLK = self.last(h_NBLE[-1].relu())
        met, trust = [], []
        for down, h_BLE in zip(self.down, h_NBLE):
            t_BLK = down(h_BLE.relu())
            near_BLL = (a_BLK @ t_BLK.transpose(1, 2)).relu() * real_BL.unsqueeze(1)
            near_BLL = near_BLL / near_BLL.sum(-1, keepdim=True).clamp_min(1e-6)
            met.append(near_BLL @ t_BLK + speaks(t_BLK).unsqueeze(1))
            trust.append(self.gate(speaks(a_BLK) * mean(t_BLK)))
        g_BN = torch.cat(trust, 1).softmax(1)
        mixed_BLK = torch.einsum("bn,bnlk->blk", g_BN, torch.stack(met, 1))
        return h_NBLE[-1] + self.up(mixed_BLK.relu())


def _beside(tower: Any, args: tuple[Any, ...], ask: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Forward hook: read every block's output through the tower's point `mix`, and let the side network rewrite the last one."""
    if ask.get("mix") is not None or ask.get("reduce") is not None:
        raise ValueError("a tower with a side network cannot mix or reduce tokens as well: detach the side network first")
    eot_B = tower.eot(args[0]) if hasattr(tower, "eot") else None
    seen: list[Tensor] = []

    def mix(x_BLE: Tensor, layer: int) -> Tensor:
        seen.append(x_BLE.detach())
        if layer < tower.depth - 1:
            return x_BLE
        B, L, _ = x_BLE.shape
        places_L = torch.arange(L, device=x_BLE.device)
        if eot_B is not None:
            real_BL = places_L <= eot_B[:, None]
            at_B = {"mean": None, "first": torch.zeros_like(eot_B)}.get(tower.pool, eot_B)
        else:
            real_BL = torch.ones(B, L, dtype=torch.bool, device=x_BLE.device)
            at_B = torch.zeros_like(real_BL[:, 0], dtype=torch.int64) if tower.pool == "tok" else None
        return tower.side(seen, real_BL, at_B)

    return args, {**ask, "mix": mix}
