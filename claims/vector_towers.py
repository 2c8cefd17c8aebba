"""A dual encoder for vector scenes: a perceptron for the image vectors, a small text transformer for the captions; and its named classes.

Prompt learning needs a real text tower but no pixels. Trained once in seconds and cached by the content hash of settings and code.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import torch
from torch import Tensor, nn

from pairwright.core.encoded import Encoded
from pairwright.core.features import Features
from pairwright.core.numerics import generator, soft_nce, unit
from pairwright.data.world import fixtures, vectors
from pairwright.data.world import vocabulary as V
from pairwright.data.world.batch import Batch
from pairwright.data.world.engine import World
from pairwright.models.dual import DualEncoder
from pairwright.models.tiny import tiny
from pairwright.models.towers.text import TextTransformer

WORLD = World(0, objects=1, shapes=8, colours=8, templates=5)
NAMES = tuple(f"{c} {s}" for s in tuple(V.SHAPES)[:8] for c in tuple(V.COLOURS)[:8])
NOISE = 1.0


class VectorImage(nn.Module):
    """Perceptron from image vectors (B, 96) to the joint space; no extension points."""

    points: frozenset[str] = frozenset()

    def __init__(self, inputs: int = 96, hidden: int = 128, width: int = 64) -> None:
        super().__init__()
        self.width = width
        self.net = nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x_BW: Tensor) -> Encoded:
        return Encoded.of(self.net(x_BW))


def tower(seed: int = 0, *, steps: int = 600, batch: int = 128, folder: Path | None = None) -> DualEncoder:
    """The encoder trained with the multi-positive CLIP loss on vector scenes of WORLD and their captions; loaded if built before."""
    spec = {"world": WORLD.spec, "seed": seed, "steps": steps, "batch": batch, "noise": NOISE}
    text = inspect.getsourcefile(TextTransformer)
    files = [*fixtures.world_files(), Path(vectors.__file__), Path(__file__), Path(text)]  # type: ignore[arg-type]
    model = _fresh(seed)
    model.load_state_dict(fixtures.cached("vector-tower", spec, lambda: _train(model, seed, steps, batch), files=files, folder=folder))
    return model.eval().requires_grad_(False)


@torch.no_grad()
def scenes(model: DualEncoder, n: int, start: int, offset: Tensor | None = None, noise: float = NOISE) -> Features:
    """Features of the samples start … start + n - 1, labelled with their place in NAMES. offset (96,) or (n, 96): added to the inputs."""
    batch = WORLD.sample(n, start)
    x_NW = vectors.image_vectors(batch, noise=noise)
    y_N = batch.facts.shape_NO[:, 0] * WORLD.colours + batch.facts.colour_NO[:, 0]
    z_ND = model.image(x_NW if offset is None else x_NW + offset).z_BD
    return Features(z_ND, torch.from_numpy(y_N), encoder=model.fingerprint)


def direction(*key: object) -> Tensor:
    """A random direction of the image vectors, (96,)."""
    return unit(torch.randn(96, generator=generator("direction", *key)))


def split(seed: int) -> tuple[Tensor, Tensor]:
    """Base and new classes: 32 each, at random."""
    order = torch.randperm(len(NAMES), generator=generator("base and new", seed))
    return order[:32].sort().values, order[32:].sort().values


def only(x: Features, classes: Tensor, shots: int | None = None) -> Features:
    """The rows of some classes (the first `shots` of each), relabelled by their place in `classes`."""
    place_C = torch.full((len(NAMES),), -1)
    place_C[classes] = torch.arange(len(classes))
    y_N = place_C[x.y]
    kept = torch.cat([(y_N == c).nonzero().squeeze(1)[:shots] for c in range(len(classes))])
    rows = x.rows(kept)
    return Features(rows.z, y_N[kept], encoder=x.encoder)


def named(classes: Tensor) -> list[str]:
    return [NAMES[c] for c in classes.tolist()]


def wrong_labels(x: Features, share: float, classes: int, seed: int) -> Features:
    """The same rows, a share of which carries another label, drawn at random among the others."""
    rng = generator("wrong labels", seed)
    hit_N = torch.rand(len(x), generator=rng) < share
    other_N = (x.y + torch.randint(1, classes, (len(x),), generator=rng)) % classes
    return Features(x.z, torch.where(hit_N, other_N, x.y), encoder=x.encoder)


def _fresh(seed: int) -> DualEncoder:
    twin = tiny(seed, width=32, vocab=4096, context=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DualEncoder({"image": VectorImage(), "text": twin.towers["text"]}, tokenizer=twin.tokenizer)


def _train(model: DualEncoder, seed: int, steps: int, batch: int) -> dict[str, Tensor]:
    sample = WORLD.sample(20_000)
    return pretrain(model, vectors.image_vectors(sample, noise=NOISE), sample, steps, batch, "vector tower", seed)


def pretrain(model: DualEncoder, image_N: Tensor, sample: Batch, steps: int, batch: int, *key: object) -> dict[str, Tensor]:
    """Weights after `steps` of the multi-positive CLIP loss on images and the captions of `sample`; batches are keyed by `key`."""
    model.train()
    ids_NL, groups_N = model.tokenizer(sample.caption), sample.groups
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 50) * (1 - step / steps)
        i = torch.randint(len(ids_NL), (batch,), generator=generator(*key, step))
        logits = model.logits(model.image(image_N[i]), model.text(ids_NL[i]))
        same = groups_N[i][:, None] == groups_N[i][None]
        loss = (soft_nce(logits, same) + soft_nce(logits.T, same)).mean() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, 4.6052)
    return model.state_dict()
