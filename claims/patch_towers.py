"""The vector scenes of vector_towers with a vision transformer for the images: 32 pixels of 3 channels in 8 patches, three blocks a tower.

For learners that reach between the blocks of both towers. Trained once in under a minute and cached by settings and code.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import torch
from torch import Tensor

from claims import vector_towers as V
from pairwright.core.features import Features
from pairwright.data.world import fixtures, vectors
from pairwright.models.dual import DualEncoder
from pairwright.models.tiny import tiny
from pairwright.models.towers.stack import Transformer
from pairwright.models.towers.text import TextTransformer
from pairwright.models.towers.vit import VisionTransformer
from pairwright.prompts.images import Images

LAYERS, WIDTH = 3, 32
SIZE, PATCH = (8, 4), (2, 2)


def tower(seed: int = 0, *, steps: int = 500, batch: int = 96, folder: Path | None = None) -> DualEncoder:
    """Both encoders trained with the multi-positive CLIP loss on the scenes of `vector_towers`; loaded if built before."""
    spec = {"world": V.WORLD.spec, "seed": seed, "steps": steps, "batch": batch, "layers": LAYERS, "width": WIDTH}
    code = [inspect.getsourcefile(c) for c in (TextTransformer, VisionTransformer, Transformer)]
    files = [*fixtures.world_files(), Path(vectors.__file__), Path(V.__file__), Path(__file__), *map(Path, code)]  # type: ignore[arg-type]
    model = _fresh(seed)
    model.load_state_dict(fixtures.cached("patch-tower", spec, lambda: _train(model, seed, steps, batch), files=files, folder=folder))
    return model.eval().requires_grad_(False)


def scenes(n: int, start: int, offset: Tensor | None = None, noise: float = V.NOISE) -> Images:
    """Images of the samples start … start + n - 1, labelled with their place in NAMES. offset (96,) or (n, 96): added to the pixels."""
    batch = V.WORLD.sample(n, start)
    x_NW = vectors.image_vectors(batch, noise=noise)
    y_N = batch.facts.shape_NO[:, 0] * V.WORLD.colours + batch.facts.colour_NO[:, 0]
    return Images(pixels(x_NW if offset is None else x_NW + offset), torch.from_numpy(y_N))


def pixels(x_NW: Tensor) -> Tensor:
    """Vectors (N, 96) -> images (N, 3, 8, 4)."""
    return x_NW.view(-1, 3, *SIZE)


def only(x: Images, classes: Tensor, shots: int | None = None) -> Images:
    """The images of some classes (the first `shots` of each), relabelled by their place in `classes`."""
    place_C = torch.full((len(V.NAMES),), -1)
    place_C[classes] = torch.arange(len(classes))
    y_N = place_C[x.y_N]
    kept = torch.cat([(y_N == c).nonzero().squeeze(1)[:shots] for c in range(len(classes))])
    return Images(x.x[kept], y_N[kept])


def wrong_labels(x: Images, share: float, classes: int, seed: int) -> Images:
    """The same images, a share of which carries another label, drawn at random among the others."""
    return Images(x.x, V.wrong_labels(Features(torch.zeros(len(x), 1), x.y_N), share, classes, seed).y)


def _fresh(seed: int) -> DualEncoder:
    twin = tiny(seed, width=WIDTH, layers=LAYERS, vocab=4096, context=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        image = VisionTransformer(size=SIZE, patch=PATCH, width=WIDTH, layers=LAYERS, heads=WIDTH // 16, dim=twin.width)
        return DualEncoder({"image": image, "text": twin.towers["text"]}, tokenizer=twin.tokenizer)


def _train(model: DualEncoder, seed: int, steps: int, batch: int) -> dict[str, Tensor]:
    sample = V.WORLD.sample(20_000)
    return V.pretrain(model, pixels(vectors.image_vectors(sample, noise=V.NOISE)), sample, steps, batch, "patch tower", seed)
