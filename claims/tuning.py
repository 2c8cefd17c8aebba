"""What checks that change weights share: named vector scenes in several styles, fine-tuning, and scores."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from claims import vector_towers as T
from claims.tuned_towers import tower, untrained
from pairwright.data.world import vectors
from pairwright.models.dual import DualEncoder
from pairwright.recipes._fine_tune import Classify, How, Rows, class_ids, fine_tune

__all__ = ["PROMPT", "accuracy", "harmonic", "only", "scenes", "tower", "towers_only", "tune", "untrained"]
PROMPT = "a photo of a {}"


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


def tune(
    model: DualEncoder,
    rows: tuple[Tensor, Tensor],
    names: list[str] | None,
    lr: float,
    steps: int,
    *,
    head: tuple[Tensor, Tensor] | None = None,
    learn_head: bool = True,
    seed: int = 0,
    **more: Any,
) -> Classify:
    """Fine-tune in place on labelled rows, against the class text of `names` or against a head, learned or fixed."""
    ids = None if names is None else class_ids(model, names, PROMPT)
    objective = Classify(float(model.scale.detach()), head).requires_grad_(learn_head)
    fine_tune(model, Rows(*rows, ids, seed=seed), objective, How(steps, lr, seed=seed, precise="fp32"), **more)
    return objective


def towers_only(name: str) -> bool:
    """Every parameter but the scale."""
    return name.startswith("towers.")


def harmonic(a: float, b: float) -> float:
    return 2 * a * b / max(a + b, 1e-9)
