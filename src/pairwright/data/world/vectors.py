"""Vector scenes: the same facts and statements as vectors instead of pixels and words, and a small pretrained pair of encoders for them.

    image = sum over objects of ( shape + colour + texture + size + count + binding x shape * colour )
            + axis + binding x (+-1) axis * (first shape - second shape)  +  background  +  noise

with a random vector for each value; axis is horizontal or vertical; `*` is the elementwise product. Without binding nothing tells which
colour belongs to which shape, nor left from right.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from pairwright.core.numerics import generator, numpy_rng, soft_nce, unit
from pairwright.data.world import fixtures
from pairwright.data.world import vocabulary as V
from pairwright.data.world.batch import Batch
from pairwright.data.world.engine import World
from pairwright.data.world.grammar import Statement

Array = np.ndarray
_SIZES = {"shape": len(V.SHAPES), "colour": len(V.COLOURS), "texture": len(V.TEXTURES), "size": 3, "count": 4}


@dataclass(frozen=True)
class VectorScenes:
    """image_NW and text_NW: float32 inputs; batch: facts, statements, groups, marks of the same samples."""

    image_NW: Tensor
    text_NW: Tensor
    batch: Batch


def _table(side: str, what: str, rows: int, width: int) -> Array:
    return numpy_rng("vector scenes", side, what).standard_normal((rows, width)) / np.sqrt(width)


def _sum(side: str, values: dict[str, Array], relation_N: Array, background_N: Array, width: int, binding: float) -> Array:
    """Vectors of scenes or statements from index arrays (n, O), -1 = absent. The relation is that of the first object to the second."""
    look = lambda what, index: np.where(index[..., None] >= 0, _table(side, what, _SIZES[what], width)[index], 0)
    bound = np.sqrt(width) * look("shape", values["shape"]) * look("colour", values["colour"])
    out = (sum(look(what, index) for what, index in values.items()) + binding * bound).sum(1)
    if values["shape"].shape[1] > 1:
        sign = np.where(relation_N % 2 == 1, -1.0, 1.0)[:, None]
        axis = np.where(relation_N[:, None] >= 0, _table(side, "axis", 2, width)[relation_N // 2], 0)
        first = look("shape", values["shape"][:, 0]) - look("shape", values["shape"][:, 1])
        out += axis + binding * np.sqrt(width) * sign * axis * first
    return out + np.where(background_N[:, None] >= 0, _table(side, "background", len(V.BACKGROUNDS), width)[background_N], 0)


def image_vectors(batch: Batch, *, width: int = 96, binding: float = 1.0, noise: float = 0.1) -> Float32[Tensor, "n W"]:
    """Vectors of the pictures of a batch. noise: length of a random vector, keyed by sample."""
    f = batch.facts
    values = {what: np.where(f.present_NO, getattr(f, f"{what}_NO"), -1) for what in _SIZES}
    x = _sum("image", values, f.relation_N, f.background_N, width, binding)
    e = batch._own.uniform("vector noise", width) + batch._own.uniform("vector noise 2", width) - 1  # triangular, variance 1/6
    return torch.from_numpy((x + noise * np.sqrt(6 / width) * e).astype(np.float32))


def text_vectors(said: list[Statement], *, width: int = 96, binding: float = 1.0) -> Float32[Tensor, "n W"]:
    """Vectors of statements: the same sums over other random vectors; what is not said adds nothing. Any number of objects."""
    most = max((len(s.phrases) for s in said), default=1)
    pad = lambda what: np.array([[getattr(p, what) for p in s.phrases] + [-1] * (most - len(s.phrases)) for s in said])
    x = _sum(
        "text",
        {what: pad(what) for what in _SIZES},
        np.array([s.relation for s in said]),
        np.array([s.background for s in said]),
        width,
        binding,
    )
    return torch.from_numpy(x.astype(np.float32))


def vector_scenes(world: World, n: int, start: int = 0, *, width: int = 96, binding: float = 1.0, noise: float = 0.1) -> VectorScenes:
    """Samples start … start + n - 1 of a world as vectors. binding 0: neither side can tell which colour belongs to which shape."""
    batch = world.sample(n, start)
    text = text_vectors(batch.statements(), width=width, binding=binding)
    return VectorScenes(image_vectors(batch, width=width, binding=binding, noise=noise), text, batch)


class VectorEncoder(nn.Module):
    """Two small multilayer perceptrons into one space of `width` dimensions; unit rows."""

    def __init__(self, inputs: int = 96, hidden: int = 256, width: int = 64) -> None:
        super().__init__()
        net = lambda: nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.image_net, self.text_net = net(), net()
        self.logit_scale = nn.Parameter(torch.tensor(2.66))

    def image(self, x_NW: Tensor) -> Tensor:
        return unit(self.image_net(x_NW))

    def text(self, x_NW: Tensor) -> Tensor:
        return unit(self.text_net(x_NW))


def pretrained(
    world: World, *, seed: int = 0, steps: int = 400, batch: int = 256, binding: float = 1.0, folder: Path | None = None
) -> VectorEncoder:
    """A VectorEncoder trained by the symmetric contrastive loss on vector scenes of `world` (seconds), or the stored one (content hash)."""
    spec = {"world": world.spec, "seed": seed, "steps": steps, "batch": batch, "binding": binding}

    def build() -> dict[str, Tensor]:
        model = _fresh(seed)
        model.requires_grad_(True)
        data = vector_scenes(world, min(steps * batch, 20_000), binding=binding)
        rng = generator("vector encoder", seed)
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * (1 - step / steps)
            i = torch.randint(len(data.image_NW), (batch,), generator=rng)
            logits = model.logit_scale.exp() * model.image(data.image_NW[i]) @ model.text(data.text_NW[i]).T
            same = data.batch.groups[i][:, None] == data.batch.groups[i][None]
            loss = (soft_nce(logits, same) + soft_nce(logits.T, same)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return model.state_dict()

    model = _fresh(seed)
    model.load_state_dict(fixtures.cached("vectors", spec, build, files=[*fixtures.world_files(), Path(__file__)], folder=folder))
    return model.eval().requires_grad_(False)


def _fresh(seed: int) -> VectorEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VectorEncoder()
