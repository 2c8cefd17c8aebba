"""A dual encoder for vector scenes whose image tower has norms and named matrices, for checks that change weights; and how it is scored."""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn

from claims import vector_towers as T
from pairwright.core.encoded import Encoded
from pairwright.data.world import fixtures, vectors
from pairwright.models.dual import DualEncoder
from pairwright.models.towers.text import TextTransformer

PROMPT = "a photo of a {}"


class ResidualImage(nn.Module):
    """Pre-norm residual perceptron from image vectors (B, 96) to the joint space: `resblocks.i.mlp.c_fc` and so on; no extension points."""

    points: frozenset[str] = frozenset()

    def __init__(self, inputs: int = 96, hidden: int = 96, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.width = width
        self.stem = nn.Linear(inputs, hidden)
        block = lambda: nn.Sequential(
            OrderedDict(
                ln=nn.LayerNorm(hidden),
                mlp=nn.Sequential(OrderedDict(c_fc=nn.Linear(hidden, 2 * hidden), gelu=nn.GELU(), c_proj=nn.Linear(2 * hidden, hidden))),
            )
        )
        self.resblocks = nn.ModuleList(block() for _ in range(layers))
        self.ln_post = nn.LayerNorm(hidden)
        self.proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x_BW: Tensor) -> Encoded:
        x = self.stem(x_BW)
        for block in self.resblocks:
            x = x + block(x)
        return Encoded.of(self.proj(self.ln_post(x)))


def tower(seed: int = 0, *, steps: int = 600, batch: int = 128) -> DualEncoder:
    """The encoder trained on `vector_towers.WORLD` and its captions; loaded if built before. A fresh copy each time, in eval mode."""
    spec = {"world": T.WORLD.spec, "seed": seed, "steps": steps, "batch": batch, "noise": T.NOISE}
    files = [*fixtures.world_files(), *(Path(inspect.getfile(m)) for m in (vectors, T, TextTransformer)), Path(__file__)]
    model = _fresh(seed)
    model.load_state_dict(fixtures.cached("tuned-tower", spec, lambda: T._train(model, seed, steps, batch), files=files))
    return copy.deepcopy(model).eval().requires_grad_(False)


def scenes(n: int, start: int, offset: Tensor | None = None, noise: float = T.NOISE) -> tuple[Tensor, Tensor]:
    """Inputs (n, 96) of the samples start … start + n - 1 and their place in `vector_towers.NAMES`. offset (96,) is a style: added."""
    batch = T.WORLD.sample(n, start)
    x_NW = vectors.image_vectors(batch, noise=noise)
    y_N = torch.from_numpy(batch.facts.shape_NO[:, 0] * T.WORLD.colours + batch.facts.colour_NO[:, 0])
    return x_NW if offset is None else x_NW + offset, y_N


def only(rows: tuple[Tensor, Tensor], classes: Tensor, shots: int | None = None) -> tuple[Tensor, Tensor]:
    """The rows of some classes (the first `shots` of each), relabelled by their place in `classes`."""
    x_NW, y_N = rows
    kept = [(y_N == c).nonzero().squeeze(1)[:shots] for c in classes.tolist()]
    return x_NW[torch.cat(kept)], torch.arange(len(classes)).repeat_interleave(torch.tensor([len(k) for k in kept]))


@torch.no_grad()
def accuracy(model: DualEncoder, rows: tuple[Tensor, Tensor], names: list[str]) -> float:
    """Zero-shot accuracy with the class text that the model makes now."""
    W_CD = model.text(model.tokenizer([PROMPT.format(n) for n in names])).z_BD
    return float(((model.image(rows[0]).z_BD @ W_CD.T).argmax(1) == rows[1]).double().mean())


def harmonic(a: float, b: float) -> float:
    return 2 * a * b / max(a + b, 1e-9)


def _fresh(seed: int) -> DualEncoder:
    text = T._fresh(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DualEncoder({"image": ResidualImage(), "text": text.towers["text"]}, tokenizer=text.tokenizer)
