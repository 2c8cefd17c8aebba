"""One training step, towers to optimizer, on the same pictures, tokens and architecture: ours against the usual step with open_clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from bench.harness import Case, Entry, timed
from bench.where import sentence
from pairwright.core.memory import keep_freed_memory
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.models.dual import DualEncoder
from pairwright.models.load.build import from_open_clip
from pairwright.models.towers.timm_image import TimmImage
from pairwright.train import optim, precision
from pairwright.train.objective import Sum
from pairwright.train.optim import OptimConfig
from pairwright.train.stage import Batch
from pairwright.train.step import Towers, gradients

LR, DECAY = 1e-3, 0.1
STEPS = 3


@dataclass(frozen=True)
class Setup:
    """An architecture as open_clip describes it, and a batch for it. network: a timm network in place of the image tower."""

    name: str
    title: str
    vision: dict[str, Any]
    text: dict[str, Any]
    dim: int
    batch: int
    note: str
    network: str = ""


SETUPS = (
    Setup(
        "sprout",
        "Training step, sprout's towers at 64 px",
        {"image_size": 64, "layers": 1, "width": 64, "head_width": 64, "patch_size": 32},
        {"context_length": 32, "vocab_size": 8192, "width": 256, "heads": 4, "layers": 2},
        256,
        128,
        "Text runs on the tokens that are there, convolutions in their fastest memory order, the optimizer in one pass over the weights. "
        "What is left is the image network, whose small convolutions and batch norms are bound by memory traffic.",
        network="fasternet_t0",
    ),
    Setup(
        "vit_ti_16",
        "Training step, ViT-Ti/16 at 224 px",
        {"image_size": 224, "layers": 12, "width": 192, "head_width": 64, "patch_size": 16},
        {"context_length": 77, "vocab_size": 49408, "width": 192, "heads": 3, "layers": 12},
        192,
        16,
        "Four fifths of the arithmetic are the image tower, where both do the same products at the same precision; the text tower, the "
        "loss and the optimizer are where time is saved.",
    ),
)


def batch(s: Setup) -> tuple[Tensor, Tensor]:
    """Pictures, and captions of 5 to 12 tokens."""
    g = torch.Generator().manual_seed(0)
    ids = torch.zeros(s.batch, s.text["context_length"], dtype=torch.long)
    for row, length in zip(ids, torch.randint(5, 13, (s.batch,), generator=g).tolist(), strict=True):
        row[:length] = torch.randint(1, s.text["vocab_size"] - 2, (length,), generator=g)
        row[length - 1] = s.text["vocab_size"] - 1
    return torch.randn(s.batch, 3, s.vision["image_size"], s.vision["image_size"], generator=g), ids


def config(s: Setup) -> dict[str, Any]:
    return {"embed_dim": s.dim, "vision_cfg": s.vision, "text_cfg": s.text}


class Visual(nn.Module):
    """One of our image towers as open_clip calls one: the embedding before normalisation."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, x: Tensor) -> Tensor:
        e = self.tower(x)
        return e.z_BD * e.norm_B[:, None]


def peer(s: Setup) -> Any:
    """open_clip's model, seeded."""
    torch.manual_seed(0)
    vision, text = open_clip.CLIPVisionCfg(**s.vision), open_clip.CLIPTextCfg(**s.text)
    model = open_clip.CLIP(s.dim, vision, text, output_dict=False)
    if s.network:
        model.visual = Visual(network(s))
    return model.train()


def network(s: Setup) -> nn.Module:
    torch.manual_seed(0)
    return TimmImage(s.network, s.dim, size=s.vision["image_size"])


