"""Towers trained on the generated world, built once and shared by all mechanism checks (content hash of settings and code)."""

from __future__ import annotations

import inspect
from itertools import count
from pathlib import Path

import torch
from torch import Tensor, nn

from pairwright.core.numerics import soft_nce
from pairwright.data.world import fixtures
from pairwright.data.world.engine import World
from pairwright.data.world.grammar import ALL_WORDS
from pairwright.models.dual import DualEncoder
from pairwright.models.tiny import tiny


def tower(
    world: World,
    *,
    seed: int = 0,
    image: str = "conv",
    width: int = 32,
    samples: int = 80_000,
    batch: int = 128,
    lr: float = 2e-3,
    folder: Path | None = None,
) -> DualEncoder:
    """A small dual encoder trained with the multi-positive CLIP loss on the first `samples` pairs of `world`; loaded if built before.

    image: ``conv`` or ``vit``. Pairs with equal facts (``batch.groups``) are positives of each other. Colours are learnt first, shapes
    late: one object from 8 x 8 words is named right for 82% after 40,000 pictures at 32 pixels (a minute of one core), the shape alone
    for 68% with prompts averaged over colours. Hold out: samples from `samples` on. The model comes back in eval mode, without gradients.
    """
    spec = {"world": world.spec, "seed": seed, "image": image, "width": width, "samples": samples, "batch": batch, "lr": lr}
    model = _fresh(world, seed, image, width)
    files = [*fixtures.world_files(), Path(__file__), *_code_of(model)]
    weights = fixtures.cached("tower", spec, lambda: _train(model, world, samples, batch, lr), files=files, folder=folder)
    model.load_state_dict(weights)
    return model.eval().requires_grad_(False)


def inputs(model: DualEncoder, images_N3SS: Tensor) -> Tensor:
    """World pictures (uint8) at the model's own size -> what its image tower eats."""
    mean, std = (torch.tensor(getattr(model.preprocess, k)).view(3, 1, 1) for k in ("mean", "std"))
    return (images_N3SS.float() / 255 - mean) / std


@torch.no_grad()
def embed(model: DualEncoder, world: World, n: int, start: int, chunk: int = 500) -> tuple[Tensor, Tensor]:
    """Unit rows (n, D) of pictures and of captions of the samples start … start + n - 1."""
    image, text = [], []
    for at in range(start, start + n, chunk):
        part = world.sample(min(chunk, start + n - at), at)
        image.append(model.image(inputs(model, part.images)).z_BD)
        text.append(model.text(model.tokenizer(part.caption)).z_BD)
    return torch.cat(image), torch.cat(text)


def _fresh(world: World, seed: int, image: str, width: int) -> DualEncoder:
    return tiny(seed, image=image, size=world.size, width=width, vocab=_vocab(), context=48)


def _vocab() -> int:
    """The smallest vocabulary from 4,096 in which the hashing word tokenizer gives every word of the world its own row."""
    from pairwright.models.tokenize import PlainTokenizer

    for size in count(4096):
        if len(set(PlainTokenizer("word", size, 4)(ALL_WORDS)[:, 1].tolist())) == len(ALL_WORDS):
            return size
    raise AssertionError


def _train(model: DualEncoder, world: World, samples: int, batch: int, lr: float) -> dict[str, Tensor]:
    model.train().requires_grad_(True).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    steps = samples // batch
    if not steps:
        raise ValueError(f"{samples} samples are less than one batch of {batch}")
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1, (step + 1) / 50) * (1 - step / steps)
        part = world.sample(batch, step * batch)
        logits = model.logits(model.image(inputs(model, part.images)), model.text(model.tokenizer(part.caption)))
        same = part.groups[:, None] == part.groups[None]
        loss = (soft_nce(logits, same) + soft_nce(logits.T, same)).mean() / 2
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, 4.6052)
    return model.to(memory_format=torch.contiguous_format).state_dict()


def _code_of(model: nn.Module) -> list[Path]:
    """Source files of every module class of ours in the model, and of the twin's builder."""
    kinds = {type(m) for m in model.modules() if type(m).__module__.startswith("pairwright.")}
    return sorted({Path(inspect.getsourcefile(k)) for k in (*kinds, tiny)})  # type: ignore[arg-type]
