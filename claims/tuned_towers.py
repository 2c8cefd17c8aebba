"""A dual encoder for vector scenes whose image tower has norms and named matrices, for checks that change weights."""

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
    model = untrained(seed)
    model.load_state_dict(fixtures.cached("tuned-tower", spec, lambda: T._train(model, seed, steps, batch), files=files))
    return copy.deepcopy(model).eval().requires_grad_(False)


def untrained(seed: int) -> DualEncoder:
    """The same with random weights."""
    text = T._fresh(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DualEncoder({"image": ResidualImage(), "text": text.towers["text"]}, tokenizer=text.tokenizer)