def their_steps(s: Setup, image: Tensor, ids: Tensor, precise: str) -> Callable[[], float]:
    """The step of open_clip's training script: autocast, ClipLoss, AdamW with its two groups, the scale clamped."""
    model, loss = peer(s), open_clip.ClipLoss()
    groups: list[list[Any]] = [[], []]
    for name, p in model.named_parameters():
        groups[p.ndim < 2 or "bn" in name or "ln" in name or "bias" in name or "logit_scale" in name].append(p)
    optimizer = torch.optim.AdamW(
        [{"params": groups[1], "weight_decay": 0.0}, {"params": groups[0], "weight_decay": DECAY}], lr=LR, betas=(0.9, 0.98), eps=1e-6
    )

    def run() -> float:
        total = torch.zeros(())
        for _ in range(STEPS):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=precise == "bf16"):
                total = loss(*model(image, ids))
            total.backward()
            optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, optim.MAX_LOGIT_SCALE)
        return float(total.detach())

    return run


def our_model(s: Setup) -> DualEncoder:
    theirs = peer(replace(s, network=""))
    model = from_open_clip(config(s), {}, theirs.state_dict(), name=s.name)
    if s.network:
        model.towers["image"] = network(s)
    return precision.lay_out(model.train())


def our_steps(s: Setup, image: Tensor, ids: Tensor, precise: str, micro: int | None = None) -> Callable[[], float]:
    """What the training loop does in a step (without averaging of weights, which the other side does not do either)."""
    keep_freed_memory()
    model, objective = our_model(s), Sum({"clip": InfoNCE()})
    model.requires_grad_(True)
    optimizer = optim.adamw(model.named_parameters(), OptimConfig(LR, DECAY))
    towers = Towers(model, partial(precision.autocast, precise, model.device))

    def run() -> float:
        values: dict[str, Tensor] = {}
        for step in range(STEPS):
            values = gradients(model, objective, Batch({"image": image, "text": ids}), seed=step, micro=micro, towers=towers)
            optim.step_if_finite(optimizer, optim.clip_gradients(optimizer, 0.0))
            optim.bound_logit_scale(model)
            optimizer.zero_grad(set_to_none=True)
        return float(values["loss"])

    return run


def alike(ours: float, theirs: float) -> str:
    """The loss after the first rounds: both took the same steps."""
    apart = abs(ours - theirs) / abs(theirs)
    assert apart < 0.1, f"losses {ours:.4f} and {theirs:.4f}"
    return f"losses {ours:.3f} and {theirs:.3f}"


def cases() -> Iterator[Case]:
    precise = precision.choose("auto", torch.device("cpu"))
    for s in SETUPS:
        image, ids = batch(s)
        where = sentence(our_steps(s, image, ids, precise), 1)  # a model of its own: each step moves the weights
        yield Case(
            name=f"train_{s.name}",
            title=s.title,
            inputs=f"{STEPS} steps on {s.batch} pairs with captions of 5 to 12 tokens, {precise}.",
            cost="seconds",
            ours=Entry("pairwright", "gradients(model, objective, batch); step", timed(our_steps(s, image, ids, precise))),
            peers=[Entry("open_clip", "ClipLoss()(*model(image, ids)); AdamW.step()", timed(their_steps(s, image, ids, precise)))],
            agree=alike,
            rounds=5,
            bar=1.3,
            note=f"{s.note} {where}",
        )
    s = replace(SETUPS[1], batch=64)
    image, ids = batch(s)
    yield Case(
        name="train_cached",
        title="Gradient caching, a quarter of the batch at a time",
        inputs=f"{STEPS} steps of {s.title.lower()} on {s.batch} pairs, micro = {s.batch // 4}, {precise}; the bar is 1 / 1.35.",
        cost="seconds",
        ours=Entry("micro-batches", f"gradients(…, micro={s.batch // 4})", timed(our_steps(s, image, ids, precise, s.batch // 4))),
        peers=[Entry("the whole batch", "gradients(…)", timed(our_steps(s, image, ids, precise)))],
        agree=alike,
        rounds=5,
        bar=round(1 / 1.35, 2),
        note="Three of four micro-batches go forward twice; the last one keeps its graph.",
    )
