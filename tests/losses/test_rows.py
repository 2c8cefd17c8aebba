"""The row engine against a plain Python loop over rows and columns, and its memory."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pairwright.core.encoded import Encoded, Views
from pairwright.core.numerics import unit
from pairwright.core.rows import row_loss
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.losses.contrast.sigmoid import Sigmoid

B, D, SCALE, BIAS = 9, 6, 7.0, -2.0


def logits(q: Encoded, k: Encoded) -> torch.Tensor:
    return SCALE * q.z_BD @ k.z_BD.T + BIAS


def embeddings(seed: int, n: int = B) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {name: unit(torch.randn(n, D, generator=g, dtype=torch.float64)) for name in ("image", "text")}


def slow(kind: str, z: dict, group: list[int], has: dict[str, list[bool]]) -> float:
    """The loss by loops: absent rows and columns skipped, rows without a positive not counted."""

    def one(q: str, k: str) -> float:
        total, counted = 0.0, 0
        for i in range(len(group)):
            columns = [j for j in range(len(group)) if has[k][j]]
            positive = [j for j in columns if group[j] == group[i]]
            if not has[q][i] or not positive:
                continue
            counted += 1
            s = {j: SCALE * sum(float(a) * float(b) for a, b in zip(z[q][i], z[k][j])) + BIAS for j in columns}
            if kind == "softmax":
                log_z = math.log(sum(math.exp(v) for v in s.values()))
                total += sum(log_z - s[j] for j in positive) / len(positive)
            else:
                total += sum(math.log1p(math.exp(-v if j in positive else v)) for j, v in s.items())
        return total / counted

    return (one("image", "text") + one("text", "image")) / 2 if kind == "softmax" else one("image", "text")


@pytest.mark.parametrize(("loss", "kind"), [(InfoNCE(), "softmax"), (Sigmoid(), "sigmoid")])
@pytest.mark.parametrize("chunk", [None, 4])
@pytest.mark.parametrize("case", ["diagonal", "groups", "missing text", "missing both", "partner missing"])
def test_value_is_that_of_a_loop(loss, kind, chunk, case):
    z = embeddings(1)
    group = list(range(B)) if case == "diagonal" else [0, 1, 0, 2, 3, 3, 3, 4, 5]
    has = {"image": [True] * B, "text": [True] * B}
    if case == "missing text":
        has["text"] = [True, False, True, True, False, True, True, True, True]
    if case == "missing both":
        has = {"image": [False] + [True] * 8, "text": [True] * 7 + [False, True]}
    if case == "partner missing":  # group 2 is row 3 alone: its image has no text, and must not be counted
        has["text"] = [j != 3 for j in range(B)]
    present = {n: torch.tensor(m) for n, m in has.items() if not all(m)}
    views = Views({n: Encoded(x) for n, x in z.items()}, group_B=None if case == "diagonal" else torch.tensor(group), present=present)
    assert float(row_loss(loss, views, logits, chunk=chunk)) == pytest.approx(slow(kind, z, group, has), rel=1e-12)


@pytest.mark.parametrize("loss", [InfoNCE(), Sigmoid()])
def test_absent_rows_may_hold_anything(loss):
    """Rows that neither view has are as if they were not in the batch, even where they hold NaN."""
    z = embeddings(2)
    keep = torch.tensor([True, True, False, True, True, False, True, True, True])
    dirty = {n: x.masked_fill(~keep[:, None], float("nan")).requires_grad_() for n, x in z.items()}
    clean = {n: x[keep].clone().requires_grad_() for n, x in z.items()}
    a = row_loss(loss, Views({n: Encoded(x) for n, x in dirty.items()}, present={"image": keep, "text": keep}), logits)
    b = row_loss(loss, Views({n: Encoded(x) for n, x in clean.items()}), logits)
    torch.testing.assert_close(a, b)
    for name in z:
        (ga,), (gb,) = torch.autograd.grad(a, [dirty[name]], retain_graph=True), torch.autograd.grad(b, [clean[name]], retain_graph=True)
        torch.testing.assert_close(ga[keep], gb)
        assert (ga[~keep] == 0).all()


def test_second_direction_exchanges_the_roles():
    """An asymmetric similarity is called as (text, image) for text -> image."""
    seen = []
    z = embeddings(3)

    def lopsided(q: Encoded, k: Encoded) -> torch.Tensor:
        seen.append("image" if torch.equal(q.z_BD, z["image"]) else "text")
        return q.z_BD @ k.z_BD.T

    row_loss(InfoNCE(), Views({n: Encoded(x) for n, x in z.items()}), lopsided)
    assert seen == ["image", "text"]


def test_nothing_of_the_size_of_the_matrix_is_kept_for_backward():
    """What autograd keeps is O(B), not O(B x B), when rows are chunked."""
    n = 512
    z = {k: v.requires_grad_() for k, v in embeddings(4, n).items()}

    def kept(chunk: int) -> int:
        storages: dict[int, int] = {}
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda t: storages.update({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()}) or t, lambda t: t
        )
        with hooks:
            row_loss(InfoNCE(), Views({k: Encoded(v) for k, v in z.items()}), logits, chunk=chunk)
        return sum(storages.values())

    assert kept(n) > n * n * 8  # the whole keeps at least one matrix
    assert kept(64) < 20 * n * D * 8


def test_clear_errors():
    z = embeddings(5)
    views = Views({"image": Encoded(z["image"]), "text": Encoded(z["text"][:4])})
    with pytest.raises(ValueError, match="same number of rows"):
        row_loss(InfoNCE(), views, logits)
    with pytest.raises(ValueError, match="at least 1"):
        row_loss(InfoNCE(), Views({n: Encoded(x) for n, x in z.items()}), logits, chunk=0)
    with pytest.raises(KeyError, match="list it in `needs`"):
        row_loss(InfoNCE(), Views({"image": Encoded(z["image"])}), logits)


_PEAK = """
import sys, torch
from bench.loss_memory import growth
from pairwright.core.encoded import Encoded, Views
from pairwright.core.rows import row_loss
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.losses.contrast.sigmoid import Sigmoid
torch.set_num_threads(1)
loss, n, width = {"clip": InfoNCE(), "siglip": Sigmoid()}[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3])
def step(n):
    z = [torch.nn.functional.normalize(torch.randn(n, width), dim=1).requires_grad_() for _ in range(2)]
    views = Views({"image": Encoded(z[0]), "text": Encoded(z[1])})
    return lambda: row_loss(loss, views, lambda q, k: 10 * q.z_BD @ k.z_BD.T, symmetric=sys.argv[4] == "tiles").backward()
step(64)()
print(growth(step(n)) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "n", "width", "way", "limit"),
    [("clip", 16_384, 64, "blocks", 256), ("clip", 32_768, 512, "tiles", 256), ("siglip", 262_144, 16, "tiles", 256)],
)
def test_peak_memory_of_a_large_batch(kind, n, width, way, limit):
    """Extra MB over the features, their gradients included. A dense matrix would be 1, 4, 256 GB, and a dense step keeps several."""
    out = subprocess.run(
        [sys.executable, "-c", _PEAK, kind, str(n), str(width), way], capture_output=True, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert float(out.stdout) < limit
